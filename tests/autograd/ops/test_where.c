#include "tests/suites.h"
#include "tests/support/expect.h"
#include <math.h>
#include <string.h>

/* A mask of the second input's signs. */
static qp_tensor *op(qp_ctx *c, qp_tensor **in)
{
    qp_tensor *m = qp_detach(c, in[2]);
    return qp_where(c, qp_greater(c, m, qp_scalar(c, m->storage, 0)), in[0], in[1]);
}
static qp_tensor *op_and_sum(qp_ctx *c, qp_tensor **in)
{
    qp_tensor *y = op(c, in);
    return qp_add(c, y, qp_add(c, in[0], in[1]));
}

static const struct {
    int ndim[3];
    int64_t shape[3][3]; /* a, b, mask */
} cases[] = {
    { { 0, 0, 0 }, { { 0 }, { 0 }, { 0 } } },
    { { 2, 2, 2 }, { { 5, 7 }, { 5, 7 }, { 5, 7 } } },
    { { 2, 0, 2 }, { { 5, 7 }, { 0 }, { 5, 7 } } },
    { { 0, 2, 2 }, { { 0 }, { 5, 7 }, { 5, 7 } } },
    { { 0, 0, 2 }, { { 0 }, { 0 }, { 5, 7 } } },
    { { 2, 2, 2 }, { { 5, 7 }, { 5, 7 }, { 5, 1 } } },
    { { 3, 1, 2 }, { { 2, 1, 3 }, { 1 }, { 4, 1 } } },
    { { 1, 3, 2 }, { { 3 }, { 2, 4, 1 }, { 1, 3 } } },
    { { 2, 2, 1 }, { { 3, 1 }, { 1, 4 }, { 4 } } },
    { { 1, 2, 2 }, { { 0 }, { 3, 0 }, { 3, 1 } } },
    { { 2, 2, 2 }, { { 181, 191 }, { 181, 191 }, { 181, 191 } } }, /* several threads */
    { { 2, 1, 2 }, { { 181, 191 }, { 191 }, { 181, 1 } } },
};
enum { CASES = sizeof cases / sizeof *cases, SMALL = CASES - 2 };

static void make(qp_ctx *c, int k, qp_storage type, qp_tensor **in)
{
    for (int i = 0; i < 3; i++)
        in[i] = test_leaf(c, type, cases[k].ndim[i], cases[k].shape[i], (uint64_t)i + 1);
    in[2]->needs_grad = false;
}

START_TEST(gradients_match_differences)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    for (int k = 0; k < SMALL; k++) {
        qp_tensor *in[3];
        make(&c, k, QP_F64, in);
        const double alone = gradcheck(&c, op, 3, in), added = gradcheck(&c, op_and_sum, 3, in);
        ck_assert_msg(alone < 1e-9 && added < 1e-9, "case %d: %g, %g", k, alone, added);
    }
    qp_ctx_release(&c);
}
END_TEST

/* A choice rounds nothing; gradients do where they are summed over what was broadcast. */
START_TEST(every_build_agrees_with_f64)
{
    qp_ctx c, exact;
    qp_storage type;
    if (!test_build(_i, &type)) return;
    test_ctx(&c, NULL);
    test_ctx(&exact, NULL);
    for (int k = 0; k < CASES; k++) {
        qp_tensor *in[3], *wide[3];
        make(&c, k, type, in);
        make(&exact, k, QP_F64, wide);
        const qp_tensor *y = test_run(&c, op, 3, in), *z = test_run(&exact, op, 3, wide);
        test_expect_shape(y, z->ndim, z->shape);
        expect_values(y, z->data, 0);
        for (int i = 0; i < 2; i++)
            ck_assert_double_lt(
                test_difference(in[i]->grad, type, wide[i]->grad, QP_F64, qp_numel(in[i])),
                type == QP_BF16 ? 0x1p-8 : 1e-7);
        ck_assert_ptr_null(in[2]->grad);
    }
    qp_ctx_release(&c);
    qp_ctx_release(&exact);
}
END_TEST

START_TEST(the_other_sides_nan_does_not_leak)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    const double m[] = { 1, 0, -0., NAN }, a[] = { 1, NAN, INFINITY, 4 },
                 b[] = { NAN, 6, 7, -INFINITY };
    const double dy[] = { 1, NAN, 3, INFINITY }, want[] = { 1, 6, 7, 4 };
    const double da[] = { 1, 0, 0, INFINITY }, db[] = { 0, NAN, 3, 0 };
    qp_tensor *ta = test_input(&c, QP_F64, QP_SHAPE(4), a),
              *tb = test_input(&c, QP_F64, QP_SHAPE(4), b);
    qp_tensor *y = qp_where(&c, qp_values(&c, QP_F64, QP_SHAPE(4), m), ta, tb);
    expect_values(y, want, 0);
    qp_backward_from(&c, y, dy);
    expect_grad(ta, da, 0);
    expect_grad(tb, db, 0);
    qp_ctx_release(&c);
}
END_TEST

/* One bit of the mask for a whole row. */
START_TEST(nan_does_not_leak_from_a_repeated_mask)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    const double m[] = { 1, 0 }, a[] = { 1, 2, NAN, NAN }, b[] = { NAN, NAN, 3, 4 };
    const double want[] = { 1, 2, 3, 4 }, da[] = { 1, 2, 0, 0 }, db[] = { 0, 0, 3, 4 };
    qp_tensor *ta = test_input(&c, QP_F64, QP_SHAPE(2, 2), a),
              *tb = test_input(&c, QP_F64, QP_SHAPE(2, 2), b);
    qp_tensor *y = qp_where(&c, qp_values(&c, QP_F64, QP_SHAPE(2, 1), m), ta, tb);
    expect_values(y, want, 0);
    qp_backward_from(&c, y, want);
    expect_grad(ta, da, 0);
    expect_grad(tb, db, 0);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(a_mask_gets_no_gradient)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *m = test_leaf(&c, QP_F32, QP_SHAPE(3), 1),
              *a = test_leaf(&c, QP_F32, QP_SHAPE(3), 2), *b = qp_full(&c, QP_F32, QP_SHAPE(3), 1);
    ck_assert(!qp_where(&c, m, b, b)->needs_grad);
    ck_assert_ptr_null(c.tape);
    qp_backward(&c, qp_sum(&c, qp_where(&c, m, a, b), QP_ALL, false), 1);
    ck_assert_ptr_null(m->grad);
    ck_assert_ptr_nonnull(a->grad);
    qp_ctx_release(&c);
}
END_TEST

/* Both parts of the gradient are f32 when they meet: 1 + 2^-10 is no bf16. */
START_TEST(bf16_parameters_get_f32_gradients)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    const double dy[] = { 1, 0x1p-10, 0x1p-10, 1 }, m[] = { 1, 1, 0, 0 };
    qp_tensor *a = test_param(&c, QP_BF16, QP_SHAPE(2), 1),
              *b = test_param(&c, QP_BF16, QP_SHAPE(2), 2);
    qp_tensor *y = qp_where(&c, qp_values(&c, QP_BF16, QP_SHAPE(2, 2), m), a, b);
    qp_backward_from(&c, y, qp_values(&c, QP_BF16, QP_SHAPE(2, 2), dy)->data);
    y = qp_where(&c, qp_scalar(&c, QP_BF16, 1), a, b);
    qp_backward_from(&c, y, qp_values(&c, QP_BF16, QP_SHAPE(2), (double[]){ 0x1p-10, 1 })->data);
    ck_assert_float_eq(((float *)a->grad)[0], 1 + 0x1p-10f);
    ck_assert_float_eq(((float *)a->grad)[1], 1 + 0x1p-10f);
    ck_assert_float_eq(((float *)b->grad)[0], 0x1p-10f);
    ck_assert_float_eq(((float *)b->grad)[1], 1);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(threads_change_no_bit)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    for (int k = SMALL; k < CASES; k++) {
        qp_tensor *in[3];
        make(&c, k, QP_BF16, in);
        test_threads_change_no_bit(&c, op, 3, in);
    }
    qp_ctx_release(&c);
}
END_TEST

static void choose(qp_storage mask, int64_t of_mask, int64_t of_a, int64_t of_b)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_where(&c, qp_full(&c, mask, QP_SHAPE(of_mask), 1), qp_full(&c, QP_F32, QP_SHAPE(of_a), 1),
             qp_full(&c, QP_F32, QP_SHAPE(of_b), 1));
}
START_TEST(sides_that_do_not_fit_exit_70) { choose(QP_F32, 1, 3, 2); }
END_TEST
START_TEST(a_mask_that_does_not_fit_exits_70) { choose(QP_F32, 2, 1, 3); }
END_TEST
START_TEST(a_mask_of_another_type_exits_70) { choose(QP_F64, 3, 3, 3); }
END_TEST

Suite *suite_where(void)
{
    Suite *s = suite_create("where");
    TCase *t = tcase_create("where");
    tcase_add_test(t, gradients_match_differences);
    tcase_add_loop_test(t, every_build_agrees_with_f64, 0, TEST_BUILDS);
    tcase_add_test(t, the_other_sides_nan_does_not_leak);
    tcase_add_test(t, nan_does_not_leak_from_a_repeated_mask);
    tcase_add_test(t, a_mask_gets_no_gradient);
    tcase_add_test(t, bf16_parameters_get_f32_gradients);
    tcase_add_test(t, threads_change_no_bit);
    tcase_add_exit_test(t, sides_that_do_not_fit_exit_70, 70);
    tcase_add_exit_test(t, a_mask_that_does_not_fit_exits_70, 70);
    tcase_add_exit_test(t, a_mask_of_another_type_exits_70, 70);
    suite_add_tcase(s, t);
    return s;
}
