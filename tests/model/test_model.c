/* The identities that the whole model keeps bit for bit, and its gradient against differences. */
#include "tests/model/tiny.h"
#include "tests/suites.h"
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

static const qp_storage computes[] = { QP_F64, QP_F32, QP_BF16 };
static const int64_t lengths[] = { 1, 7, 64, 33, 130 };
enum { COMPUTES = 3, DOCS = 5 };

START_TEST(packed_documents_equal_each_alone)
{
    const qp_config cfg = tiny_config();
    qp_ctx c;
    tiny_ctx(&c);
    qp_model *m = tiny_sealed(&cfg, computes[_i], false);
    qp_batch all = { 0 };
    for (int d = 0; d < DOCS; d++) tiny_document(&all, &cfg, lengths[d], (uint64_t)d);
    size_t row, at = 0;
    char *packed = tiny_hidden(&c, m, &all, NULL, &row);
    float *logits = tiny_logits(&c, m, &all);
    for (int d = 0; d < DOCS; d++) {
        qp_batch one = { 0 };
        tiny_document(&one, &cfg, lengths[d], (uint64_t)d);
        char *alone = tiny_hidden(&c, m, &one, NULL, &row);
        ck_assert_mem_eq(packed + at * row, alone, (size_t)lengths[d] * row);
        if (computes[_i] != QP_F64) {
            float *y = tiny_logits(&c, m, &one);
            size_t v = (size_t)cfg.vocab_size;
            ck_assert_mem_eq(logits + at * v, y, (size_t)lengths[d] * v * sizeof *y);
            free(y);
        }
        at += (size_t)lengths[d];
        free(alone);
        qp_batch_release(&one);
    }
    free(packed);
    free(logits);
    qp_batch_release(&all);
    qp_model_free(m);
    qp_ctx_release(&c);
}
END_TEST

/* Rows from..to-1 of a document whose earlier rows are in the cache. */
static void part_of(qp_batch *part, const qp_batch *whole, int64_t from, int64_t to)
{
    qp_batch_clear(part);
    qp_batch_reserve(part, to - from);
    for (int64_t i = from; i < to; i++) {
        int64_t j = part->n++;
        part->tokens[j] = whole->tokens[i];
        part->targets[j] = -1;
        part->pos[j] = whole->pos[i];
        part->first[j] = whole->first[i];
        part->last[j] = whole->last[i];
    }
}

START_TEST(cached_steps_equal_one_pass)
{
    const int64_t cuts[] = { 0, 1, 2, 40, 105, 106, 107, 130 };
    const qp_config cfg = tiny_config();
    qp_ctx c;
    qp_err err = { 0 };
    tiny_ctx(&c);
    qp_model *m = tiny_sealed(&cfg, computes[_i], false);
    qp_batch whole = { 0 }, part = { 0 };
    tiny_document(&whole, &cfg, 130, 5);
    size_t row;
    char *once = tiny_hidden(&c, m, &whole, NULL, &row);
    qp_kv *kv;
    ck_assert_msg(!qp_kv_new(&kv, m, 140, &err), "%s", err.msg);
    for (int again = 0; again < 2; again++) {
        for (size_t i = 0; i + 1 < sizeof cuts / sizeof *cuts; i++) {
            part_of(&part, &whole, cuts[i], cuts[i + 1]);
            char *some = tiny_hidden(&c, m, &part, kv, &row);
            ck_assert_mem_eq(some, once + (size_t)cuts[i] * row, (size_t)part.n * row);
            ck_assert_int_eq(qp_kv_rows(kv), cuts[i + 1]);
            free(some);
        }
        qp_kv_reset(kv, 0);
    }
    qp_kv_free(kv);
    free(once);
    qp_batch_release(&whole);
    qp_batch_release(&part);
    qp_model_free(m);
    qp_ctx_release(&c);
}
END_TEST

typedef struct {
    double loss;
    void *grad;
    size_t bytes;
} outcome;

/* adapter: LoRA with dropout on a frozen base, else every weight is trained. */
static outcome train_once(qp_storage compute, bool adapter, bool recompute, int64_t rows)
{
    const qp_config cfg = tiny_config();
    qp_ctx c;
    tiny_ctx(&c);
    c.recompute = recompute;
    c.rng.key = 3;
    qp_model *m = tiny_model(&cfg, compute, !adapter);
    if (adapter) tiny_add_lora(m, 0.25);
    tiny_seal(m);
    if (adapter) tiny_randomise(m, "lora_B", 0.1);
    qp_batch b = { 0 };
    tiny_document(&b, &cfg, rows, 1);
    tiny_document(&b, &cfg, rows / 3, 2);
    qp_params *p = qp_model_params(m);
    outcome r = { .loss = tiny_step(&c, m, &b),
                  .bytes = qp_storage_bytes(qp_sum_storage(compute), p->n) };
    r.grad = memcpy(qp_xmalloc(r.bytes), p->grad, r.bytes);
    qp_batch_release(&b);
    qp_model_free(m);
    qp_ctx_release(&c);
    return r;
}

static void check_equal(outcome a, outcome b)
{
    ck_assert_double_eq(a.loss, b.loss);
    ck_assert_uint_eq(a.bytes, b.bytes);
    ck_assert_mem_eq(a.grad, b.grad, a.bytes);
    free(a.grad);
    free(b.grad);
}

START_TEST(recomputed_gradients_equal_kept_ones)
{
    qp_storage t = computes[_i];
    check_equal(train_once(t, false, false, 50), train_once(t, false, true, 50));
    check_equal(train_once(t, true, false, 50), train_once(t, true, true, 50));
}
END_TEST

/* Enough rows that kernels do split their work. */
START_TEST(one_thread_equals_two)
{
    for (int adapter = 0; adapter < 2; adapter++) {
        omp_set_num_threads(1);
        outcome one = train_once(computes[_i], adapter, false, 600);
        omp_set_num_threads(2);
        check_equal(one, train_once(computes[_i], adapter, false, 600));
    }
}
END_TEST

START_TEST(an_adapter_with_b_zero_changes_no_bit)
{
    const qp_config cfg = tiny_config();
    qp_ctx c;
    tiny_ctx(&c);
    qp_model *base = tiny_sealed(&cfg, computes[_i], false),
             *m = tiny_model(&cfg, computes[_i], false);
    tiny_add_lora(m, 0);
    tiny_seal(m);
    qp_batch b = { 0 };
    tiny_document(&b, &cfg, 70, 1);
    size_t row;
    void *x = tiny_hidden(&c, base, &b, NULL, &row), *y = tiny_hidden(&c, m, &b, NULL, &row);
    ck_assert_mem_eq(x, y, row * 70);
    tiny_randomise(m, "lora_B", 0.1);
    void *z = tiny_hidden(&c, m, &b, NULL, &row);
    ck_assert_mem_ne(x, z, row * 70);
    free(x);
    free(y);
    free(z);
    qp_batch_release(&b);
    qp_model_free(base);
    qp_model_free(m);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(a_fresh_model_knows_nothing)
{
    qp_config cfg = tiny_config();
    cfg.initializer_range = 0.02;
    cfg.tied = _i;
    qp_ctx c;
    tiny_ctx(&c);
    qp_model *m = tiny_sealed(&cfg, QP_F32, true);
    qp_batch b = { 0 };
    tiny_document(&b, &cfg, 200, 1);
    double mean = tiny_step(&c, m, &b) / (double)b.targets_n;
    ck_assert_double_eq_tol(mean, log((double)cfg.vocab_size), 0.1);
    qp_batch_release(&b);
    qp_model_free(m);
    qp_ctx_release(&c);
}
END_TEST

/* Five-point differences: their error is h^4, below rounding's share at h = 1e-3. */
static double slope(qp_ctx *c, qp_model *m, const qp_batch *b, double *at)
{
    static const double step[] = { -2, -1, 1, 2 }, weight[] = { 1, -8, 8, -1 };
    const double h = 1e-3, was = *at;
    double sum = 0;
    for (int i = 0; i < 4; i++) {
        *at = was + step[i] * h;
        qp_scope s;
        qp_scope_open(&c->arena, &s);
        sum += weight[i] * *(double *)qp_model_loss(c, m, b, NULL)->data;
        qp_scope_close(&c->arena, &s);
    }
    *at = was;
    return sum / (12 * h * (double)b->targets_n);
}

/* _i: 0 all weights, 1 tied, 2 LoRA */
START_TEST(the_gradient_of_the_loss_matches_differences)
{
    qp_config cfg = tiny_config();
    cfg.tied = _i == 1;
    qp_ctx c;
    tiny_ctx(&c);
    qp_model *m = tiny_model(&cfg, QP_F64, _i < 2);
    if (_i == 2) tiny_add_lora(m, 0);
    tiny_seal(m);
    tiny_randomise(m, "lora_B", 0.2);
    qp_batch b = { 0 };
    tiny_document(&b, &cfg, 9, 1);
    tiny_document(&b, &cfg, 5, 2);
    b.targets[3] = -1;
    b.targets_n--;
    tiny_step(&c, m, &b);
    qp_params *p = qp_model_params(m);
    double *grad =
        memcpy(qp_xmalloc((size_t)p->n * sizeof *grad), p->grad, (size_t)p->n * sizeof *grad);
    c.recording = false;
    for (int64_t i = 0; i < p->count; i++) {
        double largest = 0, worst = 0;
        int64_t n = qp_numel(p->item[i].t), lo = p->item[i].lo;
        for (int64_t j = 0; j < n; j++) largest = fmax(largest, fabs(grad[lo + j]));
        for (int64_t j = 0; j < n; j += n / 5 + 1)
            worst =
                fmax(worst, fabs(slope(&c, m, &b, (double *)p->master + lo + j) - grad[lo + j]));
        ck_assert_msg(largest > 1e-6 && worst < 1e-8 * fmax(1, largest),
                      "%s: off by %g, largest %g", p->item[i].name, worst, largest);
    }
    free(grad);
    qp_batch_release(&b);
    qp_model_free(m);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(counts_follow_from_the_sizes)
{
    qp_config cfg = tiny_config();
    const int64_t embed = 97 * 32, block = 32 * 48 * 2 + 32 * 24 * 2 + 3 * 32 * 80;
    qp_model *m = tiny_sealed(&cfg, QP_BF16, false);
    ck_assert_int_eq(qp_model_parameters(m), 2 * embed + 2 * (block + 64) + 32);
    ck_assert_int_eq(qp_model_matmul_parameters(m), embed + 2 * block);
    ck_assert_uint_eq(qp_model_weight_bytes(m), (size_t)(2 * (2 * embed + 2 * block) + 4 * 5 * 32));
    ck_assert_int_eq(qp_model_params(m)->count, 0);
    qp_model_free(m);
    cfg.tied = true;
    m = tiny_model(&cfg, QP_F32, false);
    tiny_add_lora(m, 0);
    tiny_seal(m);
    ck_assert_int_eq(qp_model_parameters(m), embed + 2 * (block + 64) + 32);
    ck_assert_int_eq(qp_model_matmul_parameters(m), embed + 2 * block);
    ck_assert_int_eq(qp_model_params(m)->count, 28);
    qp_model_free(m);
}
END_TEST

START_TEST(a_forward_before_sealing_exits_70)
{
    const qp_config cfg = tiny_config();
    qp_ctx c;
    tiny_ctx(&c);
    qp_batch b = { 0 };
    tiny_document(&b, &cfg, 3, 1);
    qp_model_hidden(&c, tiny_model(&cfg, QP_F32, false), &b, NULL);
}
END_TEST

Suite *suite_model(void)
{
    Suite *s = suite_create("model");
    TCase *t = tcase_create("whole");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, packed_documents_equal_each_alone, 0, COMPUTES);
    tcase_add_loop_test(t, cached_steps_equal_one_pass, 0, COMPUTES);
    tcase_add_loop_test(t, recomputed_gradients_equal_kept_ones, 0, COMPUTES);
    tcase_add_loop_test(t, one_thread_equals_two, 0, COMPUTES);
    tcase_add_loop_test(t, an_adapter_with_b_zero_changes_no_bit, 0, COMPUTES);
    tcase_add_loop_test(t, a_fresh_model_knows_nothing, 0, 2);
    tcase_add_loop_test(t, the_gradient_of_the_loss_matches_differences, 0, 3);
    tcase_add_test(t, counts_follow_from_the_sizes);
    tcase_add_exit_test(t, a_forward_before_sealing_exits_70, 70);
    suite_add_tcase(s, t);
    return s;
}
