#include "autograd/general.h"
#include "tests/suites.h"
#include "tests/support/rows.h"
#include <math.h>

static qp_tensor *last(qp_ctx *c, qp_tensor **in) { return qp_softmax(c, in[0], -1); }
static qp_tensor *log_last(qp_ctx *c, qp_tensor **in) { return qp_log_softmax(c, in[0], -1); }
static qp_tensor *first(qp_ctx *c, qp_tensor **in) { return qp_softmax(c, in[0], 0); }
static qp_tensor *log_first(qp_ctx *c, qp_tensor **in) { return qp_log_softmax(c, in[0], 0); }
static qp_tensor *twice(qp_ctx *c, qp_tensor **in)
{
    return qp_add(c, qp_softmax(c, in[0], -1), qp_log_softmax(c, in[0], -1));
}

START_TEST(values_are_pytorchs)
{
    static const double
        x_of[] = { 1, 2, 4, -3, 0.5, -0.25, 8, 1 },
        dy_of[] = { 1, -1, 2, 0.5, 0.25, 3, -2, 1 },
        y_of[2][8] = { { 0.041977766710832629, 0.11410740044934936, 0.84314598322338685,
                         0.0007688496164311372, 0.00055213126740982505, 0.0002608083434469064,
                         0.99827674982434622, 0.00091031056479719892 },
                       { -3.1706151648891669, -2.1706151648891669, -0.17061516488916714,
                         -7.1706151648891669, -7.5017247366792281, -8.251724736679229,
                         -0.0017247366792282454, -7.0017247366792281 } },
        dx_of[2][8] = { { -0.025797300419925118, -0.29833913385348004, 0.32499335312041616,
                          -0.00085691884701110776, 0.0012393816065813645, 0.0013026653615104524,
                          -0.0052681747089744907, 0.0027261277408830924 },
                        { 0.89505558322291845, -1.2852685011233735, -0.10786495805846713,
                          0.49807787595892217, 0.24875770464832789, 2.9994131812272444,
                          -4.246122687104779, 0.99795180122920635 } };
    /* Backward starts from the rounded y, whose logarithm is off by up to 8 half ulps. */
    static const double bound[] = { 1e-14, 1e-6, 1. / 60 };
    for (int b = 0; b < 2 * TEST_BUILDS; b++) {
        const bool log_too = b % 2;
        qp_storage type;
        qp_ctx c;
        if (!test_build(b / 2, &type)) continue;
        test_ctx(&c, NULL);
        qp_tensor *x = test_leaf(&c, type, 2, (int64_t[]){ 2, 4 }, 1);
        qp_tensor *dy = test_leaf(&c, type, 2, (int64_t[]){ 2, 4 }, 1);
        for (int i = 0; i < 8; i++) test_set(x->data, type, i, x_of[i]);
        for (int i = 0; i < 8; i++) test_set(dy->data, type, i, dy_of[i]);
        qp_tensor *y = log_too ? qp_log_softmax(&c, x, 1) : qp_softmax(&c, x, 1);
        for (int i = 0; i < 8; i++) {
            const double right = y_of[log_too][i];
            ck_assert_double_le(fabs(test_get(y->data, type, i) - right),
                                bound[type] * fabs(right));
        }
        qp_backward_from(&c, y, dy->data);
        ck_assert_double_lt(test_difference(x->grad, type, dx_of[log_too], QP_F64, 8), bound[type]);
        qp_ctx_release(&c);
    }
}
END_TEST

START_TEST(gradient_matches_differences)
{
    static const struct {
        int ndim;
        int64_t shape[3];
    } at[] = { { 1, { 5 } },    { 2, { 3, 7 } }, { 3, { 2, 3, 4 } }, { 2, { 0, 3 } },
               { 2, { 3, 0 } }, { 2, { 2, 1 } }, { 2, { 2, 33 } } };
    static const test_op ops[] = { last, log_last, first, log_first, twice };
    qp_ctx c;
    test_ctx(&c, NULL);
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
        qp_tensor *in[] = { test_leaf(&c, QP_F64, at[i].ndim, at[i].shape, 1) };
        for (size_t k = 0; k < sizeof ops / sizeof ops[0]; k++)
            ck_assert_double_lt(gradcheck(&c, ops[k], 1, in), 1e-9);
    }
    qp_ctx_release(&c);
}
END_TEST

/* Along the middle of three, an element by the definition. */
START_TEST(any_axis_sums_to_one)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *x = test_leaf(&c, QP_F64, 3, (int64_t[]){ 2, 3, 4 }, 1);
    const double *v = x->data, *y = qp_softmax(&c, x, -2)->data,
                 *l = qp_log_softmax(&c, x, 1)->data;
    c.tape = NULL;
    for (int i = 0; i < 24; i++) {
        const int at = i / 12 * 12 + i % 4;
        const double sum = exp(v[at]) + exp(v[at + 4]) + exp(v[at + 8]);
        ck_assert_double_eq_tol(y[i], exp(v[i]) / sum, 1e-15);
        ck_assert_double_eq_tol(l[i], v[i] - log(sum), 1e-14);
    }
    qp_ctx_release(&c);
}
END_TEST

/* Masked and huge values, as PyTorch: x, softmax, log-softmax. NaN stands for NaN. */
START_TEST(masked_and_huge_values_are_pytorchs)
{
    static const float i = INFINITY, n = NAN;
    const float cases[][3][2] = {
        { { -i, -i }, { n, n }, { n, n } },
        { { i, 1 }, { n, n }, { n, n } },
        { { n, 1 }, { n, n }, { n, n } },
        { { 1, n }, { n, n }, { n, n } },
        { { -i, 1 }, { 0, 1 }, { -i, 0 } },
        { { 1e4f, -1e4f }, { 1, 0 }, { 0, -2e4f } },
        { { 3e38f, -3e38f }, { 1, 0 }, { 0, -i } },
        { { -3e38f, -3e38f }, { .5f, .5f }, { -0.6931472f, -0.6931472f } },
    };
    for (int b = 0; b < TEST_BUILDS; b++) {
        qp_storage type;
        qp_ctx c;
        if (!test_build(b, &type) || type != QP_F32) continue;
        test_ctx(&c, NULL);
        for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
            qp_tensor *x = test_leaf(&c, type, 1, (int64_t[]){ 2 }, 1);
            for (int j = 0; j < 2; j++) test_set(x->data, type, j, (double)cases[k][0][j]);
            const float *got[] = { qp_softmax(&c, x, 0)->data, qp_log_softmax(&c, x, 0)->data };
            for (int j = 0; j < 4; j++) {
                const float right = cases[k][1 + j / 2][j % 2], y = got[j / 2][j % 2];
                ck_assert_msg(isnan(right) ? isnan(y) : y == right, "case %zu: %g, not %g", k,
                              (double)y, (double)right);
            }
        }
        c.tape = NULL;
        qp_ctx_release(&c);
    }
}
END_TEST

START_TEST(bits_do_not_depend_on_threads_or_neighbours)
{
    test_row_bits(last, 150, 301, 0);
    test_row_bits(log_last, 150, 301, 0);
}
END_TEST

START_TEST(an_axis_that_is_not_there_exits_70)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *x = test_leaf(&c, QP_F32, _i ? 2 : 0, (int64_t[]){ 2, 3 }, 1);
    qp_softmax(&c, x, _i == 2 ? -3 : _i == 1 ? 2 : 0);
}
END_TEST

Suite *suite_softmax(void)
{
    Suite *s = suite_create("softmax");
    TCase *t = tcase_create("softmax");
    tcase_add_test(t, values_are_pytorchs);
    tcase_add_test(t, gradient_matches_differences);
    tcase_add_test(t, any_axis_sums_to_one);
    tcase_add_test(t, masked_and_huge_values_are_pytorchs);
    tcase_add_test(t, bits_do_not_depend_on_threads_or_neighbours);
    tcase_add_loop_exit_test(t, an_axis_that_is_not_there_exits_70, 70, 0, 3);
    suite_add_tcase(s, t);
    return s;
}
