#include "tests/suites.h"
#include "tests/support/gradcheck.h"
#include <math.h>

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

/* Coin i, as every version of the program must throw it, or a resumed run has other masks: of the
   128 of block b, word w of 64 has coin w in its low half and coin 64 + w in its high one; word
   16 k + l is word k of the generator at counter 16 b + l, after seven rounds. */
static uint32_t coin(uint64_t key, uint64_t stream, int64_t i)
{
    const uint64_t word = (uint64_t)(i % 64), counter = (uint64_t)(i / 128 * 16) + word % 16;
    uint32_t c[4] = { (uint32_t)counter, (uint32_t)(counter >> 32), (uint32_t)stream,
                      (uint32_t)(stream >> 32) };
    for (int round = 0; round < 7; round++, key = qp_philox_step(key))
        qp_philox_round(&c[0], &c[1], &c[2], &c[3], key);
    return c[word / 16] >> (i / 64 % 2 ? 16 : 0) & 0xffff;
}

START_TEST(coins_are_the_generators)
{
    enum { N = 40000 + 37 }; /* threads share them; the last block is not whole */
    qp_storage type;
    if (!test_build(_i, &type)) return;
    qp_ctx c;
    test_ctx(&c, NULL);
    const uint64_t stream = 3ull << 32 | 5;
    qp_tensor *x = test_leaf(&c, type, 1, (int64_t[]){ N }, 1);
    for (int i = 0; i < N; i++) test_set(x->data, type, i, 1);
    c.rng.next = stream;
    qp_tensor *y = op(&c, &x);
    const uint32_t p = (uint32_t)lrint(0.3 * 65536), first = coin(c.rng.key, stream, 0);
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(test_get(y->data, type, i) == 0, coin(c.rng.key, stream, i) < p);
    c.rng.next = stream;
    y = qp_dropout(&c, x, first / 65536.0);
    ck_assert(test_get(y->data, type, 0) != 0); /* a coin that equals p keeps */
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
    tcase_add_loop_test(t, coins_are_the_generators, 0, TEST_BUILDS);
    tcase_add_test(t, nothing_is_dropped_with_p_0_or_without_recording);
    tcase_add_exit_test(t, dropping_everything_exits_70, 70);
    suite_add_tcase(s, t);
    return s;
}
