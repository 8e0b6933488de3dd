#include "autograd/general.h"
#include "tests/suites.h"
#include "tests/support/gradcheck.h"
#include <math.h>

#define INF INFINITY

/* Ties, poles, and where there is no number: values and slopes of PyTorch 2.15. */
static const struct {
    const char *name;
    qp_tensor *(*op)(qp_ctx *c, qp_tensor *a, qp_tensor *b);
    double a, b, y, da, db;
} edge[] = {
    { "mul", qp_mul, 0, INF, NAN, INF, 0 },
    { "mul", qp_mul, NAN, 2, NAN, 2, NAN },
    { "div", qp_div, 1, 0, INF, INF, -INF },
    { "div", qp_div, -1, 0, -INF, INF, INF },
    { "div", qp_div, 0, 0, NAN, INF, NAN },
    { "div", qp_div, INF, 2, INF, 0.5, -INF },
    { "div", qp_div, 1, INF, 0, 0, 0 },
    { "div", qp_div, NAN, 1, NAN, 1, NAN },
    { "maximum", qp_maximum, 2, 1, 2, 1, 0 },
    { "maximum", qp_maximum, 1, 2, 2, 0, 1 },
    { "maximum", qp_maximum, 1, 1, 1, 0.5, 0.5 },
    { "maximum", qp_maximum, INF, INF, INF, 0.5, 0.5 },
    { "maximum", qp_maximum, NAN, 1, NAN, 1, 1 },
    { "maximum", qp_maximum, 1, NAN, NAN, 1, 1 },
    { "minimum", qp_minimum, 2, 1, 1, 0, 1 },
    { "minimum", qp_minimum, 1, 2, 1, 1, 0 },
    { "minimum", qp_minimum, 1, 1, 1, 0.5, 0.5 },
    { "minimum", qp_minimum, -INF, -INF, -INF, 0.5, 0.5 },
    { "minimum", qp_minimum, NAN, 1, NAN, 1, 1 },
    { "minimum", qp_minimum, 1, NAN, NAN, 1, 1 },
};

static bool same(double a, double b) { return isnan(b) ? isnan(a) : a == b; }

START_TEST(edges_are_pytorchs)
{
    qp_storage type;
    if (!test_build(_i, &type)) return;
    for (size_t i = 0; i < sizeof edge / sizeof *edge; i++) {
        qp_ctx c;
        test_ctx(&c, NULL);
        qp_tensor *a = test_leaf(&c, type, 0, NULL, 1), *b = test_leaf(&c, type, 0, NULL, 2);
        test_set(a->data, type, 0, edge[i].a);
        test_set(b->data, type, 0, edge[i].b);
        qp_tensor *y = edge[i].op(&c, a, b);
        const double value = test_get(y->data, type, 0);
        qp_backward(&c, y, 1);
        const double da = test_get(a->grad, type, 0), db = test_get(b->grad, type, 0);
        ck_assert_msg(same(value, edge[i].y) && same(da, edge[i].da) && same(db, edge[i].db),
                      "%s(%g, %g) is %g with slopes %g, %g, not %g with %g, %g", edge[i].name,
                      edge[i].a, edge[i].b, value, da, db, edge[i].y, edge[i].da, edge[i].db);
        qp_ctx_release(&c);
    }
}
END_TEST

/* Each comparison of 1 with 0, 1, 2 and NaN. */
START_TEST(comparisons_give_ones_and_zeros)
{
    static const struct {
        qp_tensor *(*op)(qp_ctx *c, qp_tensor *a, qp_tensor *b);
        double y[4];
    } row[] = {
        { qp_equal, { 0, 1, 0, 0 } },         { qp_less, { 0, 0, 1, 0 } },
        { qp_less_equal, { 0, 1, 1, 0 } },    { qp_greater, { 1, 0, 0, 0 } },
        { qp_greater_equal, { 1, 1, 0, 0 } },
    };
    qp_storage type;
    if (!test_build(_i, &type)) return;
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *a = test_leaf(&c, type, 0, NULL, 1),
              *b = test_leaf(&c, type, 1, (int64_t[]){ 4 }, 2);
    test_set(a->data, type, 0, 1);
    for (int j = 0; j < 4; j++) test_set(b->data, type, j, j < 3 ? (double)j : NAN);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        const qp_tensor *y = row[i].op(&c, a, b);
        ck_assert(!y->needs_grad);
        for (int j = 0; j < 4; j++) ck_assert_double_eq(test_get(y->data, type, j), row[i].y[j]);
    }
    qp_ctx_release(&c);
}
END_TEST

Suite *suite_binary(void)
{
    Suite *s = suite_create("binary");
    TCase *t = tcase_create("binary");
    tcase_add_loop_test(t, edges_are_pytorchs, 0, TEST_BUILDS);
    tcase_add_loop_test(t, comparisons_give_ones_and_zeros, 0, TEST_BUILDS);
    suite_add_tcase(s, t);
    return s;
}
