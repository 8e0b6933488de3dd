#include "tests/suites.h"
#include "tests/support/gradcheck.h"

static qp_tensor *op(qp_ctx *c, qp_tensor **in) { return qp_add(c, in[0], in[1]); }
static qp_tensor *twice(qp_ctx *c, qp_tensor **in) { return qp_add(c, in[0], in[0]); }

START_TEST(gradient_matches_differences)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[] = { test_leaf(&c, QP_F64, 2, (int64_t[]){ 5, 7 }, 1),
                        test_leaf(&c, QP_F64, 2, (int64_t[]){ 5, 7 }, 2) };
    ck_assert_double_lt(gradcheck(&c, op, 2, in), 1e-9);
    ck_assert_double_lt(gradcheck(&c, twice, 1, in), 1e-9);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(wrong_shape_exits_70)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_add(&c, test_leaf(&c, QP_F32, 2, (int64_t[]){ 5, 7 }, 1),
           test_leaf(&c, QP_F32, 2, (int64_t[]){ 7, 5 }, 2));
}
END_TEST

/* A parameter's gradient is f32 under bf16: sums that bf16 would lose stay. */
START_TEST(bf16_parameter_gets_an_f32_gradient)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[] = { test_param(&c, QP_BF16, 1, (int64_t[]){ 7 }, 1),
                        test_leaf(&c, QP_BF16, 2, (int64_t[]){ 5, 7 }, 2) };
    qp_tensor *y = test_run(&c, op, 2, in);
    ck_assert_int_eq(qp_grad_storage(in[0]), QP_F32);
    float sum[7] = { 0 };
    for (int i = 0; i < 35; i++) sum[i % 7] += (float)test_get(in[1]->grad, QP_BF16, i);
    for (int i = 0; i < 7; i++) ck_assert_float_eq(((float *)in[0]->grad)[i], sum[i]);
    ck_assert_int_eq(y->ndim, 2);
    qp_ctx_release(&c);
}
END_TEST

Suite *suite_add(void)
{
    Suite *s = suite_create("add");
    TCase *t = tcase_create("add");
    tcase_add_test(t, gradient_matches_differences);
    tcase_add_exit_test(t, wrong_shape_exits_70, 70);
    tcase_add_test(t, bf16_parameter_gets_an_f32_gradient);
    suite_add_tcase(s, t);
    return s;
}
