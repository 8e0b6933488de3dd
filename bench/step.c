/* Whole training steps on random tokens: forward, backward, clipping, AdamW. MFU counts 6 N T
   operations for full training and 4 N T for LoRA, whose frozen weights need no gradient; N:
   weights that multiply, head included; T: tokens. It is a share of the fastest product known
   here. */
#include "bench/bench.h"
#include "base/thread.h"
#include "bench/models.h"
#include "optim/optim.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *row, *model;
    bool lora;
    qp_storage compute;
    int64_t documents, rows; /* of each document */
    int steps;               /* timed, after one that is not */
    bool lean;               /* blocks are recomputed: for what memory it takes at least */
} job;

static const job jobs[] = {
    { "lora-1b-512", "1b", true, QP_BF16, 1, 512, 4, false },
    { "lora-1b-2048", "1b", true, QP_BF16, 1, 2048, 2, false },
    { "lora-1b-512-f32", "1b", true, QP_F32, 1, 512, 2, false },
    { "lora-135m", "smollm2", true, QP_BF16, 4, 512, 5, false },
    { "lora-135m-f32", "smollm2", true, QP_F32, 4, 512, 3, false },
    { "full-135m", "smollm2", false, QP_BF16, 4, 512, 5, false },
    { "full-135m-f32", "smollm2", false, QP_F32, 4, 512, 2, false },
    { "full-15m", "15m", false, QP_BF16, 16, 256, 7, false },
    { "full-15m-f32", "15m", false, QP_F32, 16, 256, 5, false },
    { "full-124m", "124m", false, QP_BF16, 4, 64, 15, false },
    { "full-124m-f32", "124m", false, QP_F32, 4, 64, 9, false },
    { "lean-lora-1b-512", "1b", true, QP_BF16, 1, 512, 1, true },
    { "lean-lora-1b-2048", "1b", true, QP_BF16, 1, 2048, 1, true },
    { "lean-lora-135m", "smollm2", true, QP_BF16, 4, 512, 1, true },
    { "lean-full-135m", "smollm2", false, QP_BF16, 4, 512, 1, true },
    { "lean-full-15m", "15m", false, QP_BF16, 16, 256, 1, true },
};
enum { JOBS = sizeof jobs / sizeof *jobs, SHOWN_MOST = 16 };

static double loss_of(const qp_tensor *t)
{
    return t->storage == QP_F64 ? *(const double *)t->data : (double)*(const float *)t->data;
}

double bench_train_step(qp_ctx *c, qp_model *m, qp_optim *o, const qp_batch *b, int64_t number)
{
    qp_params *p = qp_model_params(m);
    qp_scope scope;
    qp_scope_open(&c->arena, &scope);
    qp_params_begin_step(p);
    qp_tensor *loss = qp_model_loss_late(c, m, b, NULL);
    qp_backward(c, loss, 1 / (double)b->targets_n);
    const double mean = loss_of(loss) / (double)b->targets_n;
    qp_params_end_grads(p);
    qp_scope_close(&c->arena, &scope);
    qp_optim_step(o, c, 1e-4, qp_clip_scale(qp_grad_norm(c, p), 1), number);
    return mean;
}

/* Weights, masters, gradients and moments: what no training can do without. */
static double held_bytes(qp_model *m, const qp_optim *o)
{
    const qp_params *p = qp_model_params(m);
    const size_t each = qp_storage_bytes(QP_F32, 1);
    size_t per_value = (2 + (size_t)o->type->states) * each; /* master, gradient, moments */
    if (p->value != p->master) per_value += qp_storage_bytes(p->compute, 1);
    return (double)(qp_model_weight_bytes(m) + (size_t)p->n * per_value);
}

enum { SECONDS, BEST, LOSS_FIRST, LOSS_LAST, WEIGHTS, HELD };
static void run(const void *arg, double *value)
{
    const job *j = arg;
    qp_err err = { 0 };
    qp_model *m = bench_model(&(bench_model_options){ .name = j->model,
                                                      .lora = j->lora,
                                                      .train_base = !j->lora,
                                                      .compute = j->compute,
                                                      .stored = QP_BF16 });
    qp_ctx c;
    qp_optim o = { 0 };
    qp_batch b = { 0 };
    const qp_optim_settings s = { 0.9, 0.999, 1e-8, 0 };
    double seconds[SHOWN_MOST];
    bench_check(qp_ctx_init(&c, qp_cpu_backend(), 0, &err), &err);
    c.recompute = j->lean;
    bench_check(qp_optim_init(&o, "adamw", &s, qp_model_params(m), &err), &err);
    bench_batch(&b, j->documents, j->rows, qp_model_config(m)->vocab_size);
    for (int i = -1; i < j->steps; i++) {
        const double start = qp_now(), loss = bench_train_step(&c, m, &o, &b, i + 2);
        if (i >= 0) seconds[i] = qp_now() - start;
        value[i < 0 ? LOSS_FIRST : LOSS_LAST] = loss;
    }
    value[SECONDS] = bench_median(seconds, j->steps);
    value[BEST] = seconds[0];
    value[WEIGHTS] = (double)qp_model_matmul_parameters(m);
    value[HELD] = held_bytes(m, &o);
}

static double tokens_of(const job *j) { return (double)(j->documents * j->rows); }
static double flops_of(const job *j, const bench_result *r)
{
    return (j->lora ? 4 : 6) * r->value[WEIGHTS] * tokens_of(j);
}

int bench_step_row(const char *name)
{
    for (int i = 0; i < JOBS; i++) {
        bench_result r;
        if (strcmp(jobs[i].row, name)) continue;
        if (!bench_child(run, &jobs[i], &r)) return 1;
        bench_print("tokens_per_s", tokens_of(&jobs[i]) / r.value[SECONDS]);
        bench_print("flops_per_s", flops_of(&jobs[i], &r) / r.value[SECONDS]);
        bench_print("peak_bytes", r.peak_rss);
        bench_print("held_bytes", r.value[HELD]);
        return 0;
    }
    return BENCH_OTHER;
}

int bench_step(void)
{
    static const qp_storage types[] = { QP_BF16, QP_F32 };
    static bench_result r[JOBS];
    static bool done[JOBS];
    double peak[QP_NCOMPUTE] = { 0 };
    int failed = 0;
    for (int i = 0; i < 2; i++) bench_peak(types[i]);
    for (int i = 0; i < JOBS; i++) {
        fprintf(stderr, "%s ", jobs[i].row);
        done[i] = bench_child(run, &jobs[i], &r[i]);
        failed |= !done[i];
    }
    fprintf(stderr, "\n");
    for (int i = 0; i < 2; i++) { /* the clock drifts: the best of before and after */
        peak[types[i]] = bench_peak(types[i]);
        printf("fastest %s product: %.0f GFLOP/s\n", qp_storages[types[i]].name,
               peak[types[i]] / 1e9);
    }
    printf("%-18s %-5s %9s %8s %8s %8s %6s %9s %9s   loss\n", "", "type", "tokens", "tokens/s",
           "s/step", "best", "MFU", "peak RSS", "held");
    for (int i = 0; i < JOBS; i++) {
        const job *j = &jobs[i];
        const double *v = r[i].value;
        if (!done[i])
            printf("%-18s failed\n", j->row);
        else
            printf("%-18s %-5s %3lld x %4lld %8.0f %8.3f %8.3f %5.1f%% %5.2f GiB %5.2f GiB   %.3f "
                   "to %.3f\n",
                   j->row, qp_storages[j->compute].name, (long long)j->documents,
                   (long long)j->rows, tokens_of(j) / v[SECONDS], v[SECONDS], v[BEST],
                   100 * flops_of(j, &r[i]) / v[SECONDS] / peak[j->compute],
                   r[i].peak_rss / (1 << 30), v[HELD] / (1 << 30), v[LOSS_FIRST], v[LOSS_LAST]);
    }
    return failed;
}
