/* Forward passes without a tape: perplexity, a prompt, greedy decoding, by the calls that the
   program makes. Operations are counted as 2 N a token, N: weights that multiply. */
#include "bench/bench.h"
#include "base/thread.h"
#include "base/zio.h"
#include "bench/models.h"
#include "data/tokenizer.h"
#include "eval/generate.h"
#include "eval/perplexity.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WINDOW = 512, PROMPT = 16 };

typedef struct {
    const char *row, *model;
    qp_storage stored;
    const char *method; /* of perplexity; NULL: tokens are generated */
    int64_t count;      /* windows (0: the text's), or tokens generated after a prompt */
} job;

/* "paper" scores every token of a window, as transformers' loss does; llama.cpp the second half. */
static const job jobs[] = {
    { "ppl-135m", "smollm2", QP_BF16, "paper", 0 },
    { "ppl-135m-llama", "smollm2", QP_BF16, "llama.cpp", 0 },
    { "ppl-135m-q8_0", "135m", QP_Q8_0, "llama.cpp", 48 },
    { "ppl-1b", "1b", QP_BF16, "paper", 8 },
    { "ppl-1b-llama", "1b", QP_BF16, "llama.cpp", 8 },
    { "ppl-1b-q8_0", "1b", QP_Q8_0, "llama.cpp", 8 },
    { "prompt-135m", "135m", QP_BF16, NULL, 0 },
    { "prompt-1b", "1b", QP_BF16, NULL, 0 },
    { "decode-135m-bf16", "135m", QP_BF16, NULL, 128 },
    { "decode-135m-q8_0", "135m", QP_Q8_0, NULL, 128 },
    { "decode-135m-q4_0", "135m", QP_Q4_0, NULL, 128 },
    { "decode-1b-bf16", "1b", QP_BF16, NULL, 32 },
    { "decode-1b-q8_0", "1b", QP_Q8_0, NULL, 32 },
    { "decode-1b-q4_0", "1b", QP_Q4_0, NULL, 32 },
};
enum { JOBS = sizeof jobs / sizeof *jobs };
enum { TOKENS_S, FLOPS_S, BYTES_S, NLL };

/* The head multiplies only rows that are scored: all of a window, half of it, or a prompt's last.
 */
static double flops_a_token(const qp_model *m, const char *method)
{
    const qp_config *cfg = qp_model_config(m);
    const double head = (double)cfg->vocab_size * (double)cfg->hidden_size;
    const double n = (double)qp_model_matmul_parameters(m);
    const double scored = !method ? 1. / WINDOW : strcmp(method, "llama.cpp") ? 1 : 0.5;
    return 2 * (n - head * (1 - scored));
}

static void text_ids(const char *tokenizer, qp_ids *ids)
{
    char path[1000];
    qp_err err = { 0 };
    qp_tokenizer *t;
    qp_buf text = { 0 };
    snprintf(path, sizeof path, "%s/models/%s", bench_shared(), tokenizer);
    bench_check(qp_tokenizer_open(&t, path, &err), &err);
    snprintf(path, sizeof path, "%s/data/wikitext2_test_slice.txt", bench_shared());
    bench_check(qp_file_read(path, &text, &err), &err);
    bench_check(qp_tokenizer_encode(t, text.data, text.len, 0, ids, &err), &err);
    qp_buf_release(&text);
    qp_tokenizer_free(t);
}

static void perplexity(const job *j, qp_ctx *c, qp_model *m, double *value)
{
    const qp_ppl_options o = { .method = j->method, .context = WINDOW, .bos = -1 };
    qp_err err = { 0 };
    qp_ids ids = { 0 };
    qp_ppl p;
    if (!j->count)
        text_ids("SmolLM2-135M-Instruct.Q4_1.gguf", &ids);
    else
        for (int64_t i = 0; i < j->count * WINDOW; i++)
            qp_ids_add(&ids, (int32_t)qp_rng_below(1, 0, (uint64_t)i,
                                                   (uint64_t)qp_model_config(m)->vocab_size));
    const int64_t n = ids.n / WINDOW * WINDOW;
    bench_check(qp_perplexity(c, m, &o, ids.id, 4 * WINDOW, 0, &p, &err), &err); /* warm */
    const double start = qp_now();
    bench_check(qp_perplexity(c, m, &o, ids.id, n, 0, &p, &err), &err);
    value[TOKENS_S] = (double)n / (qp_now() - start);
    value[FLOPS_S] = value[TOKENS_S] * flops_a_token(m, j->method);
    value[NLL] = p.nll;
}

static void generate(const job *j, qp_ctx *c, qp_model *m, double *value)
{
    const int64_t prompt_n = j->count ? PROMPT : WINDOW;
    const qp_generate_options o = { .max_tokens = j->count + 1 };
    const qp_config *cfg = qp_model_config(m);
    qp_err err = { 0 };
    qp_generate_stats stats;
    int32_t *prompt = qp_xmalloc((size_t)prompt_n * sizeof *prompt),
            *out = qp_xmalloc((size_t)o.max_tokens * sizeof *out);
    int64_t n;
    for (int64_t i = 0; i < prompt_n; i++)
        prompt[i] = (int32_t)qp_rng_below(1, 0, (uint64_t)i, (uint64_t)cfg->vocab_size);
    for (int i = 0; i < 4; i++) { /* the first does not count */
        bench_check(qp_generate(c, m, prompt, prompt_n, &o, out, &n, &stats, &err), &err);
        const double rate = j->count ? (double)(n - 1) / stats.token_seconds
                                     : (double)prompt_n / stats.prompt_seconds;
        if (i) value[TOKENS_S] = fmax(value[TOKENS_S], rate);
    }
    if (j->count) {
        /* An embedding that is no head is only looked up. */
        const double looked_up =
            cfg->tied ? 0 : (double)cfg->vocab_size * (double)cfg->hidden_size * 2;
        value[BYTES_S] = value[TOKENS_S] * ((double)qp_model_weight_bytes(m) - looked_up);
    } else {
        value[FLOPS_S] = value[TOKENS_S] * flops_a_token(m, NULL);
    }
    free(prompt);
    free(out);
}

static void run(const void *arg, double *value)
{
    const job *j = arg;
    qp_ctx c;
    qp_err err = { 0 };
    qp_model *m = bench_model(
        &(bench_model_options){ .name = j->model, .compute = QP_BF16, .stored = j->stored });
    bench_check(qp_ctx_init(&c, qp_cpu_backend(), 0, &err), &err);
    c.recording = false;
    if (j->method)
        perplexity(j, &c, m, value);
    else
        generate(j, &c, m, value);
}

int bench_infer_row(const char *name)
{
    for (int i = 0; i < JOBS; i++) {
        bench_result r;
        if (strcmp(jobs[i].row, name)) continue;
        if (!bench_child(run, &jobs[i], &r)) return 1;
        bench_print("tokens_per_s", r.value[TOKENS_S]);
        if (r.value[FLOPS_S] > 0) bench_print("flops_per_s", r.value[FLOPS_S]);
        if (r.value[BYTES_S] > 0) bench_print("bytes_per_s", r.value[BYTES_S]);
        if (jobs[i].method) bench_print("nll", r.value[NLL]);
        bench_print("peak_bytes", r.peak_rss);
        return 0;
    }
    return BENCH_OTHER;
}

int bench_infer(void)
{
    static bench_result r[JOBS];
    int failed = 0;
    bench_bandwidth();
    bench_peak(QP_BF16);
    for (int i = 0; i < JOBS; i++) {
        fprintf(stderr, "%s ", jobs[i].row);
        if (!bench_child(run, &jobs[i], &r[i])) r[i].value[TOKENS_S] = 0;
    }
    const double memory = bench_bandwidth(), products = bench_peak(QP_BF16);
    printf("\nmemory read at %.1f GB/s, bf16 products at %.0f GFLOP/s\n", memory / 1e9,
           products / 1e9);
    printf("%-18s %9s %16s %9s\n", "", "tokens/s", "share of", "peak RSS");
    for (int i = 0; i < JOBS; i++) {
        const double *v = r[i].value;
        const bool reads = v[BYTES_S] > 0;
        failed |= !(v[TOKENS_S] > 0);
        if (v[TOKENS_S] > 0)
            printf("%-18s %9.1f %7.0f%% %-8s %5.2f GiB\n", jobs[i].row, v[TOKENS_S],
                   100 * (reads ? v[BYTES_S] / memory : v[FLOPS_S] / products),
                   reads ? "memory" : "products", r[i].peak_rss / (1 << 30));
        else
            printf("%-18s failed\n", jobs[i].row);
    }
    return failed;
}
