/* Does time grow faster than the model? LoRA steps in bf16 on one document, from 15 million weights
   to 8 billion, each against the operations it needs: 4 N a token for the matrices, and for
   attention, forward and backward, 14 E for every query and key of every head. Blocks are
   recomputed, which is not counted, where memory asks for it. */
#include "bench/bench.h"
#include "autograd/profile.h"
#include "base/thread.h"
#include "bench/models.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 512 };
typedef struct {
    const char *model;
    int64_t documents; /* of ROWS tokens: small models get several, for the same time a step */
    int steps;
} job;

static const job jobs[] = {
    { "15m", 4, 5 }, { "135m", 2, 5 }, { "1b", 1, 3 }, { "3b", 1, 2 }, { "8b", 1, 1 },
};
enum { JOBS = sizeof jobs / sizeof *jobs };

/* The share of a profiled step's time that attention takes. */
static double attention_share(const qp_profile *p)
{
    double all = 0, attention = 0;
    for (int i = 0; i < p->count; i++) {
        const qp_op_cost *k = &p->cost[i];
        const double s = k->forward.s + k->again.s + k->backward.s;
        all += s;
        if (!strcmp(k->op->name, "attention")) attention += s;
    }
    return attention / all;
}

/* Of frozen weights, and of adapters, activations and the system beside them: a tenth where blocks
   are recomputed, a quarter where they are not. */
static double need(const job *j, double beside)
{
    return (1 + beside) * bench_model_bytes(j->model, QP_BF16) + 1e9;
}

enum { SECONDS_TOKEN, FLOPS_TOKEN, FLOPS_SHARE, TIME_SHARE, RECOMPUTED };
static void run(const void *arg, double *value)
{
    const job *j = arg;
    qp_err err = { 0 };
    qp_ctx c;
    qp_optim o = { 0 };
    qp_batch b = { 0 };
    qp_profile profile = { 0 };
    const qp_optim_settings s = { 0.9, 0.999, 1e-8, 0 };
    double seconds[16];
    const bool recompute = need(j, 0.25) > bench_free_memory();
    qp_model *m = bench_model(&(bench_model_options){
        .name = j->model, .lora = true, .compute = QP_BF16, .stored = QP_BF16 });
    const qp_config *cfg = qp_model_config(m);
    bench_check(qp_ctx_init(&c, qp_cpu_backend(), 0, &err), &err);
    bench_check(qp_optim_init(&o, "adamw", &s, qp_model_params(m), &err), &err);
    bench_batch(&b, j->documents, ROWS, cfg->vocab_size);
    c.recompute = recompute;
    for (int i = -1; i < j->steps; i++) { /* the first does not count */
        const double start = qp_now();
        bench_train_step(&c, m, &o, &b, i + 2);
        if (i >= 0) seconds[i] = qp_now() - start;
    }
    c.profile = &profile;
    if (!recompute) bench_train_step(&c, m, &o, &b, j->steps + 2);
    c.profile = NULL;
    const double pairs = 14.0 * (ROWS + 1) / 2 * (double)(cfg->layers * cfg->heads * cfg->head_dim);
    value[FLOPS_TOKEN] = 4 * (double)qp_model_matmul_parameters(m) + pairs;
    value[FLOPS_SHARE] = pairs / value[FLOPS_TOKEN];
    value[TIME_SHARE] = recompute ? 0 : attention_share(&profile);
    value[RECOMPUTED] = recompute;
    value[SECONDS_TOKEN] = bench_median(seconds, j->steps) / (double)(j->documents * ROWS);
}

static bool fits(const job *j)
{
    const double least = need(j, 0.1), there = bench_free_memory();
    if (least < there) return true;
    fprintf(stderr, "growth-%s: left out: needs about %.1f GB of memory, %.1f are free\n", j->model,
            least / 1e9, there / 1e9);
    return false;
}

int bench_growth_row(const char *name)
{
    for (int i = 0; i < JOBS; i++) {
        bench_result r;
        if (strncmp(name, "growth-", 7) || strcmp(name + 7, jobs[i].model)) continue;
        if (!fits(&jobs[i])) return 3;
        if (!bench_child(run, &jobs[i], &r)) return 1;
        bench_print("seconds_a_token", r.value[SECONDS_TOKEN]);
        bench_print("flops_a_token", r.value[FLOPS_TOKEN]);
        bench_print("flops_per_s", r.value[FLOPS_TOKEN] / r.value[SECONDS_TOKEN]);
        bench_print("attention_flops_share", r.value[FLOPS_SHARE]);
        if (r.value[RECOMPUTED] > 0)
            bench_print("recomputed", 1);
        else
            bench_print("attention_time_share", r.value[TIME_SHARE]);
        return 0;
    }
    return BENCH_OTHER;
}

int bench_growth(void)
{
    int failed = 0;
    const double before = bench_peak(QP_BF16), peak = fmax(before, bench_peak(QP_BF16));
    printf("%-6s %12s %14s %9s %9s   %s\n", "", "ms a token", "GFLOP a token", "GFLOP/s", "of peak",
           "attention's share of operations, of time");
    for (int i = 0; i < JOBS; i++) {
        bench_result r;
        if (!fits(&jobs[i])) continue;
        if (!bench_child(run, &jobs[i], &r)) {
            printf("%-6s failed\n", jobs[i].model);
            failed = 1;
            continue;
        }
        const double *v = r.value, rate = v[FLOPS_TOKEN] / v[SECONDS_TOKEN];
        printf("%-6s %12.3f %14.3f %9.0f %8.0f%%   %.1f%%", jobs[i].model, v[SECONDS_TOKEN] * 1e3,
               v[FLOPS_TOKEN] / 1e9, rate / 1e9, 100 * rate / peak, 100 * v[FLOPS_SHARE]);
        if (v[RECOMPUTED] > 0)
            printf(", blocks recomputed");
        else
            printf(", %.1f%%", 100 * v[TIME_SHARE]);
        printf("\n");
        fflush(stdout);
    }
    return failed;
}
