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

/* Its gradient is f32, and the kernel would write bf16. */
START_TEST(bf16_parameter_exits_70)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[] = { test_param(&c, QP_BF16, 1, (int64_t[]){ 5 }, 1),
                        test_leaf(&c, QP_BF16, 1, (int64_t[]){ 5 }, 2) };
    test_run(&c, op, 2, in);
}
END_TEST

Suite *suite_add(void)
{
    Suite *s = suite_create("add");
    TCase *t = tcase_create("add");
    tcase_add_test(t, gradient_matches_differences);
    tcase_add_exit_test(t, wrong_shape_exits_70, 70);
    tcase_add_exit_test(t, bf16_parameter_exits_70, 70);
    suite_add_tcase(s, t);
    return s;
}
