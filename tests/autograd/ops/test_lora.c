#include "tests/suites.h"
#include "tests/support/gradcheck.h"

enum { X, W, A, B };
static double rate;
/* The base is in[W]; frozen or not. */
static qp_tensor *op(qp_ctx *c, qp_tensor **in)
{
    return qp_lora(c, qp_linear(c, in[X], in[W]), in[X], in[A], in[B], 0.75, rate);
}

static void inputs(qp_ctx *c, qp_storage s, qp_tensor *in[4])
{
    in[X] = test_leaf(c, s, 2, (int64_t[]){ 5, 7 }, 1);
    in[W] = test_param(c, s, 2, (int64_t[]){ 6, 7 }, 2);
    in[A] = test_param(c, s, 2, (int64_t[]){ 3, 7 }, 3);
    in[B] = test_param(c, s, 2, (int64_t[]){ 6, 3 }, 4);
}

START_TEST(dropout_is_off_without_recording)
{
    rate = 0.4;
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[4];
    inputs(&c, QP_F32, in);
    c.recording = false;
    qp_tensor *y = op(&c, in);
    rate = 0;
    qp_tensor *z = op(&c, in);
    ck_assert_mem_eq(y->data, z->data, qp_value_bytes(y));
    qp_ctx_release(&c);
}
END_TEST

START_TEST(b_zero_changes_nothing)
{
    rate = 0;
    qp_ctx c;
    test_ctx(&c, NULL);
    for (int s = QP_F64; s < QP_NCOMPUTE; s++) {
        qp_tensor *in[4];
        inputs(&c, (qp_storage)s, in);
        for (int i = 0; i < 18; i++) test_set(in[B]->data, (qp_storage)s, i, 0);
        qp_tensor *y = op(&c, in), *base = qp_linear(&c, in[X], in[W]);
        ck_assert_mem_eq(y->data, base->data, qp_value_bytes(y));
    }
    qp_ctx_release(&c);
}
END_TEST

START_TEST(wrong_rank_exits_70)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[4];
    inputs(&c, QP_F32, in);
    in[B] = test_param(&c, QP_F32, 2, (int64_t[]){ 6, 4 }, 4);
    op(&c, in);
}
END_TEST

Suite *suite_lora(void)
{
    Suite *s = suite_create("lora");
    TCase *t = tcase_create("lora");
    tcase_add_test(t, dropout_is_off_without_recording);
    tcase_add_test(t, b_zero_changes_nothing);
    tcase_add_exit_test(t, wrong_rank_exits_70, 70);
    suite_add_tcase(s, t);
    return s;
}
