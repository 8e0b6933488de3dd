/* Whole training steps on random tokens: forward, backward, clipping, AdamW. MFU counts 6 N T
   operations for full training and 4 N T for LoRA, whose frozen weights need no gradient; N:
   weights that multiply, head included; T: tokens. It is a share of the fastest product measured
   here. */
#include "bench/bench.h"
#include "base/thread.h"
#include "model/model.h"
#include "optim/optim.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LLAMA_1B                                                                                   \
    "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"vocab_size\":128256,"    \
    "\"hidden_size\":2048,\"intermediate_size\":8192,\"num_hidden_layers\":16,"                    \
    "\"num_attention_heads\":32,\"num_key_value_heads\":8,\"head_dim\":64,"                        \
    "\"max_position_embeddings\":131072,\"rms_norm_eps\":1e-5,\"rope_theta\":500000.0,"            \
    "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":32.0,\"low_freq_factor\":1.0,"          \
    "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":8192},"                         \
    "\"tie_word_embeddings\":true}"
#define STORIES_15M                                                                                \
    "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"vocab_size\":32000,"     \
    "\"hidden_size\":288,\"intermediate_size\":768,\"num_hidden_layers\":6,"                       \
    "\"num_attention_heads\":6,\"num_key_value_heads\":6,\"max_position_embeddings\":256,"         \
    "\"rms_norm_eps\":1e-5,\"tie_word_embeddings\":true}"
#define SMOLLM2 "models/SmolLM2-135M-Instruct.Q4_1.gguf"

typedef struct {
    const char *name;
    const char *json, *file; /* fresh weights, or a file under $QP_SHARED */
    bool lora;
    qp_storage compute;
    int64_t documents, rows; /* of each document */
    int steps;               /* timed, after one that is not */
} job;

static const job jobs[] = {
    { "1B shape, LoRA", LLAMA_1B, NULL, true, QP_BF16, 1, 512, 5 },
    { "1B shape, LoRA", LLAMA_1B, NULL, true, QP_BF16, 1, 2048, 2 },
    { "SmolLM2, LoRA", NULL, SMOLLM2, true, QP_BF16, 4, 512, 5 },
    { "SmolLM2, full", NULL, SMOLLM2, false, QP_BF16, 4, 512, 5 },
    { "15M shape, full", STORIES_15M, NULL, false, QP_BF16, 16, 256, 7 },
};
enum { JOBS = sizeof jobs / sizeof *jobs, SHOWN_MOST = 16 };

static void check(qp_status rc, const qp_err *err)
{
    if (!rc) return;
    fprintf(stderr, "bench: %s\n", err->msg);
    exit(rc);
}

static qp_model *open_model(const job *j, const char *path, qp_err *err)
{
    static const char *const all[] = { "q_proj",    "k_proj",  "v_proj",   "o_proj",
                                       "gate_proj", "up_proj", "down_proj" };
    const qp_model_options o = {
        .compute = j->compute, .load_in = j->compute, .train_base = !j->lora, .seed = 1
    };
    const qp_lora_options lora = { .r = 16, .alpha = 32, .targets = all, .n_targets = 7 };
    qp_model *m;
    qp_config cfg;
    if (j->json) {
        check(qp_config_parse(&cfg, j->json, strlen(j->json), err), err);
        check(qp_model_create(&m, &cfg, &o, err), err);
    } else {
        check(qp_model_open(&m, path, &o, err), err);
    }
    if (j->lora) check(qp_model_add_lora(m, &lora, err), err);
    check(qp_model_seal(m, err), err);
    return m;
}

static void fill(qp_batch *b, const job *j, int64_t vocab)
{
    int32_t *ids = calloc((size_t)j->rows + 1, sizeof *ids);
    for (int64_t d = 0; d < j->documents; d++) {
        for (int64_t i = 0; i <= j->rows; i++)
            ids[i] = (int32_t)qp_rng_below(1, (uint64_t)d, (uint64_t)i, (uint64_t)vocab);
        qp_batch_add(b, ids, ids + 1, j->rows);
    }
    free(ids);
}

static double loss_of(const qp_tensor *t)
{
    return t->storage == QP_F64 ? *(const double *)t->data : (double)*(const float *)t->data;
}

/* One step; returns the mean loss before it. */
static double step(qp_ctx *c, qp_model *m, qp_optim *o, const qp_batch *b, int64_t number)
{
    qp_params *p = qp_model_params(m);
    qp_scope scope;
    qp_scope_open(&c->arena, &scope);
    qp_params_begin_step(p);
    qp_tensor *loss = qp_model_loss(c, m, b, NULL);
    const double mean = loss_of(loss) / (double)b->targets_n;
    qp_backward(c, loss, 1 / (double)b->targets_n);
    qp_params_end_grads(p);
    qp_scope_close(&c->arena, &scope);
    qp_optim_step(o, c, 1e-4, qp_clip_scale(qp_grad_norm(c, p), 1), number);
    return mean;
}

enum { SECONDS, BEST, LOSS_FIRST, LOSS_LAST, WEIGHTS };
static void run(const void *arg, double *value)
{
    const job *j = arg;
    qp_err err = { 0 };
    char path[1000] = "";
    const char *shared = getenv("QP_SHARED");
    if (j->file) snprintf(path, sizeof path, "%s/%s", shared ? shared : "../shared", j->file);
    qp_model *m = open_model(j, path, &err);
    qp_ctx c;
    qp_optim o = { 0 };
    qp_batch b = { 0 };
    const qp_optim_settings s = { 0.9, 0.999, 1e-8, 0 };
    double seconds[SHOWN_MOST];
    check(qp_ctx_init(&c, qp_cpu_backend(), 0, &err), &err);
    check(qp_optim_init(&o, "adamw", &s, qp_model_params(m), &err), &err);
    fill(&b, j, qp_model_config(m)->vocab_size);
    for (int i = -1; i < j->steps; i++) {
        const double start = qp_now(), loss = step(&c, m, &o, &b, i + 2);
        if (i >= 0) seconds[i] = qp_now() - start;
        value[i < 0 ? LOSS_FIRST : LOSS_LAST] = loss;
    }
    value[SECONDS] = bench_median(seconds, j->steps);
    value[BEST] = seconds[0];
    value[WEIGHTS] = (double)qp_model_matmul_parameters(m);
}

/* The fastest of several products of n x n matrices. */
static void peak(const void *arg, double *value)
{
    static const int64_t sizes[] = { 1024, 2048, 4096 };
    const qp_storage type = *(const qp_storage *)arg;
    for (int s = 0; s < 3; s++) {
        qp_ctx c;
        qp_err err = { 0 };
        const int64_t n = sizes[s];
        check(qp_ctx_init(&c, qp_cpu_backend(), 0, &err), &err);
        c.recording = false;
        qp_tensor *x = qp_new(&c, type, 2, (int64_t[]){ n, n }), *w = qp_like(&c, x);
        memset(x->data, 0, qp_value_bytes(x));
        memset(w->data, 0, qp_value_bytes(w));
        for (double until = qp_now() + 0.5; qp_now() < until;) {
            qp_scope scope;
            qp_scope_open(&c.arena, &scope);
            const double start = qp_now();
            qp_linear(&c, x, w);
            const double flops = 2 * pow((double)n, 3) / (qp_now() - start);
            value[0] = fmax(value[0], flops);
            qp_scope_close(&c.arena, &scope);
        }
        qp_ctx_release(&c);
    }
}

int bench_step(void)
{
    static const qp_storage types[] = { QP_BF16, QP_F32 };
    double most[QP_NCOMPUTE] = { 0 };
    bench_result r;
    int failed = 0;
    for (int i = 0; i < 2; i++) {
        if (!bench_child(peak, &types[i], &r)) return 1;
        most[types[i]] = r.value[0];
        printf("fastest %s product: %.0f GFLOP/s\n", qp_storages[types[i]].name, r.value[0] / 1e9);
    }
    printf("%-16s %-5s %9s %8s %8s %8s %6s %9s   loss\n", "", "type", "tokens", "tokens/s",
           "s/step", "best", "MFU", "peak RSS");
    for (int i = 0; i < JOBS; i++) {
        const job *j = &jobs[i];
        if (!bench_child(run, j, &r)) {
            printf("%-16s failed\n", j->name);
            failed = 1;
            continue;
        }
        const double tokens = (double)(j->documents * j->rows), per_token = j->lora ? 4 : 6;
        printf("%-16s %-5s %3lld x %4lld %8.0f %8.3f %8.3f %5.1f%% %5.2f GiB   %.3f to %.3f\n",
               j->name, qp_storages[j->compute].name, (long long)j->documents, (long long)j->rows,
               tokens / r.value[SECONDS], r.value[SECONDS], r.value[BEST],
               100 * per_token * r.value[WEIGHTS] * tokens / r.value[SECONDS] / most[j->compute],
               r.peak_rss / (1 << 30), r.value[LOSS_FIRST], r.value[LOSS_LAST]);
        fflush(stdout);
    }
    return failed;
}
