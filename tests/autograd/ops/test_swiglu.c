#include "tests/suites.h"
#include "tests/support/gradcheck.h"
#include "tests/support/rows.h"

static qp_tensor *op(qp_ctx *c, qp_tensor **in) { return qp_swiglu(c, in[0], in[1]); }

/* e^-g overflows below -88 in f32: silu must go to 0 there, not to NaN. */
START_TEST(extreme_gates_stay_finite)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[] = { test_leaf(&c, QP_F32, 1, (int64_t[]){ 4 }, 1),
                        test_leaf(&c, QP_F32, 1, (int64_t[]){ 4 }, 2) };
    const float g[] = { -1000, -90, 90, 1000 };
    for (int i = 0; i < 4; i++) {
        test_set(in[0]->data, QP_F32, i, (double)g[i]);
        test_set(in[1]->data, QP_F32, i, 2);
    }
    qp_tensor *y = test_run(&c, op, 2, in);
    ck_assert_double_eq(test_get(y->data, QP_F32, 0), 0);
    ck_assert_double_eq_tol(test_get(y->data, QP_F32, 1), 0, 1e-30);
    ck_assert_double_eq(test_get(y->data, QP_F32, 2), 180);
    ck_assert_double_eq(test_get(y->data, QP_F32, 3), 2000);
    for (int i = 0; i < 4; i++) {
        ck_assert_double_finite(test_get(in[0]->grad, QP_F32, i));
        ck_assert_double_finite(test_get(in[1]->grad, QP_F32, i));
    }
    qp_ctx_release(&c);
}
END_TEST

/* Both of its gradients go to one tensor, the second on top of the first. */
static qp_tensor *of_itself(qp_ctx *c, qp_tensor **in) { return qp_swiglu(c, in[0], in[0]); }

START_TEST(bits_do_not_depend_on_threads_or_neighbours) { test_row_bits(of_itself, 150, 301, 0); }
END_TEST

START_TEST(wrong_shape_exits_70)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_swiglu(&c, test_leaf(&c, QP_F32, 2, (int64_t[]){ 5, 7 }, 1),
              test_leaf(&c, QP_F32, 1, (int64_t[]){ 35 }, 2));
}
END_TEST

Suite *suite_swiglu(void)
{
    Suite *s = suite_create("swiglu");
    TCase *t = tcase_create("swiglu");
    tcase_add_test(t, extreme_gates_stay_finite);
    tcase_add_test(t, bits_do_not_depend_on_threads_or_neighbours);
    tcase_add_exit_test(t, wrong_shape_exits_70, 70);
    suite_add_tcase(s, t);
    return s;
}
