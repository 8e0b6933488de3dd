#include "tests/suites.h"
#include "tests/support/gradcheck.h"

static qp_tensor *op(qp_ctx *c, qp_tensor **in) { return qp_cast(c, in[0], QP_F32); }

START_TEST(gradient_is_cast_back)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    for (int s = QP_F64; s < QP_NCOMPUTE; s++) {
        qp_tensor *x = test_param(&c, (qp_storage)s, 2, (int64_t[]){ 5, 7 }, 1);
        qp_tensor *y = test_run(&c, op, 1, &x);
        ck_assert_int_eq(y->storage, QP_F32);
        ck_assert_double_eq(test_difference(y->data, QP_F32, x->data, x->storage, 35), 0);
        if (s == QP_F32) {
            ck_assert_ptr_eq(x, y);
            continue;
        }
        qp_tensor *same = test_leaf(&c, QP_F32, 2, (int64_t[]){ 5, 7 }, 99); /* dy's values */
        ck_assert_double_eq(test_difference(x->grad, qp_grad_storage(x), same->data, QP_F32, 35),
                            0);
    }
    qp_ctx_release(&c);
}
END_TEST

START_TEST(blocks_exit_70)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *x = test_leaf(&c, QP_F32, 1, (int64_t[]){ 32 }, 1);
    x->storage = QP_Q8_0;
    qp_cast(&c, x, QP_F32);
}
END_TEST

Suite *suite_cast(void)
{
    Suite *s = suite_create("cast");
    TCase *t = tcase_create("cast");
    tcase_add_test(t, gradient_is_cast_back);
    tcase_add_exit_test(t, blocks_exit_70, 70);
    suite_add_tcase(s, t);
    return s;
}
