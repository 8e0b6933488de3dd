/* A step of a small Llama, every op in it: what must not change a bit, and what a plan says of its
 * memory. */
#include "autograd/param.h"
#include "autograd/segment.h"
#include "tests/suites.h"
#include "tests/support/gradcheck.h"
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Wide enough for every kernel to use threads; odd enough to meet tails. */
enum {
    N = 261,
    D = 132,
    F = 153,
    HEADS = 6,
    KEY_HEADS = 3,
    E = D / HEADS,
    R = 3,
    V = 330,
    LAYERS = 2
};
enum { Q, K, VALUE, O, GATE, UP, DOWN, LORA_A, LORA_B, NORM1, NORM2, BLOCK };
enum { EMBEDDING = LAYERS * BLOCK, NORM, HEAD, WEIGHTS };

typedef struct {
    int32_t ids[N], targets[N], pos[N], first[N], last[N];
    double cos64[N * E / 2], sin64[N * E / 2];
    float cos32[N * E / 2], sin32[N * E / 2];
} batch;

typedef struct {
    qp_params *params;
    qp_tensor *w[WEIGHTS];
} net;

/* Three documents; a few rows without a target. */
static void fill(batch *b)
{
    for (int i = 0; i < N; i++) {
        b->ids[i] = i * 37 % V;
        b->targets[i] = i % 9 ? i * 37 % V : -1;
        b->first[i] = i < 100 ? 0 : i < 101 ? 100 : 101;
        b->last[i] = i;
        b->pos[i] = i - b->first[i];
        for (int j = 0; j < E / 2; j++) {
            const int at = i * E / 2 + j;
            b->cos32[at] = (float)(b->cos64[at] = cos(i * pow(1000, -2. * j / E)));
            b->sin32[at] = (float)(b->sin64[at] = sin(i * pow(1000, -2. * j / E)));
        }
    }
}

static void new_net(net *m, qp_storage compute)
{
    static const int64_t shape[BLOCK][2] = {
        [Q] = { D, D },      [K] = { D / 2, D }, [VALUE] = { D / 2, D }, [O] = { D, D },
        [GATE] = { F, D },   [UP] = { F, D },    [DOWN] = { D, F },      [LORA_A] = { R, D },
        [LORA_B] = { D, R }, [NORM1] = { D, 0 }, [NORM2] = { D, 0 },
    };
    qp_err err = { 0 };
    m->params = qp_params_new(compute);
    for (int i = 0; i < WEIGHTS; i++) {
        const int64_t *s =
            i < EMBEDDING ? shape[i % BLOCK] : (int64_t[]){ i == NORM ? D : V, i == NORM ? 0 : D };
        char name[16];
        snprintf(name, sizeof name, "w%d", i);
        m->w[i] = qp_params_add(m->params, name, s[1] ? 2 : 1, s);
    }
    ck_assert_msg(!qp_params_seal(m->params, &err), "%s", err.msg);
    for (int64_t i = 0; i < m->params->count; i++) {
        qp_param *item = &m->params->item[i];
        double *values = malloc((size_t)qp_numel(item->t) * sizeof *values);
        for (int64_t j = 0; j < qp_numel(item->t); j++) {
            values[j] = 0.1 * qp_rng_normal(5, (uint64_t)item->lo, (uint64_t)j);
            if (!item->decay) values[j] += 1;
        }
        qp_params_set(m->params, item, QP_F64, values);
        free(values);
    }
    qp_params_publish(m->params);
}

static qp_tensor *block(qp_ctx *c, void *module, const void *env, qp_tensor *x)
{
    const batch *b = env;
    qp_tensor **w = module;
    const bool wide = x->storage == QP_F64;
    const void *cos = wide ? (const void *)b->cos64 : b->cos32;
    const void *sin = wide ? (const void *)b->sin64 : b->sin32;
    qp_tensor *h = qp_rmsnorm(c, x, w[NORM1], 1e-5);
    qp_tensor *q = qp_lora(c, qp_linear(c, h, w[Q]), h, w[LORA_A], w[LORA_B], 2, 0.1);
    q = qp_rope(c, q, cos, sin, b->pos, HEADS);
    qp_tensor *k = qp_rope(c, qp_linear(c, h, w[K]), cos, sin, b->pos, KEY_HEADS);
    h = qp_attention(c, q, k, qp_linear(c, h, w[VALUE]), (qp_span){ b->first, b->last }, HEADS,
                     KEY_HEADS);
    x = qp_add(c, x, qp_linear(c, h, w[O]));
    h = qp_rmsnorm(c, x, w[NORM2], 1e-5);
    h = qp_swiglu(c, qp_linear(c, h, w[GATE]), qp_linear(c, h, w[UP]));
    return qp_add(c, x, qp_dropout(c, qp_linear(c, h, w[DOWN]), 0.1));
}

/* Layers beyond LAYERS use the first ones' weights. */
static int depth = LAYERS;

/* One micro-batch in a scope of its own; adds to the gradients in the store, or begins them. */
static double micro_step(qp_ctx *c, net *m, const batch *b)
{
    qp_scope scope;
    qp_scope_open(&c->arena, &scope);
    c->rng = (qp_rng){ 11, 0 };
    qp_tensor *x = qp_embedding(c, m->w[EMBEDDING], b->ids, N, m->params->compute);
    for (int l = 0; l < depth; l++)
        x = qp_segment(c, block, m->w + l % LAYERS * BLOCK, b, x, 2, (int64_t[]){ N, D });
    x = qp_rmsnorm(c, x, m->w[NORM], 1e-5);
    qp_tensor *loss = qp_linear_xent_in_chunks(c, x, m->w[HEAD], b->targets, NULL, 128);
    qp_backward(c, loss, 1. / N);
    const double value = test_get(loss->data, loss->storage, 0);
    qp_scope_close(&c->arena, &scope);
    return value;
}

static double step(qp_ctx *c, net *m, const batch *b)
{
    qp_params_begin_step(m->params);
    const double loss = micro_step(c, m, b);
    qp_params_end_grads(m->params);
    return loss;
}

static void fill_grads(net *m, int byte)
{
    memset(m->params->grad, byte,
           qp_storage_bytes(qp_sum_storage(m->params->compute), m->params->n));
}

/* Runs the step twice on equal nets under two settings and compares every bit. */
typedef void (*setting)(qp_ctx *c, bool second);
static void same_bits(qp_storage type, setting set)
{
    static batch b;
    net m[2];
    double loss[2];
    fill(&b);
    for (int i = 0; i < 2; i++) {
        qp_ctx c;
        test_ctx(&c, NULL);
        new_net(&m[i], type);
        fill_grads(&m[i], i ? 0xff : 0); /* what an earlier step left there must not matter */
        set(&c, i);
        loss[i] = step(&c, &m[i], &b);
        qp_ctx_release(&c);
    }
    ck_assert_double_gt(loss[0], 0);
    ck_assert_mem_eq(&loss[0], &loss[1], sizeof *loss);
    for (int i = 0; i < WEIGHTS; i++) {
        const size_t bytes = qp_storage_bytes(qp_grad_storage(m[0].w[i]), qp_numel(m[0].w[i]));
        ck_assert_msg(!memcmp(m[0].w[i]->grad, m[1].w[i]->grad, bytes),
                      "gradient of weight %d differs", i);
    }
    for (int i = 0; i < 2; i++) qp_params_free(m[i].params);
}

static void threads(qp_ctx *c, bool second)
{
    (void)c;
    omp_set_num_threads(second ? 3 : 1);
}
static void recompute(qp_ctx *c, bool second) { c->recompute = second; }
/* What lies in fresh memory must not matter. */
static void garbage(qp_ctx *c, bool second)
{
    qp_scope scope;
    qp_scope_open(&c->arena, &scope);
    enum { BYTES = 64 << 20 };
    if (second) memset(qp_arena_alloc(&c->arena, BYTES), 0xff, BYTES);
    qp_scope_close(&c->arena, &scope);
}

START_TEST(one_thread_equals_three)
{
    qp_storage type;
    if (test_build(_i, &type)) same_bits(type, threads);
}
END_TEST

START_TEST(recompute_equals_kept)
{
    qp_storage type;
    if (test_build(_i, &type)) same_bits(type, recompute);
}
END_TEST

START_TEST(fresh_memory_may_hold_nan)
{
    qp_storage type;
    if (test_build(_i, &type)) same_bits(type, garbage);
}
END_TEST

/* The same micro-batch twice: every gradient doubles. Doubling is exact; adding chunk by chunk in
   another order is not, so the tolerance is a few roundings of f64. */
START_TEST(micro_batches_add_up)
{
    static batch b;
    net one, two;
    qp_ctx c;
    fill(&b);
    test_ctx(&c, NULL);
    c.recompute = _i;
    new_net(&one, QP_F64);
    new_net(&two, QP_F64);
    fill_grads(&one, 0xff);
    fill_grads(&two, 0xff);
    step(&c, &one, &b);
    qp_params_begin_step(two.params);
    micro_step(&c, &two, &b);
    micro_step(&c, &two, &b);
    qp_params_end_grads(two.params);
    for (int i = 0; i < WEIGHTS; i++) {
        const int64_t n = qp_numel(one.w[i]);
        for (int64_t j = 0; j < n; j++) ((double *)one.w[i]->grad)[j] *= 2;
        const double d = test_difference(two.w[i]->grad, QP_F64, one.w[i]->grad, QP_F64, n);
        ck_assert_msg(d < 1e-14, "gradient of weight %d differs by %g", i, d);
    }
    qp_params_free(one.params);
    qp_params_free(two.params);
    qp_ctx_release(&c);
}
END_TEST

/* The same step on the backend that computes nothing takes the same memory to the byte. */
START_TEST(planned_peak_is_the_real_peak)
{
    static batch b;
    fill(&b);
    for (int again = 0; again < 2; again++) {
        size_t peak[2];
        for (int i = 0; i < 2; i++) {
            qp_ctx c;
            net m;
            test_ctx(&c, i ? qp_null_backend() : NULL);
            new_net(&m, (qp_storage)_i);
            c.recompute = again;
            const double loss = step(&c, &m, &b);
            ck_assert_double_finite(loss);
            peak[i] = c.arena.peak;
            qp_params_free(m.params);
            qp_ctx_release(&c);
        }
        ck_assert_uint_eq(peak[0], peak[1]);
    }
}
END_TEST

static size_t planned(bool again, int layers)
{
    static batch b;
    qp_ctx c;
    net m;
    fill(&b);
    test_ctx(&c, qp_null_backend());
    new_net(&m, QP_F32);
    c.recompute = again;
    depth = layers;
    step(&c, &m, &b);
    const size_t peak = c.arena.peak;
    qp_params_free(m.params);
    qp_ctx_release(&c);
    return peak;
}

/* What ten more layers cost: their inputs and knots, or all of a dozen values each. */
START_TEST(recompute_keeps_a_layers_input_only)
{
    const size_t value = N * D * sizeof(float);
    const size_t kept = planned(false, 14) - planned(false, 4),
                 again = planned(true, 14) - planned(true, 4);
    ck_assert_uint_ge(kept, 10 * 8 * value);
    ck_assert_uint_le(again, 10 * (value + 1024));
}
END_TEST

/* The whole step against f64: f32 within what two layers of roundings give, bf16 within a few of
 * its last bits. */
START_TEST(every_build_agrees_with_f64)
{
    static const double tolerance[] = { 1e-12, 3e-5, 6e-2 };
    static batch b;
    qp_storage type;
    if (!test_build(_i, &type)) return;
    fill(&b);
    net m, exact;
    qp_ctx c;
    test_ctx(&c, NULL);
    new_net(&m, type);
    new_net(&exact, QP_F64);
    const double loss = step(&c, &m, &b), f64 = step(&c, &exact, &b);
    ck_assert_double_lt(fabs(loss / f64 - 1), tolerance[type] / 10);
    for (int i = 0; i < WEIGHTS; i++) {
        const double d = test_difference(m.w[i]->grad, qp_grad_storage(m.w[i]), exact.w[i]->grad,
                                         QP_F64, qp_numel(m.w[i]));
        ck_assert_msg(d < tolerance[type], "gradient of weight %d differs by %g", i, d);
    }
    qp_params_free(m.params);
    qp_params_free(exact.params);
    qp_ctx_release(&c);
}
END_TEST

Suite *suite_step(void)
{
    Suite *s = suite_create("step");
    TCase *t = tcase_create("step");
    tcase_set_timeout(t, 30); /* seconds of a machine that does other things too */
    tcase_add_loop_test(t, one_thread_equals_three, 0, TEST_BUILDS);
    tcase_add_loop_test(t, recompute_equals_kept, 0, TEST_BUILDS);
    tcase_add_loop_test(t, fresh_memory_may_hold_nan, 0, TEST_BUILDS);
    tcase_add_loop_test(t, micro_batches_add_up, 0, 2);
    tcase_add_loop_test(t, planned_peak_is_the_real_peak, 0, QP_NCOMPUTE);
    tcase_add_test(t, recompute_keeps_a_layers_input_only);
    tcase_add_loop_test(t, every_build_agrees_with_f64, 0, TEST_BUILDS);
    suite_add_tcase(s, t);
    return s;
}
