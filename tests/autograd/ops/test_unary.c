#include "autograd/general.h"
#include "tests/suites.h"
#include "tests/support/gradcheck.h"
#include <math.h>
#include <string.h>

#define INF INFINITY
enum { POINTS = 6 };
static const double points[POINTS] = { -INF, -1024, 0, 1024, INF, NAN };

static qp_tensor *pow_0(qp_ctx *c, qp_tensor *x) { return qp_pow(c, x, 0); }
static qp_tensor *pow_3(qp_ctx *c, qp_tensor *x) { return qp_pow(c, x, 3); }
static qp_tensor *pow_back(qp_ctx *c, qp_tensor *x) { return qp_pow(c, x, -1); }
static qp_tensor *clamp(qp_ctx *c, qp_tensor *x) { return qp_clamp(c, x, 0, 1024); }
static qp_tensor *clamp_low(qp_ctx *c, qp_tensor *x) { return qp_clamp(c, x, 0, INF); }
static qp_tensor *clamp_high(qp_ctx *c, qp_tensor *x) { return qp_clamp(c, x, -INF, 0); }
static qp_tensor *affine(qp_ctx *c, qp_tensor *x) { return qp_affine(c, x, 2, 1); }

/* Far out, at kinks and poles, and where there is no number: values and slopes of PyTorch 2.15. */
static const struct {
    const char *name;
    qp_tensor *(*op)(qp_ctx *c, qp_tensor *x);
    double y[POINTS], dx[POINTS];
} edge[] = {
    { "neg", qp_neg, { INF, 1024, 0, -1024, -INF, NAN }, { -1, -1, -1, -1, -1, -1 } },
    { "exp", qp_exp, { 0, 0, 1, INF, INF, NAN }, { 0, 0, 1, INF, INF, NAN } },
    { "log",
      qp_log,
      { NAN, NAN, -INF, 10 * M_LN2, INF, NAN },
      { 0, -0x1p-10, INF, 0x1p-10, 0, NAN } },
    { "sqrt", qp_sqrt, { NAN, NAN, 0, 32, INF, NAN }, { NAN, NAN, INF, 1. / 64, 0, NAN } },
    { "rsqrt", qp_rsqrt, { NAN, NAN, INF, 1. / 32, 0, NAN }, { NAN, NAN, -INF, -0x1p-16, 0, NAN } },
    { "reciprocal",
      qp_reciprocal,
      { 0, -0x1p-10, INF, 0x1p-10, 0, NAN },
      { 0, -0x1p-20, -INF, -0x1p-20, 0, NAN } },
    { "abs", qp_abs, { INF, 1024, 0, 1024, INF, NAN }, { -1, -1, 0, 1, 1, 0 } },
    { "square",
      qp_square,
      { INF, 0x1p20, 0, 0x1p20, INF, NAN },
      { -INF, -2048, 0, 2048, INF, NAN } },
    { "sin",
      qp_sin,
      { NAN, 0.15853338004399595, 0, -0.15853338004399595, NAN, NAN },
      { NAN, 0.9873536182198484, 1, 0.9873536182198484, NAN, NAN } },
    { "cos",
      qp_cos,
      { NAN, 0.9873536182198484, 1, 0.9873536182198484, NAN, NAN },
      { NAN, -0.15853338004399595, 0, 0.15853338004399595, NAN, NAN } },
    { "tanh", qp_tanh, { -1, -1, 0, 1, 1, NAN }, { 0, 0, 1, 0, 0, NAN } },
    { "sigmoid", qp_sigmoid, { 0, 0, 0.5, 1, 1, NAN }, { 0, 0, 0.25, 0, 0, NAN } },
    { "silu", qp_silu, { NAN, 0, 0, 1024, INF, NAN }, { NAN, 0, 0.5, 1, NAN, NAN } },
    { "softplus", qp_softplus, { 0, 0, M_LN2, 1024, INF, NAN }, { 0, 0, 0.5, 1, 1, NAN } },
    { "relu", qp_relu, { 0, 0, 0, 1024, INF, NAN }, { 0, 0, 0, 1, 1, 1 } },
    { "gelu", qp_gelu, { NAN, 0, 0, 1024, INF, NAN }, { NAN, 0, 0.5, 1, NAN, NAN } },
    { "gelu_tanh", qp_gelu_tanh, { NAN, 0, 0, 1024, INF, NAN }, { NAN, 0, 0.5, 1, NAN, NAN } },
    { "erf", qp_erf, { -1, -1, 0, 1, 1, NAN }, { 0, 0, M_2_SQRTPI, 0, 0, NAN } },
    { "pow", pow_0, { 1, 1, 1, 1, 1, 1 }, { 0, 0, 0, 0, 0, 0 } },
    { "pow",
      pow_3,
      { -INF, -0x1p30, 0, 0x1p30, INF, NAN },
      { INF, 3 * 0x1p20, 0, 3 * 0x1p20, INF, NAN } },
    { "pow",
      pow_back,
      { 0, -0x1p-10, INF, 0x1p-10, 0, NAN },
      { 0, -0x1p-20, -INF, -0x1p-20, 0, NAN } },
    { "clamp", clamp, { 0, 0, 0, 1024, 1024, NAN }, { 0, 0, 0, 0, 0, 0 } },
    { "clamp", clamp_low, { 0, 0, 0, 1024, INF, NAN }, { 0, 0, 0, 1, 1, 0 } },
    { "clamp", clamp_high, { -INF, -1024, 0, 0, 0, NAN }, { 1, 1, 0, 0, 0, 0 } },
    { "affine", affine, { -INF, -2047, 1, 2049, INF, NAN }, { 2, 2, 2, 2, 2, 2 } },
};
enum { EDGES = sizeof edge / sizeof *edge };

/* Rounding to the type; e^x in f32 and the C library's functions err by 2 ulp at most. */
static bool close_to(double v, double expected, qp_storage type)
{
    const double tolerance = type == QP_F64 ? 1e-14 : type == QP_F32 ? 1e-6 : 1. / 128;
    if (isnan(expected)) return isnan(v);
    return v == expected || fabs(v - expected) <= tolerance * fabs(expected);
}

/* y of all points, and dx where dy is `dy` everywhere. */
static void run_edge(int i, qp_storage type, double dy, double *y, double *dx)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *x = test_leaf(&c, type, 1, (int64_t[]){ POINTS }, 1);
    for (int j = 0; j < POINTS; j++) test_set(x->data, type, j, points[j]);
    qp_tensor *out = edge[i].op(&c, x);
    for (int j = 0; j < POINTS; j++) y[j] = test_get(out->data, type, j);
    void *all = qp_arena_alloc(&c.arena, qp_value_bytes(out));
    for (int j = 0; j < POINTS; j++) test_set(all, type, j, dy);
    qp_backward_from(&c, out, all);
    for (int j = 0; j < POINTS; j++) dx[j] = test_get(x->grad, type, j);
    qp_ctx_release(&c);
}

START_TEST(edges_are_pytorchs)
{
    qp_storage type;
    if (!test_build(_i, &type)) return;
    for (int i = 0; i < EDGES; i++) {
        double y[POINTS], dx[POINTS];
        run_edge(i, type, 1, y, dx);
        for (int j = 0; j < POINTS; j++) {
            ck_assert_msg(close_to(y[j], edge[i].y[j], type), "%s of %g is %.17g, not %.17g",
                          edge[i].name, points[j], y[j], edge[i].y[j]);
            ck_assert_msg(close_to(dx[j], edge[i].dx[j], type),
                          "slope of %s at %g is %.17g, not %.17g", edge[i].name, points[j], dx[j],
                          edge[i].dx[j]);
        }
    }
}
END_TEST

START_TEST(no_gradient_stays_none_where_there_is_a_slope)
{
    qp_storage type;
    if (!test_build(_i, &type)) return;
    for (int i = 0; i < EDGES; i++) {
        double y[POINTS], dx[POINTS];
        run_edge(i, type, 0, y, dx);
        for (int j = 0; j < POINTS; j++)
            if (isfinite(edge[i].dx[j]))
                ck_assert_msg(dx[j] == 0, "%s at %g: 0 became %g", edge[i].name, points[j], dx[j]);
    }
}
END_TEST

/* As in PyTorch: a product with the sign, which is 0 at 0. */
START_TEST(a_nan_passes_the_kink_of_abs)
{
    double y[POINTS], dx[POINTS];
    for (int i = 0; i < EDGES; i++) {
        if (strcmp(edge[i].name, "abs") != 0) continue;
        run_edge(i, QP_F64, NAN, y, dx);
        for (int j = 0; j < POINTS; j++) ck_assert(isnan(dx[j]));
    }
}
END_TEST

START_TEST(no_op_of_the_table_is_left_out)
{
    static const char *const names[] = {
#define UNARY(name, value, slope) #name,
#define UNARY_PQ UNARY
#include "autograd/unary.def"
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        bool there = false;
        for (int j = 0; j < EDGES; j++) there |= !strcmp(names[i], edge[j].name);
        ck_assert_msg(there, "%s has no line here", names[i]);
    }
}
END_TEST

Suite *suite_unary(void)
{
    Suite *s = suite_create("unary");
    TCase *t = tcase_create("unary");
    tcase_add_loop_test(t, edges_are_pytorchs, 0, TEST_BUILDS);
    tcase_add_loop_test(t, no_gradient_stays_none_where_there_is_a_slope, 0, TEST_BUILDS);
    tcase_add_test(t, a_nan_passes_the_kink_of_abs);
    tcase_add_test(t, no_op_of_the_table_is_left_out);
    suite_add_tcase(s, t);
    return s;
}
