#include "eval/perplexity.h"
#include "eval/score.h"
#include "tests/data/corpora.h"
#include "tests/model/tiny.h"
#include "tests/suites.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 101, L = 16 };
static qp_ctx ctx;
static qp_model *model;
static int32_t ids[N];

static void set_up(void)
{
    qp_config cfg = tiny_config();
    tiny_ctx(&ctx);
    model = tiny_sealed(&cfg, QP_F32, true);
    for (int i = 0; i < N; i++)
        ids[i] = (int32_t)qp_rng_below(5, 0, (uint64_t)i, (uint64_t)cfg.vocab_size);
}

static void tear_down(void)
{
    qp_ctx_release(&ctx);
    qp_model_free(model);
}

/* -log p of every token of a window but its first, by the whole row of logits. */
static void window_losses(const int32_t *tokens, int64_t n, double *nll)
{
    qp_batch b = { 0 };
    qp_batch_add(&b, tokens, NULL, n);
    qp_scope s;
    qp_scope_open(&ctx.arena, &s);
    ctx.recording = false;
    qp_tensor *y = qp_model_logits(&ctx, model, qp_model_hidden(&ctx, model, &b, NULL));
    int64_t v = qp_cols(y);
    for (int64_t i = 0; i + 1 < n; i++) {
        const float *row = (const float *)y->data + i * v;
        double sum = 0;
        for (int64_t k = 0; k < v; k++) sum += exp((double)row[k]);
        nll[i + 1] = log(sum) - (double)row[tokens[i + 1]];
    }
    ctx.recording = true;
    qp_scope_close(&ctx.arena, &s);
    qp_batch_release(&b);
}

/* Window by window: tokens from .. end-1 of ids[begin..end) count; the mean is weighted. */
typedef struct {
    double sum, weight;
    int64_t tokens, windows;
} plain;

static void plain_window(plain *p, const int32_t *text, int64_t begin, int64_t end, int64_t from,
                         double weight, int32_t bos)
{
    int32_t window[64];
    double nll[64], sum = 0;
    memcpy(window, text + begin, (size_t)(end - begin) * sizeof *window);
    if (bos >= 0) window[0] = bos;
    window_losses(window, end - begin, nll);
    for (int64_t i = from; i < end; i++) sum += nll[i - begin];
    p->sum += sum / (double)(end - from) * weight;
    p->weight += weight;
    p->tokens += end - from;
    p->windows++;
}

static qp_ppl measure(const qp_ppl_options *o, const int32_t *text, int64_t n)
{
    qp_ppl p;
    qp_err err = { 0 };
    ck_assert_msg(!qp_perplexity(&ctx, model, o, text, n, 2 * n, &p, &err), "%s", err.msg);
    return p;
}

static void check_against(const qp_ppl *p, const plain *q)
{
    ck_assert_int_eq(p->windows, q->windows);
    ck_assert_int_eq(p->tokens, q->tokens);
    ck_assert_double_lt(fabs(p->nll - q->sum / q->weight), 2e-5); /* logits in f32 */
    ck_assert_double_eq(p->ppl, exp(p->nll));
    ck_assert_double_lt(fabs(p->bits_per_byte - p->nll / M_LN2 / 2), 1e-12);
}

START_TEST(hf_without_overlap_is_the_recipe_of_the_page)
{
    plain p = { 0 }, exact = { 0 };
    for (int64_t b = 0; b < N; b += L) {
        int64_t e = b + L < N ? b + L : N;
        plain_window(&p, ids, b, e, b + 1, (double)(e - b - 1), -1);
        plain_window(&exact, ids, b, e, b + 1, (double)(e - b - 1), -1);
    }
    qp_ppl_options o = { .context = L };
    qp_ppl hf = measure(&o, ids, N);
    check_against(&hf, &p);
    o.method = "hf-exact"; /* without overlap the page's weights are the true counts */
    qp_ppl hf_exact = measure(&o, ids, N);
    check_against(&hf_exact, &exact);
    ck_assert_double_eq(hf.nll, hf_exact.nll);
}
END_TEST

START_TEST(hf_with_overlap_weighs_a_window_one_too_little)
{
    enum { S = 5 };
    plain p = { 0 }, exact = { 0 };
    int64_t reached = 0;
    for (int64_t b = 0;; b += S) {
        int64_t e = b + L < N ? b + L : N, from = b ? reached : 1, fresh = e - reached;
        plain_window(&p, ids, b, e, from, (double)(fresh - 1), -1);
        plain_window(&exact, ids, b, e, from, (double)(e - from), -1);
        reached = e;
        if (e == N) break;
    }
    qp_ppl_options o = { .method = "hf", .context = L, .stride = S };
    qp_ppl hf = measure(&o, ids, N);
    check_against(&hf, &p);
    o.method = "hf-exact";
    qp_ppl hf_exact = measure(&o, ids, N);
    check_against(&hf_exact, &exact);
    ck_assert_int_eq(hf_exact.tokens, N - 1);
    ck_assert_double_gt(fabs(hf.nll - hf_exact.nll), 1e-6);
}
END_TEST

START_TEST(paper_drops_the_remainder)
{
    plain p = { 0 };
    for (int64_t b = 0; b + L <= N; b += L) plain_window(&p, ids, b, b + L, b + 1, L - 1, -1);
    qp_ppl got = measure(&(qp_ppl_options){ .method = "paper", .context = L }, ids, N);
    check_against(&got, &p);
}
END_TEST

START_TEST(llama_cpp_counts_the_second_half_after_bos)
{
    for (int32_t bos = -1; bos < 2; bos += 2)
        for (int64_t context = 15; context < 17; context++) {
            plain p = { 0 };
            for (int64_t b = 0; b + context <= N; b += context)
                plain_window(&p, ids, b, b + context, b + context / 2 + 1, 1.0, bos);
            qp_ppl_options o = { .method = "llama.cpp", .context = context, .bos = bos };
            qp_ppl got = measure(&o, ids, N);
            check_against(&got, &p);
        }
}
END_TEST

START_TEST(the_error_is_that_of_a_mean)
{
    double nll[N], sum = 0, squares = 0;
    window_losses(ids, L, nll);
    for (int i = 1; i < L; i++) {
        sum += nll[i];
        squares += nll[i] * nll[i];
    }
    int n = L - 1;
    double mean = sum / n, error = sqrt((squares / n - mean * mean) / (n - 1));
    qp_ppl p = measure(&(qp_ppl_options){ .method = "paper", .context = L }, ids, L);
    ck_assert_double_lt(fabs(p.stderr_ppl / (exp(mean) * error) - 1), 1e-4);
}
END_TEST

START_TEST(how_many_windows_share_a_pass_changes_no_bit)
{
    static const char *const methods[] = { "hf", "hf-exact", "paper", "llama.cpp" };
    for (int i = 0; i < 4; i++) {
        qp_ppl_options o = {
            .method = methods[i], .context = L, .bos = 3, .stride = i < 2 ? 7 : 0, .rows = 1
        };
        qp_ppl alone = measure(&o, ids, N);
        for (o.rows = 40; o.rows < 3000; o.rows *= 5) {
            qp_ppl together = measure(&o, ids, N);
            ck_assert(!memcmp(&alone, &together, sizeof alone));
        }
    }
}
END_TEST

static int calls;
static void count_calls(void *arg, int64_t done, int64_t windows, double ppl)
{
    ck_assert_ptr_eq(arg, ids);
    ck_assert_int_eq(done, ++calls);
    ck_assert_int_eq(windows, 6);
    ck_assert(isfinite(ppl));
}

START_TEST(progress_is_told_after_every_pass)
{
    calls = 0;
    measure(
        &(qp_ppl_options){
            .method = "paper", .context = L, .rows = 1, .progress = count_calls, .arg = ids },
        ids, N);
    ck_assert_int_eq(calls, 6);
}
END_TEST

static void refused(const qp_ppl_options *o, int64_t n, const char *part)
{
    qp_ppl p;
    qp_err err = { 0 };
    ck_assert_int_eq(qp_perplexity(&ctx, model, o, ids, n, 0, &p, &err), QP_USAGE);
    ck_assert_msg(strstr(err.msg, part) != NULL, "%s", err.msg);
}

START_TEST(what_makes_no_sense_is_refused)
{
    refused(&(qp_ppl_options){ .method = "hff", .context = L }, N, "hff");
    refused(&(qp_ppl_options){ .context = 1 }, N, "context 1");
    refused(&(qp_ppl_options){ .context = L, .stride = L + 1 }, N, "stride 17");
    refused(&(qp_ppl_options){ .method = "paper", .context = L, .stride = 3 }, N, "no stride");
    refused(&(qp_ppl_options){ .context = L }, 1, "1 tokens");
    refused(&(qp_ppl_options){ .method = "paper", .context = L }, L - 1, "at least 16");
    refused(&(qp_ppl_options){ .method = "llama.cpp", .context = L, .bos = -1 }, 2 * L - 1,
            "at least 32");
}
END_TEST

START_TEST(a_loss_that_is_not_finite_names_the_weight)
{
    qp_params *p = qp_model_params(model);
    ((float *)p->master)[p->n - 1] = NAN; /* the last norm: a value every row meets */
    qp_params_publish(p);
    qp_ppl out;
    qp_err err = { 0 };
    qp_ppl_options o = { .context = L };
    ck_assert_int_eq(qp_perplexity(&ctx, model, &o, ids, N, 0, &out, &err), QP_BADFILE);
    ck_assert_msg(strstr(err.msg, "model.norm.weight") && strstr(err.msg, "nan"), "%s", err.msg);
}
END_TEST

static bool only_once(void *arg, int64_t done, int64_t batches)
{
    (void)arg;
    return done > 1 || batches < 2;
}

START_TEST(evaluation_of_a_corpus_is_the_mean_over_its_targets)
{
    qp_corpus c = test_corpus(40, 30, 8);
    for (int64_t i = 0; i < c.n; i++) {
        c.tokens[i] %= 97;
        if (c.targets[i] >= 0) c.targets[i] %= 97;
    }
    double sum = 0, all[64];
    for (int64_t d = 0; d < c.documents; d++) {
        qp_batch b = { 0 };
        qp_err err = { 0 };
        qp_batch_add(&b, c.tokens + c.start[d], c.targets + c.start[d],
                     c.start[d + 1] - c.start[d]);
        ck_assert_int_eq(qp_score(&ctx, model, &b, all, &err), QP_OK);
        for (int64_t i = 0; i < b.n; i++) sum += all[i];
        qp_batch_release(&b);
    }
    for (int packing = 0; packing < 2; packing++) {
        qp_loader *l;
        qp_err err = { 0 };
        qp_loader_options o = { .sequence_len = 64, .micro_batch_size = 2, .packing = packing };
        qp_ppl p, part;
        ck_assert_int_eq(qp_loader_new(&l, &c, &o, &err), QP_OK);
        ck_assert_int_eq(qp_eval_loss(&ctx, model, l, NULL, &p, &err), QP_OK);
        ck_assert_int_eq(p.tokens, c.trained);
        ck_assert_int_eq(p.windows, c.documents);
        ck_assert_double_lt(fabs(p.nll - sum / (double)c.trained),
                            1e-12); /* the same values in another order */
        ck_assert(isnan(p.bits_per_byte));
        ck_assert_int_eq(
            qp_eval_loss(&ctx, model, l, &(qp_eval_options){ .max_tokens = 50 }, &part, &err),
            QP_OK);
        ck_assert(part.tokens >= 50 && part.tokens < c.trained);
        qp_eval_options first = { .go_on = only_once };
        ck_assert_int_eq(qp_eval_loss(&ctx, model, l, &first, &part, &err), QP_STOPPED);
        qp_loader_free(l);
    }
    ck_assert(ctx.recording && ctx.tape == NULL);
    qp_corpus_release(&c);
}
END_TEST

Suite *suite_perplexity(void)
{
    Suite *s = suite_create("perplexity");
    TCase *t = tcase_create("perplexity");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, hf_without_overlap_is_the_recipe_of_the_page);
    tcase_add_test(t, hf_with_overlap_weighs_a_window_one_too_little);
    tcase_add_test(t, paper_drops_the_remainder);
    tcase_add_test(t, llama_cpp_counts_the_second_half_after_bos);
    tcase_add_test(t, the_error_is_that_of_a_mean);
    tcase_add_test(t, how_many_windows_share_a_pass_changes_no_bit);
    tcase_add_test(t, progress_is_told_after_every_pass);
    tcase_add_test(t, what_makes_no_sense_is_refused);
    tcase_add_test(t, a_loss_that_is_not_finite_names_the_weight);
    tcase_add_test(t, evaluation_of_a_corpus_is_the_mean_over_its_targets);
    suite_add_tcase(s, t);
    return s;
}
