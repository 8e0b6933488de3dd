#include "autograd/general.h"
#include "tests/suites.h"
#include "tests/support/gradcheck.h"
#include <math.h>
#include <omp.h>
#include <string.h>

static int64_t heads = 1, kv_heads = 1;
static qp_tensor *op(qp_ctx *c, qp_tensor **in)
{
    return qp_causal_attention(c, in[0], in[1], in[2], heads, kv_heads);
}
/* One tensor for queries, keys and values. */
static qp_tensor *self(qp_ctx *c, qp_tensor **in)
{
    return qp_causal_attention(c, in[0], in[0], in[0], heads, heads);
}
static qp_tensor *shared_keys(qp_ctx *c, qp_tensor **in)
{
    return qp_causal_attention(c, in[0], in[1], in[1], heads, kv_heads);
}

static const struct {
    int ndim;
    int64_t b, t, s, h, g, e;
} at[] = {
    { 2, 1, 5, 5, 1, 1, 4 }, { 3, 2, 3, 3, 2, 2, 3 },  { 3, 2, 3, 5, 4, 2, 2 },
    { 3, 1, 1, 4, 2, 1, 2 }, { 2, 1, 2, 70, 1, 1, 2 }, { 3, 3, 1, 1, 1, 1, 1 },
    { 3, 0, 3, 4, 1, 1, 2 }, { 3, 2, 0, 3, 1, 1, 2 },  { 2, 1, 0, 0, 2, 1, 2 },
    { 3, 2, 2, 3, 2, 1, 0 },
};
enum { SHAPES = sizeof at / sizeof at[0] };

static void inputs(qp_ctx *c, int i, qp_storage type, qp_tensor **in)
{
    heads = at[i].h;
    kv_heads = at[i].g;
    const int64_t q[] = { at[i].b, at[i].t, at[i].h * at[i].e },
                  k[] = { at[i].b, at[i].s, at[i].g * at[i].e };
    const int skip = 3 - at[i].ndim;
    in[0] = test_leaf(c, type, at[i].ndim, q + skip, 1);
    in[1] = test_leaf(c, type, at[i].ndim, k + skip, 2);
    in[2] = test_leaf(c, type, at[i].ndim, k + skip, 3);
}

/* Row (b, t), head h by the definition: weights e^(q k / sqrt E) over keys 0 .. S-T+t. */
static double element(int i, qp_tensor **in, int64_t index)
{
    const int64_t e = at[i].e, h = at[i].h, g = at[i].g, s = at[i].s, t = at[i].t;
    const int64_t row = index / (h * e), b = row / t, head = index / e % h, k0 = head / (h / g);
    const int64_t last = s - t + row % t;
    double sum = 0, weighted = 0;
    for (int64_t j = 0; j <= last; j++) {
        const int64_t key = ((b * s + j) * g + k0) * e;
        double dot = 0;
        for (int64_t l = 0; l < e; l++)
            dot += test_get(in[0]->data, in[0]->storage, (row * h + head) * e + l) *
                   test_get(in[1]->data, in[1]->storage, key + l);
        const double w = exp(dot / sqrt((double)e));
        sum += w;
        weighted += w * test_get(in[2]->data, in[2]->storage, key + index % e);
    }
    return weighted / sum;
}

START_TEST(values_follow_the_definition)
{
    static const double bound[] = { 1e-14, 2e-6, 1. / 100 };
    for (int b = 0; b < TEST_BUILDS; b++) {
        qp_storage type;
        qp_ctx c;
        if (!test_build(b, &type)) continue;
        test_ctx(&c, NULL);
        for (int i = 0; i < SHAPES; i++) {
            qp_tensor *in[3];
            inputs(&c, i, type, in);
            const qp_tensor *y = op(&c, in);
            ck_assert_int_eq(y->ndim, at[i].ndim);
            ck_assert_int_eq(qp_numel(y), qp_numel(in[0]));
            for (int64_t j = 0; j < qp_numel(y); j++)
                ck_assert_double_eq_tol(test_get(y->data, type, j), element(i, in, j), bound[type]);
        }
        c.tape = NULL;
        qp_ctx_release(&c);
    }
}
END_TEST

START_TEST(gradient_matches_differences)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    for (int i = 0; i < SHAPES; i++) {
        qp_tensor *in[3];
        inputs(&c, i, QP_F64, in);
        ck_assert_double_lt(gradcheck(&c, op, 3, in), 1e-9);
        ck_assert_double_lt(gradcheck(&c, self, 1, in), 1e-9);
        ck_assert_double_lt(gradcheck(&c, shared_keys, 2, in), 1e-9);
    }
    qp_ctx_release(&c);
}
END_TEST

/* PyTorch's scaled_dot_product_attention, is_causal, on the same numbers. */
START_TEST(values_are_pytorchs)
{
    static const double
        y_of[] = { -1, 1.25, -0.375, 0.25, 0.50377078010233778, 0.27407743308725707 },
        dq_of[] = { 0,
                    0,
                    -0.071815532464258716,
                    -0.071815532464258744,
                    0.15246095763225909,
                    0.15246095763225909 },
        dk_of[] = { 0.29497787021271538,  -0.24096768772295207, -0.45515456820065497,
                    -0.72009250020468563, 0.16017669798793963,  0.96106018792763781 };
    qp_ctx c;
    test_ctx(&c, NULL);
    heads = kv_heads = 1;
    qp_tensor *in[3];
    for (int k = 0; k < 3; k++) {
        in[k] = test_leaf(&c, QP_F64, 2, (int64_t[]){ 3, 2 }, 1);
        for (int i = 0; i < 6; i++) /* multiples of 1/4, mixed */
            test_set(in[k]->data, QP_F64, i, (double)((i * (5 + 2 * k) + k) % 13 - 6) / 4);
    }
    qp_tensor *dy = test_leaf(&c, QP_F64, 2, (int64_t[]){ 3, 2 }, 1);
    for (int i = 0; i < 6; i++) test_set(dy->data, QP_F64, i, i - 2.5);
    qp_tensor *y = op(&c, in);
    ck_assert_double_lt(test_difference(y->data, QP_F64, y_of, QP_F64, 6), 1e-14);
    qp_backward_from(&c, y, dy->data);
    ck_assert_double_lt(test_difference(in[0]->grad, QP_F64, dq_of, QP_F64, 6), 1e-14);
    ck_assert_double_lt(test_difference(in[1]->grad, QP_F64, dk_of, QP_F64, 6), 1e-14);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(bf16_parameters_get_f32_gradients)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[3], *exact[3];
    inputs(&c, 2, QP_BF16, in);
    inputs(&c, 2, QP_F64, exact);
    for (int k = 0; k < 3; k++) in[k]->is_param = true;
    /* Their places were made for bf16. */
    for (int k = 0; k < 3; k++) {
        in[k]->grad_home = qp_arena_alloc(&c.arena, qp_sum_bytes(in[k], qp_numel(in[k])));
    }
    test_run(&c, op, 3, in);
    test_run(&c, op, 3, exact);
    for (int k = 0; k < 3; k++)
        ck_assert_double_lt(
            test_difference(in[k]->grad, QP_F32, exact[k]->grad, QP_F64, qp_numel(in[k])), 1. / 50);
    qp_ctx_release(&c);
}
END_TEST

/* Later keys, whatever they hold, change no bit; nor does the thread count, nor another sequence of
   the batch. */
START_TEST(bits_depend_on_what_a_query_sees_alone)
{
    const int threads = omp_get_max_threads();
    const int64_t shape[] = { 3, 150, 64 };
    heads = kv_heads = 4;
    for (int build = 0; build < TEST_BUILDS; build++) {
        qp_storage type;
        qp_ctx c;
        if (!test_build(build, &type)) continue;
        test_ctx(&c, NULL);
        qp_tensor *in[] = { test_leaf(&c, type, 3, shape, 1), test_leaf(&c, type, 3, shape, 2),
                            test_leaf(&c, type, 3, shape, 3) };
        const qp_tensor *kept = op(&c, in);
        c.tape = NULL;
        for (int t = 1; t <= 3; t++) {
            omp_set_num_threads(t);
            ck_assert_mem_eq(op(&c, in)->data, kept->data, qp_value_bytes(kept));
            c.tape = NULL;
        }
        omp_set_num_threads(threads);
        const size_t one = qp_value_bytes(kept) / 3, row = one / 150;
        qp_tensor *alone[3]; /* the second sequence's first 100 */
        for (int k = 0; k < 3; k++)
            alone[k] = qp_wrap_data(&c, type, 2, (int64_t[]){ 100, 64 }, (char *)in[k]->data + one);
        ck_assert_mem_eq(op(&c, alone)->data, (char *)kept->data + one, 100 * row);
        for (int k = 1; k < 3; k++) test_set(in[k]->data, type, 250 * 64, (double)NAN);
        ck_assert_mem_eq(op(&c, in)->data, kept->data, one + 100 * row);
        c.tape = NULL;
        qp_ctx_release(&c);
    }
}
END_TEST

static const struct {
    int nq, nk, nv;
    int64_t q[3], k[3], v[3], heads, kv_heads;
} bad[] = {
    { 1, 1, 1, { 4 }, { 4 }, { 4 }, 1, 1 },
    { 3, 2, 3, { 2, 3, 4 }, { 3, 4 }, { 2, 3, 4 }, 1, 1 },
    { 2, 2, 2, { 3, 4 }, { 2, 4 }, { 2, 4 }, 1, 1 },          /* fewer keys than queries */
    { 3, 3, 3, { 2, 3, 4 }, { 3, 3, 4 }, { 3, 3, 4 }, 1, 1 }, /* batches */
    { 3, 3, 3, { 2, 3, 4 }, { 2, 4, 4 }, { 4, 2, 4 }, 1, 1 }, /* as many rows, cut otherwise */
    { 2, 2, 2, { 3, 4 }, { 3, 4 }, { 3, 2 }, 1, 1 },
    { 2, 2, 2, { 3, 4 }, { 3, 2 }, { 3, 2 }, 1, 1 },
    { 2, 2, 2, { 3, 4 }, { 3, 4 }, { 3, 4 }, 3, 3 },
    { 2, 2, 2, { 3, 4 }, { 3, 8 }, { 3, 8 }, 1, 2 },
    { 2, 2, 2, { 3, 4 }, { 3, 4 }, { 3, 4 }, 0, 1 },
};
START_TEST(wrong_shapes_exit_70)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_causal_attention(&c, test_leaf(&c, QP_F32, bad[_i].nq, bad[_i].q, 1),
                        test_leaf(&c, QP_F32, bad[_i].nk, bad[_i].k, 2),
                        test_leaf(&c, QP_F32, bad[_i].nv, bad[_i].v, 3), bad[_i].heads,
                        bad[_i].kv_heads);
}
END_TEST

Suite *suite_causal_attention(void)
{
    Suite *s = suite_create("causal_attention");
    TCase *t = tcase_create("causal_attention");
    tcase_add_test(t, values_follow_the_definition);
    tcase_add_test(t, gradient_matches_differences);
    tcase_add_test(t, values_are_pytorchs);
    tcase_add_test(t, bf16_parameters_get_f32_gradients);
    tcase_add_test(t, bits_depend_on_what_a_query_sees_alone);
    tcase_add_loop_exit_test(t, wrong_shapes_exit_70, 70, 0, sizeof bad / sizeof bad[0]);
    suite_add_tcase(s, t);
    return s;
}
