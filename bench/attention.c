/* Attention alone. As training meets it: causal documents; operations: 4 E for every pair of a
   query and a key it sees, for every head; backward 10 E. As decoding does: one query over a cache.
 */
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

typedef struct {
    const char *name;
    qp_storage type;
    int64_t n, documents, h, g, e;
    int threads; /* 0: all */
} job;

static const job jobs[] = {
    { "1B shape", QP_BF16, 2048, 1, 32, 8, 64, 1 },
    { "1B shape", QP_F32, 2048, 1, 32, 8, 64, 1 },
    { "1B shape", QP_BF16, 2048, 1, 32, 8, 64, 0 },
    { "1B shape", QP_BF16, 512, 1, 32, 8, 64, 0 },
    { "SmolLM2", QP_BF16, 2048, 1, 9, 3, 64, 0 },
    { "SmolLM2", QP_BF16, 2048, 4, 9, 3, 64, 0 },
    { "15M shape", QP_BF16, 4096, 16, 6, 6, 48, 0 },
    { "8B shape", QP_BF16, 2048, 1, 32, 8, 128, 0 },
};

static void run(const void *arg, double *value)
{
    const job *j = arg;
    const qp_kernels *k = qp_cpu_backend()->k[j->type];
    const int64_t n = j->n, h = j->h, g = j->g, e = j->e, q = n * h * e, kv = n * g * e;
    if (j->threads) omp_set_num_threads(j->threads);
    void *in[] = { bench_values(j->type, q, 1), bench_values(j->type, kv, 2),
                   bench_values(j->type, kv, 3), bench_values(j->type, q, 4) };
    void *out[] = { bench_values(j->type, q, 5), bench_values(j->type, q, 5),
                    bench_values(j->type, kv, 5), bench_values(j->type, kv, 5) };
    const size_t fwd = qp_attn_fwd_work(j->type, n, n, h, g, e),
                 bwd = qp_attn_bwd_work(j->type, n, n, h, g, e);
    void *work = qp_xaligned(64, fwd > bwd ? fwd : bwd),
         *lse = qp_xmalloc((size_t)(n * h) * sizeof(float));
    int32_t *first = qp_xmalloc((size_t)n * sizeof *first),
            *last = qp_xmalloc((size_t)n * sizeof *last);
    for (int64_t i = 0, each = n / j->documents; i < n; i++) {
        first[i] = (int32_t)(i / each * each);
        last[i] = (int32_t)i;
        value[2] += (double)(last[i] - first[i] + 1) * (double)(h * e);
    }
    value[0] = value[1] = INFINITY;
    for (double until = qp_now() + 0.7; qp_now() < until;) {
        const double start = qp_now();
        k->attn_fwd(out[0], lse, work, in[0], in[1], in[2], first, last, n, n, h, g, e);
        const double middle = qp_now();
        k->attn_bwd(out[1], 0, out[2], 0, out[3], 0, work, in[3], out[0], lse, in[0], in[1], in[2],
                    first, last, n, n, h, g, e);
        value[0] = fmin(value[0], middle - start);
        value[1] = fmin(value[1], qp_now() - middle);
    }
}

/* One query over n keys; so many caches in turn that none is still in the CPU's: value[0] is the
   mean time. */
enum { CACHE_BYTES = 128 << 20 };
static void decode(const void *arg, double *value)
{
    const job *j = arg;
    const qp_kernels *k = qp_cpu_backend()->k[j->type];
    const int64_t n = j->n, h = j->h, g = j->g, e = j->e, caches = CACHE_BYTES / (4 * n * g * e);
    const size_t bytes = qp_storage_bytes(j->type, n * g * e);
    if (j->threads) omp_set_num_threads(j->threads);
    char *keys = qp_xmalloc(caches * bytes), *values = qp_xmalloc(caches * bytes);
    void *q = bench_values(j->type, h * e, 1), *y = bench_values(j->type, h * e, 2),
         *some = bench_values(j->type, n * g * e, 3);
    void *work = qp_xaligned(64, qp_attn_fwd_work(j->type, 1, n, h, g, e));
    const int32_t first = 0, last = (int32_t)n - 1;
    for (int64_t c = 0; c < caches; c++) {
        memcpy(keys + c * bytes, some, bytes);
        memcpy(values + c * bytes, some, bytes);
    }
    const double start = qp_now();
    int64_t calls = 0;
    for (; qp_now() < start + 0.5; calls++) {
        const size_t at = calls % caches * bytes;
        k->attn_fwd(y, NULL, work, q, keys + at, values + at, &first, &last, 1, n, h, g, e);
    }
    value[0] = (qp_now() - start) / (double)calls;
    value[1] = 2 * (double)bytes / value[0];
}

static const job caches[] = {
    { "SmolLM2", QP_BF16, 512, 1, 9, 3, 64, 0 },    { "SmolLM2", QP_BF16, 2048, 1, 9, 3, 64, 0 },
    { "SmolLM2", QP_BF16, 8192, 1, 9, 3, 64, 0 },   { "1B shape", QP_BF16, 512, 1, 32, 8, 64, 0 },
    { "1B shape", QP_BF16, 2048, 1, 32, 8, 64, 0 }, { "1B shape", QP_BF16, 8192, 1, 32, 8, 64, 0 },
};

int bench_attention(void)
{
    printf("%-10s %-5s %9s %10s %7s   %-25s %s\n", "", "type", "rows", "heads", "threads",
           "forward", "backward");
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) {
        const job *j = &jobs[i];
        bench_result r;
        if (!bench_child(run, j, &r)) return 1;
        printf("%-10s %-5s %2lld x %4lld %2lld/%lld x %3lld %7d   %7.2f ms %4.0f GFLOP/s %9.2f ms "
               "%4.0f GFLOP/s\n",
               j->name, qp_storages[j->type].name, (long long)j->documents,
               (long long)(j->n / j->documents), (long long)j->h, (long long)j->g, (long long)j->e,
               j->threads ? j->threads : qp_cpu_count(), r.value[0] * 1e3,
               4 * r.value[2] / r.value[0] / 1e9, r.value[1] * 1e3,
               10 * r.value[2] / r.value[1] / 1e9);
    }
    for (size_t i = 0; i < sizeof caches / sizeof *caches; i++) {
        const job *j = &caches[i];
        bench_result r;
        if (!bench_child(decode, j, &r)) return 1;
        printf("%-10s %-5s  1 x %4lld %2lld/%lld x %3lld %7d   %7.3f ms %5.1f GB/s: one query\n",
               j->name, qp_storages[j->type].name, (long long)j->n, (long long)j->h,
               (long long)j->g, (long long)j->e, j->threads ? j->threads : qp_cpu_count(),
               r.value[0] * 1e3, r.value[1] / 1e9);
    }
    return 0;
}
