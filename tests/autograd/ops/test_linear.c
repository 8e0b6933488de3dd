#include "tests/suites.h"
#include "tests/support/gradcheck.h"

static qp_tensor *op(qp_ctx *c, qp_tensor **in) { return qp_linear(c, in[0], in[1]); }
/* x feeds both sides, and twice: gradients add up. */
static qp_tensor *square(qp_ctx *c, qp_tensor **in)
{
    return qp_add(c, qp_linear(c, in[0], in[0]), qp_linear(c, in[0], in[0]));
}

START_TEST(gradient_matches_differences)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[] = { test_leaf(&c, QP_F64, 2, (int64_t[]){ 5, 7 }, 1),
                        test_param(&c, QP_F64, 2, (int64_t[]){ 3, 7 }, 2) };
    ck_assert_double_lt(gradcheck(&c, op, 2, in), 1e-9);
    ck_assert_double_lt(gradcheck(&c, square, 1, in), 1e-9);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(leading_dimensions_stay)
{
    static const struct {
        int ndim;
        int64_t shape[4];
    } at[] = { { 1, { 7 } }, { 3, { 2, 3, 7 } }, { 4, { 2, 1, 3, 7 } }, { 3, { 2, 0, 7 } } };
    qp_ctx c;
    test_ctx(&c, NULL);
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
        qp_tensor *in[] = { test_leaf(&c, QP_F64, at[i].ndim, at[i].shape, 1),
                            test_param(&c, QP_F64, 2, (int64_t[]){ 3, 7 }, 2) };
        qp_tensor *y = op(&c, in),
                  *rows =
                      qp_wrap_data(&c, QP_F64, 2, (int64_t[]){ qp_rows(in[0]), 7 }, in[0]->data);
        ck_assert(y->ndim == at[i].ndim && qp_cols(y) == 3 && qp_rows(y) == qp_rows(in[0]));
        for (int d = 0; d + 1 < y->ndim; d++) ck_assert(y->shape[d] == at[i].shape[d]);
        if (qp_numel(y))
            ck_assert_mem_eq(y->data, qp_linear(&c, rows, in[1])->data, qp_value_bytes(y));
        c.tape = NULL;
        if (qp_numel(y)) ck_assert_double_lt(gradcheck(&c, op, 2, in), 1e-9);
    }
    qp_ctx_release(&c);
}
END_TEST

/* A weight that is an activation gets its gradient in its own type: bf16 keeps 8 bits of it. */
START_TEST(activation_as_weight_gets_its_own_type)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[] = { test_leaf(&c, QP_BF16, 2, (int64_t[]){ 5, 7 }, 1),
                        test_leaf(&c, QP_BF16, 2, (int64_t[]){ 3, 7 }, 2) };
    qp_tensor *exact[] = { test_leaf(&c, QP_F64, 2, (int64_t[]){ 5, 7 }, 1),
                           test_leaf(&c, QP_F64, 2, (int64_t[]){ 3, 7 }, 2) };
    test_run(&c, op, 2, in);
    test_run(&c, op, 2, exact);
    ck_assert_double_lt(test_difference(in[1]->grad, QP_BF16, exact[1]->grad, QP_F64, 21),
                        1. / 256);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(frozen_weight_and_input_leave_no_knot)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[] = { test_leaf(&c, QP_F32, 2, (int64_t[]){ 5, 7 }, 1),
                        test_leaf(&c, QP_F32, 2, (int64_t[]){ 3, 7 }, 2) };
    in[0]->needs_grad = in[1]->needs_grad = false;
    ck_assert(!op(&c, in)->needs_grad);
    ck_assert_ptr_null(c.tape);
    in[0]->needs_grad = true;
    test_run(&c, op, 2, in);
    ck_assert_ptr_nonnull(in[0]->grad);
    ck_assert_ptr_null(in[1]->grad);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(wrong_shape_exits_70)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_linear(&c, test_leaf(&c, QP_F32, 2, (int64_t[]){ 5, 7 }, 1),
              test_param(&c, QP_F32, 2, (int64_t[]){ 7, 5 }, 2));
}
END_TEST

static qp_tensor *logits(qp_ctx *c, qp_tensor **in) { return qp_logits(c, in[0], in[1]); }

/* f32 logits of a bf16 model: dy is rounded to bf16 (1/512 of it), and so is dx; dw stays f32. */
START_TEST(logits_have_linears_gradients)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *exact[] = { test_leaf(&c, QP_F64, 2, (int64_t[]){ 37, 13 }, 1),
                           test_param(&c, QP_F64, 2, (int64_t[]){ 19, 13 }, 2) };
    ck_assert_double_lt(gradcheck(&c, logits, 2, exact), 1e-9);
    test_run(&c, logits, 2, exact);
    qp_tensor *in[] = { test_leaf(&c, QP_BF16, 2, (int64_t[]){ 37, 13 }, 1),
                        test_param(&c, QP_BF16, 2, (int64_t[]){ 19, 13 }, 2) };
    ck_assert_int_eq(test_run(&c, logits, 2, in)->storage, QP_F32);
    ck_assert_double_lt(test_difference(in[0]->grad, QP_BF16, exact[0]->grad, QP_F64, 37 * 13),
                        1. / 256);
    ck_assert_double_lt(test_difference(in[1]->grad, QP_F32, exact[1]->grad, QP_F64, 19 * 13),
                        1. / 256);
    qp_ctx_release(&c);
}
END_TEST

Suite *suite_linear(void)
{
    Suite *s = suite_create("linear");
    TCase *t = tcase_create("linear");
    tcase_add_test(t, gradient_matches_differences);
    tcase_add_test(t, leading_dimensions_stay);
    tcase_add_test(t, activation_as_weight_gets_its_own_type);
    tcase_add_test(t, logits_have_linears_gradients);
    tcase_add_test(t, frozen_weight_and_input_leave_no_knot);
    tcase_add_exit_test(t, wrong_shape_exits_70, 70);
    suite_add_tcase(s, t);
    return s;
}
