#include "tests/suites.h"
#include "tests/support/gradcheck.h"

enum { X, W, A, B };
static double rate;
/* The base is in[W]; frozen or not. */
static qp_tensor *op(qp_ctx *c, qp_tensor **in)
{
    return qp_lora(c, qp_linear(c, in[X], in[W]), in[X], in[A], in[B], 0.75, rate);
}

static qp_tensor *joined(qp_ctx *c, qp_tensor **in)
{
    return qp_linear_lora(c, in[X], in[W], in[A], in[B], 0.75, rate);
}
static qp_tensor *(*const ops[])(qp_ctx *c, qp_tensor **in) = { op, joined };

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
    qp_tensor *y = ops[_i](&c, in);
    rate = 0;
    qp_tensor *z = ops[_i](&c, in);
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
        qp_tensor *y = ops[_i](&c, in), *base = qp_linear(&c, in[X], in[W]);
        ck_assert_mem_eq(y->data, base->data, qp_value_bytes(y));
    }
    qp_ctx_release(&c);
}
END_TEST

/* In bf16 the base's 1.00390625 rounds to 1 by itself, and the adapter's 2^-9 is lost on 1; their
   sum is nearest to 1.0078125. So do adapters begin to learn, B being zero. */
START_TEST(an_adapter_counts_below_the_rounding_of_the_base)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    const double row[4][2] = { [X] = { 1, 1 }, [W] = { 1, 0x1p-8 }, [A] = { 1, 0 }, [B] = { 0 } };
    qp_tensor *in[4];
    for (int i = 0; i < 4; i++) {
        in[i] = qp_new(&c, QP_BF16, 2, (int64_t[]){ 1, i == B ? 1 : 2 });
        for (int j = 0; j < (i == B ? 1 : 2); j++) test_set(in[i]->data, QP_BF16, j, row[i][j]);
    }
    test_set(in[B]->data, QP_BF16, 0, 0x1p-9);
    const double scale = 1;
    qp_tensor *apart = qp_lora(&c, qp_linear(&c, in[X], in[W]), in[X], in[A], in[B], scale, 0);
    qp_tensor *y = qp_linear_lora(&c, in[X], in[W], in[A], in[B], scale, 0);
    ck_assert(test_get(apart->data, QP_BF16, 0) == 1);
    ck_assert(test_get(y->data, QP_BF16, 0) == 1.0078125);
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
    ops[_i](&c, in);
}
END_TEST

Suite *suite_lora(void)
{
    Suite *s = suite_create("lora");
    TCase *t = tcase_create("lora");
    tcase_add_loop_test(t, dropout_is_off_without_recording, 0, 2);
    tcase_add_loop_test(t, b_zero_changes_nothing, 0, 2);
    tcase_add_test(t, an_adapter_counts_below_the_rounding_of_the_base);
    tcase_add_loop_exit_test(t, wrong_rank_exits_70, 70, 0, 2);
    suite_add_tcase(s, t);
    return s;
}
