#include "autograd/general.h"
#include "tests/suites.h"
#include "tests/support/rows.h"
#include <math.h>
#include <string.h>

static qp_tensor *op(qp_ctx *c, qp_tensor **in)
{
    return qp_layernorm(c, in[0], in[1], in[2], 1e-5);
}
static qp_tensor *bare(qp_ctx *c, qp_tensor **in)
{
    return qp_layernorm(c, in[0], NULL, NULL, 1e-5);
}
static qp_tensor *no_b(qp_ctx *c, qp_tensor **in)
{
    return qp_layernorm(c, in[0], in[1], NULL, 0.5);
}
static qp_tensor *no_w(qp_ctx *c, qp_tensor **in)
{
    return qp_layernorm(c, in[0], NULL, in[1], 0.5);
}
/* Arguments that are one tensor, and x used twice. */
static qp_tensor *same(qp_ctx *c, qp_tensor **in)
{
    return qp_add(c, qp_layernorm(c, in[0], in[0], in[0], 1e-3),
                  qp_layernorm(c, in[0], in[1], in[1], 1e-3));
}

static const double x_of[] = { 1, 2, 4, -3, 0.5, -0.25, 8, 1 }, w_of[] = { 1.5, -2, 0.5, 1 },
                    b_of[] = { 0.25, 0, -1, 3 }, dy_of[] = { 1, -1, 2, 0.5, 0.25, 3, -2, 1 };

static void inputs(qp_ctx *c, qp_storage type, qp_tensor **in)
{
    in[0] = test_leaf(c, type, 2, (int64_t[]){ 2, 4 }, 1);
    in[1] = test_param(c, type, 1, (int64_t[]){ 4 }, 1);
    in[2] = test_param(c, type, 1, (int64_t[]){ 4 }, 1);
    for (int i = 0; i < 8; i++) test_set(in[0]->data, type, i, x_of[i]);
    for (int i = 0; i < 4; i++) test_set(in[1]->data, type, i, w_of[i]);
    for (int i = 0; i < 4; i++) test_set(in[2]->data, type, i, b_of[i]);
}

START_TEST(values_are_pytorchs)
{
    static const double y_of[] = { 0.25,
                                   -0.78446393711917051,
                                   -0.41165204716062209,
                                   1.431072125761659,
                                   -0.57046231180494211,
                                   1.5466186107587414,
                                   -0.14181528305460089,
                                   2.6039147460252003 },
                        dx[] = { 0.098057992139896355, 0.24891651121276021, -0.2338303877606826,
                                 -0.1131441155919739,  0.63337667466679004, -1.250811200703994,
                                 -0.17811764980351941, 0.79555217584072346 },
                        dw[] = { -0.13674371863415702, -2.7121598846976971, -1.0793470564240848,
                                 -1.1805491910939701 },
                        db[] = { 1.25, 2, 0, 1.5 };
    static const double bound[] = { 1e-14, 3e-7, 1. / 200 };
    for (int b = 0; b < TEST_BUILDS; b++) {
        qp_storage type;
        qp_ctx c;
        if (!test_build(b, &type)) continue;
        test_ctx(&c, NULL);
        qp_tensor *in[3], *dy = test_leaf(&c, type, 2, (int64_t[]){ 2, 4 }, 1);
        for (int i = 0; i < 8; i++) test_set(dy->data, type, i, dy_of[i]);
        inputs(&c, type, in);
        qp_tensor *y = op(&c, in);
        ck_assert_double_lt(test_difference(y->data, type, y_of, QP_F64, 8), bound[type]);
        qp_backward_from(&c, y, dy->data);
        ck_assert_double_lt(test_difference(in[0]->grad, type, dx, QP_F64, 8), bound[type]);
        const qp_storage sums = qp_sum_storage(type);
        /* Parameters' gradients are sums, never rounded to bf16. */
        ck_assert_double_lt(test_difference(in[1]->grad, sums, dw, QP_F64, 4), bound[sums]);
        ck_assert_double_lt(test_difference(in[2]->grad, sums, db, QP_F64, 4), bound[sums]);
        qp_ctx_release(&c);
    }
}
END_TEST

START_TEST(gradient_matches_differences)
{
    static const struct {
        int ndim;
        int64_t shape[3];
    } at[] = { { 1, { 5 } },    { 2, { 3, 7 } }, { 3, { 2, 3, 4 } }, { 2, { 70, 3 } },
               { 2, { 0, 3 } }, { 2, { 3, 0 } }, { 2, { 2, 1 } },    { 2, { 2, 33 } } };
    qp_ctx c;
    test_ctx(&c, NULL);
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
        const int64_t *d = &at[i].shape[at[i].ndim - 1];
        qp_tensor *in[] = { test_leaf(&c, QP_F64, at[i].ndim, at[i].shape, 1),
                            test_param(&c, QP_F64, 1, d, 2), test_leaf(&c, QP_F64, 1, d, 3) };
        ck_assert_double_lt(gradcheck(&c, op, 3, in), 1e-9);
        ck_assert_double_lt(gradcheck(&c, bare, 1, in), 1e-9);
        ck_assert_double_lt(gradcheck(&c, no_b, 2, in), 1e-9);
        ck_assert_double_lt(gradcheck(&c, no_w, 2, in), 1e-9);
        if (at[i].ndim == 1) ck_assert_double_lt(gradcheck(&c, same, 2, in), 1e-9);
    }
    qp_ctx_release(&c);
}
END_TEST

/* w of bf16 that is no parameter gets its gradient in bf16. */
START_TEST(activations_as_weights_get_their_own_type)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[3], *exact[3];
    inputs(&c, QP_BF16, in);
    inputs(&c, QP_F64, exact);
    in[1]->is_param = in[2]->is_param = false;
    test_run(&c, op, 3, in);
    test_run(&c, op, 3, exact);
    for (int k = 1; k < 3; k++)
        ck_assert_double_lt(test_difference(in[k]->grad, QP_BF16, exact[k]->grad, QP_F64, 4),
                            1. / 200);
    qp_ctx_release(&c);
}
END_TEST

/* 10000 +- 1/1024: a square of sums would cancel, and a mean in f32 would be off by the values
   themselves. */
START_TEST(rows_far_from_zero_keep_their_digits)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[] = { test_leaf(&c, QP_F32, 2, (int64_t[]){ 1, 4 }, 1) };
    float *x = in[0]->data;
    for (int i = 0; i < 4; i++) x[i] = 10000 + (float)(i % 2 ? 1 : -1) / 1024;
    x[3] -= 1.f / 1024;
    double mean = 0, var = 0;
    for (int i = 0; i < 4; i++) mean += (double)x[i] / 4;
    for (int i = 0; i < 4; i++) var += ((double)x[i] - mean) * ((double)x[i] - mean) / 4;
    const float *y = bare(&c, in)->data;
    c.tape = NULL;
    for (int i = 0; i < 4; i++)
        ck_assert_double_eq_tol((double)y[i], ((double)x[i] - mean) / sqrt(var + 1e-5), 1e-6);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(nan_stays_in_its_row)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[3];
    inputs(&c, QP_F32, in);
    test_set(in[0]->data, QP_F32, 5, (double)NAN);
    const float *y = op(&c, in)->data;
    c.tape = NULL;
    for (int i = 0; i < 8; i++) ck_assert(isnan(y[i]) == (i >= 4));
    qp_ctx_release(&c);
}
END_TEST

START_TEST(bits_do_not_depend_on_threads_or_neighbours)
{
    test_row_bits(op, 150, 301, 2);
    test_row_bits(bare, 5, 17, 0);
}
END_TEST

START_TEST(wrong_shapes_exit_70)
{
    static const int64_t w[][2] = { { 3, 4 }, { 4, 3 }, { 4, 4 }, { 4, 4 }, { 4, 4 } };
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *x = test_leaf(&c, QP_F32, _i == 3 ? 0 : 2, (int64_t[]){ 2, 4 }, 1);
    qp_layernorm(&c, x, test_leaf(&c, _i == 2 ? QP_F64 : QP_F32, _i == 4 ? 2 : 1, w[_i], 1),
                 test_leaf(&c, QP_F32, 1, w[_i] + 1, 1), 1e-5);
}
END_TEST

Suite *suite_layernorm(void)
{
    Suite *s = suite_create("layernorm");
    TCase *t = tcase_create("layernorm");
    tcase_add_test(t, values_are_pytorchs);
    tcase_add_test(t, gradient_matches_differences);
    tcase_add_test(t, activations_as_weights_get_their_own_type);
    tcase_add_test(t, rows_far_from_zero_keep_their_digits);
    tcase_add_test(t, nan_stays_in_its_row);
    tcase_add_test(t, bits_do_not_depend_on_threads_or_neighbours);
    tcase_add_loop_exit_test(t, wrong_shapes_exit_70, 70, 0, 5);
    suite_add_tcase(s, t);
    return s;
}
