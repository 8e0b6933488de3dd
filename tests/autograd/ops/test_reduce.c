/* sum, mean, max, min, var, logsumexp, argmax. Edge values are PyTorch 2.15's. */
#include "base/buf.h"
#include "tests/suites.h"
#include "tests/support/expect.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef qp_tensor *reduction(qp_ctx *c, qp_tensor *x, qp_axes axes, bool keep);
#define VAR(correction)                                                                            \
    static qp_tensor *var##correction(qp_ctx *c, qp_tensor *x, qp_axes axes, bool keep)            \
    {                                                                                              \
        return qp_var(c, x, axes, keep, correction);                                               \
    }
VAR(0)
VAR(1)
VAR(2)
VAR(3)

static reduction *const all[] = { qp_sum, qp_mean, qp_max, qp_min, qp_logsumexp, var0, var1 };
enum { COUNT = sizeof all / sizeof *all };

/* What op() is to do. */
static struct {
    reduction *reduce;
    qp_axes axes;
    bool keep;
} setting;
static qp_tensor *op(qp_ctx *c, qp_tensor **in)
{
    return setting.reduce(c, in[0], setting.axes, setting.keep);
}
/* Another gradient is there already: the reduction's is added. */
static qp_tensor *op_and_square(qp_ctx *c, qp_tensor **in)
{
    qp_tensor *y = op(c, in);
    return qp_add(c, y, qp_sum(c, qp_square(c, in[0]), setting.axes, setting.keep));
}

typedef struct {
    int ndim;
    int64_t shape[4];
    qp_axes axes;
} test_case;
static const test_case small[] = {
    { 0, { 0 }, { -1, { 0 } } },
    { 1, { 7 }, { 1, { 0 } } },
    { 2, { 5, 18 }, { 1, { 1 } } },
    { 2, { 5, 18 }, { 1, { 0 } } },
    { 2, { 5, 3 }, { -1, { 0 } } },
    { 2, { 2, 41 }, { 1, { -1 } } },
    { 2, { 3, 4 }, { 0, { 0 } } },
    { 3, { 3, 4, 5 }, { 2, { 0, -1 } } },
    { 3, { 3, 4, 5 }, { 1, { 1 } } },
    { 3, { 3, 4, 5 }, { 2, { 1, 0 } } },
    { 3, { 2, 1, 33 }, { 2, { 2, 1 } } },
    { 4, { 2, 3, 4, 3 }, { 2, { 1, 3 } } },
    { 4, { 2, 3, 4, 3 }, { 2, { 0, 2 } } },
};
/* Large enough to be cut: many outputs, few outputs, blocks beside each other, rows of every
   length. */
static const test_case large[] = {
    { 2, { 37, 907 }, { 1, { 1 } } },         { 2, { 907, 37 }, { 1, { 0 } } },
    { 3, { 9, 13, 290 }, { 1, { 1 } } },      { 1, { 33347 }, { -1, { 0 } } },
    { 2, { 11113, 3 }, { 1, { 0 } } },        { 2, { 3, 11113 }, { 1, { 1 } } },
    { 3, { 2, 3, 5569 }, { 2, { 0, 2 } } },   { 3, { 5569, 3, 2 }, { 2, { 0, 2 } } },
    { 4, { 13, 5, 61, 9 }, { 2, { 0, 2 } } }, { 4, { 13, 5, 9, 61 }, { 2, { 1, 3 } } },
    { 2, { 4793, 7 }, { 1, { 1 } } },         { 2, { 13, 2707 }, { 1, { 0 } } },
};
enum { SMALL = sizeof small / sizeof *small, LARGE = sizeof large / sizeof *large };

static bool of_one_element(const test_case *t) { return t->axes.count == 0 || t->ndim == 0; }

START_TEST(gradients_match_differences)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    for (int i = 0; i < COUNT; i++)
        for (int k = 0; k < SMALL; k++)
            for (int keep = 0; keep < 2; keep++) {
                qp_tensor *x = test_distinct(&c, QP_F64, small[k].ndim, small[k].shape, 0.03);
                if (of_one_element(&small[k]) && all[i] == var1) continue; /* NaN */
                setting.reduce = all[i];
                setting.axes = small[k].axes;
                setting.keep = keep;
                const double alone = gradcheck(&c, op, 1, &x),
                             added = gradcheck(&c, op_and_square, 1, &x);
                ck_assert_msg(alone < 1e-9 && added < 1e-9, "reduction %d, case %d: %g, %g", i, k,
                              alone, added);
            }
    qp_ctx_release(&c);
}
END_TEST

/* ---- Against plain loops ---- */

typedef struct {
    int64_t outputs, n; /* elements of each output */
    int64_t *of;        /* the output of each element */
    double *y, *dx;
} plain;

static plain plain_of(const qp_tensor *x, qp_axes axes)
{
    const int64_t n = qp_numel(x);
    plain p = { .outputs = 1, .n = n, .of = qp_xmalloc((size_t)n * sizeof *p.of) };
    bool gone[QP_MAX_DIMS] = { false };
    for (int d = 0; d < x->ndim; d++) gone[d] = axes.count < 0;
    for (int i = 0; i < axes.count; i++) gone[(axes.axis[i] + x->ndim) % x->ndim] = true;
    memset(p.of, 0, (size_t)n * sizeof *p.of);
    for (int64_t i = 0, step = 1, left = n; i < x->ndim; i++) {
        const int64_t d = x->ndim - 1 - i, inner = n / left;
        left /= x->shape[d];
        if (gone[d]) continue;
        for (int64_t j = 0; j < n; j++) p.of[j] += j / inner % x->shape[d] * step;
        step *= x->shape[d];
        p.outputs = step;
    }
    p.n = n / p.outputs;
    p.y = qp_xmalloc((size_t)p.outputs * sizeof *p.y);
    p.dx = qp_xmalloc((size_t)n * sizeof *p.dx);
    return p;
}

static void plain_free(plain *p)
{
    free(p->of);
    free(p->y);
    free(p->dx);
}

/* p's y and, for the gradient that test_run gives y, dx. */
static void compute(plain *p, reduction *r, const qp_tensor *x, const qp_tensor *dy_)
{
    const int64_t n = qp_numel(x);
    double *other = calloc((size_t)p->outputs, sizeof *other), /* a second number an output */
        *dy = calloc((size_t)p->outputs, sizeof *dy);
    const double sign = r == qp_min ? -1 : 1, freedom = (double)p->n - (r == var1);
    const bool extreme = r == qp_max || r == qp_min;
    for (int64_t o = 0; o < p->outputs; o++) {
        p->y[o] = extreme ? -INFINITY : 0;
        dy[o] = test_get(dy_->data, dy_->storage, o);
    }
#define EACH(statement)                                                                            \
    for (int64_t i = 0; i < n; i++) {                                                              \
        const double v = test_get(x->data, x->storage, i);                                         \
        const int64_t o = p->of[i];                                                                \
        statement;                                                                                 \
    }
    if (r == qp_sum || r == qp_mean) {
        const double scale = r == qp_mean ? 1 / (double)p->n : 1;
        EACH((p->y[o] += v * scale, p->dx[i] = scale * dy[o]))
    } else if (extreme) {
        EACH(p->y[o] = fmax(p->y[o], sign * v))
        EACH(other[o] += sign * v == p->y[o])
        EACH(p->dx[i] = sign * v == p->y[o] ? dy[o] / other[o] : 0)
        for (int64_t o = 0; o < p->outputs; o++) p->y[o] *= sign;
    } else if (r == qp_logsumexp) {
        EACH(other[o] += exp(v))
        for (int64_t o = 0; o < p->outputs; o++) p->y[o] = log(other[o]);
        EACH(p->dx[i] = dy[o] * exp(v) / other[o])
    } else {
        EACH(other[o] += v / (double)p->n)
        EACH((p->y[o] += (v - other[o]) * (v - other[o]) / freedom,
              p->dx[i] = 2 * dy[o] * (v - other[o]) / freedom))
    }
    free(other);
    free(dy);
}

/* One rounding to the type, two in the mean's gradient, and e^x's 2 ulp in f32 for logsumexp;
   differences of sums cancel, so the size of the largest counts. */
static void compare(const char *what, int build, const test_case *t, reduction *r,
                    const qp_tensor *x, const void *got, const double *want, int64_t n)
{
    const bool powers = r == qp_logsumexp && x->storage == QP_F32;
    const double rounding = x->storage == QP_F64   ? 1e-12
                            : x->storage == QP_F32 ? powers ? 1e-6 : 1.2e-7
                                                   : 0x1.02p-8;
    const double off = test_difference(got, x->storage, want, QP_F64, n);
    ck_assert_msg(off < rounding, "build %d, %s over %d axes: %s off by %g", build, qp_str(x),
                  t->axes.count, what, off);
}

START_TEST(every_build_agrees_with_plain_loops)
{
    qp_ctx c;
    qp_storage type;
    if (!test_build(_i, &type)) return;
    test_ctx(&c, NULL);
    for (int k = 0; k < SMALL + LARGE; k++) {
        const test_case *t = k < SMALL ? &small[k] : &large[k - SMALL];
        qp_scope scope;
        qp_scope_open(&c.arena, &scope);
        qp_tensor *x = test_leaf(&c, type, t->ndim, t->shape, 1);
        plain p = plain_of(x, t->axes);
        for (int i = 0; i < COUNT; i++) {
            if (of_one_element(t) && all[i] == var1) continue; /* NaN */
            x->grad = NULL;
            setting.reduce = all[i];
            setting.axes = t->axes;
            setting.keep = false;
            qp_tensor *y = op(&c, &x), *dy = test_leaf(&c, type, y->ndim, y->shape, 2);
            ck_assert_int_eq(qp_numel(y), p.outputs);
            qp_backward_from(&c, y, dy->data);
            compute(&p, all[i], x, dy);
            compare("value", _i, t, all[i], x, y->data, p.y, p.outputs);
            compare("gradient", _i, t, all[i], x, x->grad, p.dx, qp_numel(x));
        }
        plain_free(&p);
        qp_scope_close(&c.arena, &scope);
    }
    qp_ctx_release(&c);
}
END_TEST

START_TEST(threads_change_no_bit)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    for (int k = 0; k < LARGE; k++)
        for (int i = 0; i < COUNT; i++) {
            qp_scope scope;
            qp_scope_open(&c.arena, &scope);
            setting.reduce = all[i];
            setting.axes = large[k].axes;
            qp_tensor *x =
                test_leaf(&c, k % 2 ? QP_F32 : QP_BF16, large[k].ndim, large[k].shape, 1);
            test_threads_change_no_bit(&c, op, 1, &x);
            qp_scope_close(&c.arena, &scope);
        }
    qp_ctx_release(&c);
}
END_TEST

/* ---- Edges ---- */

#define INF INFINITY
static const struct {
    reduction *reduce;
    int n;
    double x[3], y, dx[3]; /* for dy = 2 */
} edges[] = {
    { qp_logsumexp, 2, { -INF, -INF }, -INF, { NAN, NAN } },
    { qp_logsumexp, 2, { INF, 1 }, INF, { NAN, 0 } },
    { qp_logsumexp, 2, { INF, INF }, INF, { NAN, NAN } },
    { qp_logsumexp, 2, { NAN, 1 }, NAN, { NAN, NAN } },
    { qp_logsumexp, 2, { -INF, 1 }, 1, { 0, 2 } },
    { qp_logsumexp, 2, { 1e4, 1e4 }, 1e4 + 0.69314718055994531, { 1, 1 } },
    { qp_logsumexp, 2, { -1e4, -1e4 }, -1e4 + 0.69314718055994531, { 1, 1 } },
    { qp_max, 3, { 1, 2, 2 }, 2, { 0, 1, 1 } },
    { qp_max, 3, { NAN, 1, 2 }, NAN, { NAN, NAN, NAN } },
    { qp_max, 3, { 1, NAN, 2 }, NAN, { NAN, NAN, NAN } },
    { qp_max, 3, { INF, INF, 1 }, INF, { 1, 1, 0 } },
    { qp_max, 2, { -INF, -INF }, -INF, { 1, 1 } },
    { qp_min, 3, { 1, 2, 1 }, 1, { 1, 0, 1 } },
    { qp_min, 3, { 2, 1, NAN }, NAN, { NAN, NAN, NAN } },
    { qp_min, 3, { INF, INF, 1 }, 1, { 0, 0, 2 } },
    { qp_min, 2, { -INF, 0 }, -INF, { 2, 0 } },
    { qp_sum, 3, { INF, 1, 1 }, INF, { 2, 2, 2 } },
    { qp_sum, 3, { INF, -INF, 1 }, NAN, { 2, 2, 2 } },
    { qp_mean, 3, { NAN, 1, 1 }, NAN, { 2. / 3, 2. / 3, 2. / 3 } },
    { var1, 1, { 3 }, NAN, { NAN } },
    { var0, 1, { 3 }, 0, { 0 } },
    { var2, 1, { 3 }, NAN, { -0. } },
    { var2, 2, { 1, 2 }, INF, { -INF, INF } },
    { var3, 2, { 1, 2 }, INF, { 2, -2 } },
    { var1, 2, { 1, INF }, NAN, { -INF, NAN } },
    { var1, 2, { 1, NAN }, NAN, { NAN, NAN } },
    { var1, 3, { 1, 2, 4 }, 7. / 3, { -8. / 3, -2. / 3, 10. / 3 } },
    { var1, 3, { 1e8 + 1, 1e8 + 2, 1e8 + 4 }, 7. / 3, { -8. / 3, -2. / 3, 10. / 3 } },
};
enum { EDGES = sizeof edges / sizeof *edges, LONG = 40, WIDE = 3 };

/* As a row, as a row long enough for lanes (tripled maxima share a third), and as columns. */
START_TEST(infinities_ties_and_nan_are_as_in_pytorch)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    const double two[WIDE] = { 2, 2, 2 };
    for (int i = 0; i < EDGES; i++) {
        const int64_t n = edges[i].n;
        double wide[3 * WIDE], want[3 * WIDE];
        for (int64_t j = 0; j < n * WIDE; j++) {
            wide[j] = edges[i].x[j / WIDE];
            want[j] = edges[i].dx[j / WIDE];
        }
        qp_tensor *x = test_input(&c, QP_F64, QP_SHAPE(n), edges[i].x);
        qp_tensor *y = edges[i].reduce(&c, x, QP_AXES(0), false);
        expect_values(y, &edges[i].y, 1e-14);
        qp_backward(&c, y, 2);
        expect_grad(x, edges[i].dx, 1e-7);

        x = test_input(&c, QP_F64, QP_SHAPE(n, WIDE), wide);
        y = edges[i].reduce(&c, x, QP_AXES(0), false);
        for (int64_t j = 0; j < WIDE; j++)
            test_expect("column", qp_slice(&c, y, 0, j, j + 1), (double *)y->data + j, &edges[i].y,
                        1e-14);
        qp_backward_from(&c, y, two);
        expect_grad(x, want, 1e-7);
    }
    qp_ctx_release(&c);
}
END_TEST

/* NaN and infinity at every place of a row that is folded in lanes. */
START_TEST(nan_wins_wherever_it_stands)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    for (int at = 0; at < 2 * LONG; at++) {
        double x[2 * LONG];
        for (int j = 0; j < 2 * LONG; j++) x[j] = j == at ? (double)NAN : j;
        const qp_tensor *t = test_input(&c, QP_F64, QP_SHAPE(2 * LONG), x);
        ck_assert_double_nan(qp_item(qp_max(&c, (qp_tensor *)t, QP_ALL, false)));
        ck_assert_double_nan(qp_item(qp_min(&c, (qp_tensor *)t, QP_ALL, false)));
        ck_assert_double_nan(qp_item(qp_sum(&c, (qp_tensor *)t, QP_ALL, false)));
        ck_assert_double_nan(qp_item(qp_logsumexp(&c, (qp_tensor *)t, QP_ALL, false)));
        ck_assert_double_eq(qp_item(qp_argmax(&c, (qp_tensor *)t, 0)), at);
    }
    qp_ctx_release(&c);
}
END_TEST

START_TEST(equal_maxima_share_a_third)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    double x[LONG] = { 0 }, want[LONG] = { 0 };
    x[1] = x[17] = x[39] = 5;
    want[1] = want[17] = want[39] = 1. / 3;
    qp_tensor *t = test_input(&c, QP_F64, QP_SHAPE(LONG), x);
    qp_backward(&c, qp_max(&c, t, QP_ALL, false), 1);
    expect_grad(t, want, 0);
    for (int j = 0; j < LONG; j++) ((double *)t->data)[j] *= -1;
    t->grad = NULL;
    qp_backward(&c, qp_min(&c, t, QP_ALL, false), 1);
    expect_grad(t, want, 0);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(of_nothing_comes_what_pytorch_says)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    static reduction *const without_extremes[] = { qp_sum, qp_mean, var1, qp_logsumexp };
    static const double want[4][3] = {
        { 0, 0, 0 }, { NAN, NAN, NAN }, { NAN, NAN, NAN }, { -INF, -INF, -INF }
    };
    for (int i = 0; i < 4; i++) {
        qp_tensor *x = test_input(&c, QP_F64, QP_SHAPE(3, 0), NULL);
        qp_tensor *y = without_extremes[i](&c, x, QP_AXES(1), false);
        test_expect_shape(y, QP_SHAPE(3));
        expect_values(y, want[i], 0);
        qp_backward_from(&c, y, want[0]);
        ck_assert_ptr_nonnull(x->grad);
        test_expect_shape(without_extremes[i](&c, x, QP_AXES(0), true), QP_SHAPE(1, 0));
    }
    qp_tensor *none = test_input(&c, QP_F32, QP_SHAPE(0, 3), NULL);
    test_expect_shape(qp_max(&c, none, QP_AXES(1), false), QP_SHAPE(0));
    test_expect_shape(qp_argmax(&c, none, -1), QP_SHAPE(0));
    qp_ctx_release(&c);
}
END_TEST

START_TEST(axes_vanish_or_stay)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *x = test_leaf(&c, QP_F32, QP_SHAPE(2, 3, 4), 1);
    for (int i = 0; i < COUNT; i++) {
        test_expect_shape(all[i](&c, x, QP_AXES(1), false), QP_SHAPE(2, 4));
        test_expect_shape(all[i](&c, x, QP_AXES(-1, 0), false), QP_SHAPE(3));
        test_expect_shape(all[i](&c, x, QP_AXES(-1, 0), true), QP_SHAPE(1, 3, 1));
        test_expect_shape(all[i](&c, x, QP_ALL, false), 0, NULL);
        test_expect_shape(all[i](&c, x, QP_ALL, true), QP_SHAPE(1, 1, 1));
    }
    qp_ctx_release(&c);
}
END_TEST

/* A sum of a hundred thousand equal numbers in f32 alone is off by 1e-4. */
START_TEST(sums_are_rounded_once)
{
    enum { MANY = 100000 };
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *x = qp_full(&c, QP_F32, QP_SHAPE(MANY), 0.1),
              *b = qp_full(&c, QP_BF16, QP_SHAPE(3, 1000), 1);
    ck_assert_double_eq(qp_item(qp_sum(&c, x, QP_ALL, false)),
                        (double)(float)(MANY * (double)0.1f));
    ck_assert_double_eq(qp_item(qp_mean(&c, x, QP_ALL, false)), (double)0.1f);
    ck_assert_double_eq(qp_at(qp_sum(&c, b, QP_AXES(1), false), 2), 1000);
    ck_assert_double_eq(qp_at(qp_sum(&c, b, QP_AXES(0), false), 999), 3);
    qp_ctx_release(&c);
}
END_TEST

/* e^(x - y) with y = 100 rounded to bf16, 1/4 apart there, would be off by a tenth. */
START_TEST(logsumexp_in_bf16_keeps_the_exact_result_for_its_gradient)
{
    enum { N = 5 };
    qp_ctx c;
    test_ctx(&c, NULL);
    const double x[N] = { 100, 100, 100, 100, 100 }, want[N] = { .2, .2, .2, .2, .2 };
    qp_tensor *t = test_input(&c, QP_BF16, QP_SHAPE(N), x);
    qp_backward(&c, qp_logsumexp(&c, t, QP_ALL, false), 1);
    expect_grad(t, want, 0x1p-8);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(bf16_parameters_get_f32_gradients)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    for (int i = 0; i < COUNT; i++) {
        qp_tensor *p = test_param(&c, QP_BF16, QP_SHAPE(5, 33), 1),
                  *x = test_param(&c, QP_F64, QP_SHAPE(5, 33), 1);
        setting.reduce = all[i];
        setting.axes = QP_AXES(1);
        setting.keep = false;
        test_run(&c, op_and_square, 1, &p);
        test_run(&c, op_and_square, 1, &x);
        /* Each of the two parts is rounded to bf16, their sum is not. */
        ck_assert_double_lt(test_difference(p->grad, QP_F32, x->grad, QP_F64, 5 * 33), 0x1p-8);
    }
    qp_ctx_release(&c);
}
END_TEST

/* Repeated twice, its gradients are summed and added in f32. */
START_TEST(a_repeated_bf16_parameter_gets_the_sum_of_its_gradients)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    const double dy[] = { 1, 2, 3, 0x1p-10, 0x1p-9, 0x1p-8 };
    const qp_tensor *t = qp_values(&c, QP_BF16, QP_SHAPE(2, 3), dy);
    qp_tensor *p = test_param(&c, QP_BF16, QP_SHAPE(3), 1);
    for (int pass = 1; pass <= 2; pass++) {
        qp_backward_from(&c, qp_expand(&c, p, QP_SHAPE(2, 3)), t->data);
        for (int i = 0; i < 3; i++)
            ck_assert_double_eq(test_get(p->grad, QP_F32, i), pass * (dy[i] + dy[i + 3]));
    }
    qp_ctx_release(&c);
}
END_TEST

/* ---- Argmax ---- */

START_TEST(argmax_finds_the_first_largest)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    const double x[] = { 1, 3, 3, NAN, 0, NAN, -INF, -INF, -INF };
    qp_tensor *t = test_input(&c, QP_F64, QP_SHAPE(3, 3), x);
    const int32_t *rows = qp_argmax(&c, t, 1)->data, *columns = qp_argmax(&c, t, -2)->data;
    static const int32_t want_rows[] = { 1, 0, 0 }, want_columns[] = { 1, 0, 1 };
    ck_assert_mem_eq(rows, want_rows, sizeof want_rows);
    ck_assert_mem_eq(columns, want_columns, sizeof want_columns);
    ck_assert_int_eq(qp_argmax(&c, t, 0)->storage, QP_I32);
    ck_assert(!qp_argmax(&c, t, 0)->needs_grad);
    ck_assert(c.tape == NULL);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(argmax_of_every_build_agrees_with_a_plain_loop)
{
    qp_ctx c;
    qp_storage type;
    if (!test_build(_i, &type)) return;
    test_ctx(&c, NULL);
    for (int k = 0; k < SMALL + LARGE; k++) {
        const test_case *t = k < SMALL ? &small[k] : &large[k - SMALL];
        for (int axis = 0; axis < t->ndim; axis++) {
            qp_tensor *x = test_leaf(&c, type, t->ndim, t->shape, 1);
            const int32_t *got = qp_argmax(&c, x, axis)->data;
            int64_t inner = 1;
            for (int d = axis + 1; d < t->ndim; d++) inner *= t->shape[d];
            for (int64_t o = 0; o < qp_numel(x) / t->shape[axis]; o++) {
                const int64_t from = o / inner * inner * t->shape[axis] + o % inner;
                int64_t best = 0;
                for (int64_t j = 0; j < t->shape[axis]; j++)
                    if (test_get(x->data, type, from + j * inner) >
                        test_get(x->data, type, from + best * inner))
                        best = j;
                ck_assert_int_eq(got[o], best);
            }
        }
    }
    qp_ctx_release(&c);
}
END_TEST

/* ---- Bad input ---- */

static void reduce_over(reduction *r, qp_axes axes)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    r(&c, test_leaf(&c, QP_F32, QP_SHAPE(3, 0), 1), axes, false);
}
START_TEST(an_axis_named_twice_exits_70) { reduce_over(qp_sum, QP_AXES(0, -2)); }
END_TEST
START_TEST(an_axis_that_is_not_there_exits_70) { reduce_over(qp_logsumexp, QP_AXES(2)); }
END_TEST
START_TEST(max_of_nothing_exits_70) { reduce_over(qp_max, QP_AXES(1)); }
END_TEST
START_TEST(min_of_nothing_exits_70) { reduce_over(qp_min, QP_ALL); }
END_TEST
START_TEST(argmax_of_nothing_exits_70)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_argmax(&c, test_leaf(&c, QP_F32, QP_SHAPE(3, 0), 1), 1);
}
END_TEST
START_TEST(a_sum_of_integers_exits_70)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_sum(&c, qp_index(&c, QP_SHAPE(1), (int32_t[]){ 1 }), QP_ALL, false);
}
END_TEST

Suite *suite_reduce(void)
{
    Suite *s = suite_create("reduce");
    TCase *t = tcase_create("reduce");
    tcase_add_test(t, gradients_match_differences);
    tcase_add_loop_test(t, every_build_agrees_with_plain_loops, 0, TEST_BUILDS);
    tcase_add_test(t, threads_change_no_bit);
    tcase_add_test(t, infinities_ties_and_nan_are_as_in_pytorch);
    tcase_add_test(t, nan_wins_wherever_it_stands);
    tcase_add_test(t, equal_maxima_share_a_third);
    tcase_add_test(t, of_nothing_comes_what_pytorch_says);
    tcase_add_test(t, axes_vanish_or_stay);
    tcase_add_test(t, sums_are_rounded_once);
    tcase_add_test(t, logsumexp_in_bf16_keeps_the_exact_result_for_its_gradient);
    tcase_add_test(t, bf16_parameters_get_f32_gradients);
    tcase_add_test(t, a_repeated_bf16_parameter_gets_the_sum_of_its_gradients);
    tcase_add_test(t, argmax_finds_the_first_largest);
    tcase_add_loop_test(t, argmax_of_every_build_agrees_with_a_plain_loop, 0, TEST_BUILDS);
    tcase_add_exit_test(t, an_axis_named_twice_exits_70, 70);
    tcase_add_exit_test(t, an_axis_that_is_not_there_exits_70, 70);
    tcase_add_exit_test(t, max_of_nothing_exits_70, 70);
    tcase_add_exit_test(t, min_of_nothing_exits_70, 70);
    tcase_add_exit_test(t, argmax_of_nothing_exits_70, 70);
    tcase_add_exit_test(t, a_sum_of_integers_exits_70, 70);
    suite_add_tcase(s, t);
    return s;
}
