#include "tests/suites.h"
#include "tests/support/gradcheck.h"

static qp_tensor *op(qp_ctx *c, qp_tensor **in) { return qp_dropout(c, in[0], 0.3); }

/* 100,000 coins: the share dropped is within 5 standard deviations, 0.0072, of p; what is kept is
 * scaled. */
START_TEST(share_and_scale_are_right)
{
    enum { N = 100000 };
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *x = test_leaf(&c, QP_F32, 1, (int64_t[]){ N }, 1);
    for (int i = 0; i < N; i++) test_set(x->data, QP_F32, i, 1);
    qp_tensor *y = op(&c, &x), *z = op(&c, &x);
    int dropped = 0, both = 0;
    for (int i = 0; i < N; i++) {
        const double v = test_get(y->data, QP_F32, i);
        ck_assert(v == 0 || v == (double)(float)(1 / 0.7));
        dropped += v == 0;
        both += v == 0 && test_get(z->data, QP_F32, i) == 0;
    }
    ck_assert_double_eq_tol((double)dropped / N, 0.3, 0.0072);
    ck_assert_double_eq_tol((double)both / N, 0.09, 0.0045); /* the second mask is another one */
    qp_ctx_release(&c);
}
END_TEST

START_TEST(nothing_is_dropped_with_p_0_or_without_recording)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *x = test_leaf(&c, QP_F32, 1, (int64_t[]){ 9 }, 1);
    ck_assert_ptr_eq(qp_dropout(&c, x, 0), x);
    c.recording = false;
    ck_assert_ptr_eq(qp_dropout(&c, x, 0.5), x);
    ck_assert_uint_eq(c.rng.next, 0);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(dropping_everything_exits_70)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_dropout(&c, test_leaf(&c, QP_F32, 1, (int64_t[]){ 9 }, 1), 1);
}
END_TEST

Suite *suite_dropout(void)
{
    Suite *s = suite_create("dropout");
    TCase *t = tcase_create("dropout");
    tcase_add_test(t, share_and_scale_are_right);
    tcase_add_test(t, nothing_is_dropped_with_p_0_or_without_recording);
    tcase_add_exit_test(t, dropping_everything_exits_70, 70);
    suite_add_tcase(s, t);
    return s;
}
