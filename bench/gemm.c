/* Products: what the libraries reach when called on one large product by each thread, and what our
 * tiles reach on the shapes of training. GFLOP/s, all threads; the share is of the fastest figure
 * of the type. */
#include "bench/bench.h"
#include "autograd/backend.h"
#include "autograd/work.h"
#include "base/buf.h"
#include "base/thread.h"
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NT, NN, TN, KINDS, ONE_THREAD = KINDS };
static const struct {
    const char *what;
    int64_t n, m, k;
} shapes[] = {
    { "1B, up", 64, 8192, 2048 },     { "1B, up", 128, 8192, 2048 },
    { "1B, up", 256, 8192, 2048 },    { "1B, up", 512, 8192, 2048 },
    { "1B, up", 2048, 8192, 2048 },   { "1B, down", 512, 2048, 8192 },
    { "1B, LoRA a", 512, 16, 2048 },  { "1B, LoRA b", 512, 2048, 16 },
    { "135M, up", 2048, 1536, 576 },  { "135M, down", 2048, 576, 1536 },
    { "135M, q", 512, 576, 576 },     { "135M, head", 512, 4096, 576 },
    { "15M, up", 4096, 768, 288 },    { "15M, q", 4096, 288, 288 },
    { "1B, one row", 1, 8192, 2048 }, { "135M, one row", 1, 1536, 576 },
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* The best of the calls in half a second, and at least three. */
static double fastest(void (*call)(const void *), const void *arg)
{
    double best = INFINITY, until = qp_now() + 0.5;
    for (int i = 0; i < 3 || qp_now() < until; i++) {
        double start = qp_now();
        call(arg);
        best = fmin(best, qp_now() - start);
    }
    return best;
}

typedef struct {
    const qp_kernels *k;
    qp_storage type;
    int kind, shape;
    void *x, *y, *z, *work;
    qp_tensor w;
} job;

static void multiply(const void *arg)
{
    const job *j = arg;
    int64_t n = shapes[j->shape].n, m = shapes[j->shape].m, k = shapes[j->shape].k;
    if (j->kind == NT)
        j->k->matmul_nt(j->y, j->type, 0, 1, j->x, &j->w, 0, n, m, k, j->work);
    else if (j->kind == NN)
        j->k->matmul_nn(j->x, j->type, 0, 1, j->y, &j->w, 0, n, m, k, j->work);
    else
        j->k->matmul_tn(j->z, 0, 1, j->y, j->x, n, m, k, j->work);
}

typedef struct {
    qp_storage type;
    int shape;
} cell;

static void ours(const void *arg, double *value)
{
    const cell *c = arg;
    int64_t n = shapes[c->shape].n, m = shapes[c->shape].m, k = shapes[c->shape].k;
    job j = { .k = qp_cpu_backend()->k[c->type], .type = c->type, .shape = c->shape };
    j.x = bench_values(c->type, n * k, 1);
    j.y = bench_values(c->type, n * m, 2);
    j.z = bench_values(QP_F32, m * k, 3);
    j.work = qp_xaligned(64, qp_matmul_work());
    j.w = (qp_tensor){
        .storage = c->type, .ndim = 2, .shape = { m, k }, .data = bench_values(c->type, m * k, 4)
    };
    for (j.kind = NT; j.kind < KINDS; j.kind++)
        if (n > 1 || j.kind == NT)
            value[j.kind] = 2e-9 * (double)(n * m * k) / fastest(multiply, &j);
    j.kind = NT;
    omp_set_num_threads(1);
    value[ONE_THREAD] = 2e-9 * (double)(n * m * k) / fastest(multiply, &j);
}

static double library(qp_storage type)
{
    bench_library_rate l;
    if (!bench_library(type, &l)) return 0;
    printf("%-5s %-24s one large product a thread %5.0f GFLOP/s%s\n", qp_storages[type].name,
           l.name, l.flops / 1e9, l.miscounts ? " (fails our self-test)" : "");
    return l.flops / 1e9;
}

int bench_gemm(void)
{
    static const qp_storage types[] = { QP_BF16, QP_F32 };
    double most[] = { library(QP_BF16), library(QP_F32) };
    static bench_result r[2][SHAPES];
    for (int t = 0; t < 2; t++)
        for (int s = 0; s < SHAPES; s++) {
            if (!bench_child(ours, &(cell){ types[t], s }, &r[t][s])) return 1;
            for (int k = 0; k < KINDS; k++) most[t] = fmax(most[t], r[t][s].value[k]);
        }
    printf("%-15s %-20s %-5s %11s %11s %11s %7s   GFLOP/s, share of the fastest; x w^T against one "
           "thread\n",
           "", "rows x out x in", "type", "x w^T", "dy w", "dy^T x", "threads");
    for (int s = 0; s < SHAPES; s++)
        for (int t = 0; t < 2; t++) {
            char shape[40];
            snprintf(shape, sizeof shape, "%lld x %lld x %lld", (long long)shapes[s].n,
                     (long long)shapes[s].m, (long long)shapes[s].k);
            printf("%-15s %-20s %-5s", shapes[s].what, shape, qp_storages[types[t]].name);
            for (int k = 0; k < KINDS; k++)
                if (r[t][s].value[k] > 0)
                    printf(" %6.0f %3.0f%%", r[t][s].value[k], 100 * r[t][s].value[k] / most[t]);
                else
                    printf("%12s", "");
            printf(" %7.2f\n", r[t][s].value[NT] / r[t][s].value[ONE_THREAD]);
        }
    return 0;
}

/* The slowest of training's bf16 products, thin ones of LoRA apart, and one by name. */
int bench_gemm_row(const char *name)
{
    double least = INFINITY;
    const char *slowest = "";
    if (strcmp(name, "products")) return BENCH_OTHER;
    for (int s = 0; s < SHAPES; s++) {
        bench_result r;
        if (shapes[s].n < 512 || shapes[s].m < 64 || shapes[s].k < 64) continue;
        if (!bench_child(ours, &(cell){ QP_BF16, s }, &r)) return 1;
        for (int k = 0; k < KINDS; k++)
            if (r.value[k] < least) {
                least = r.value[k];
                slowest = shapes[s].what;
            }
        if (shapes[s].n == 512 && shapes[s].m == 8192)
            bench_print("up_1b_per_s", r.value[NT] * 1e9);
    }
    bench_print("flops_per_s", least * 1e9);
    printf("slowest %s\n", slowest);
    return 0;
}
