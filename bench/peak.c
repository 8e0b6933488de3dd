/* This machine's limits, against which everything else is a share: the fastest product of each type
   that is known here, whoever computes it: our tiles on squares, the library on one square a
   thread. */
#include "bench/bench.h"
#include "autograd/cpu/product.h"
#include "autograd/ops.h"
#include "base/buf.h"
#include "base/thread.h"
#include "bench/models.h"
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

static void squares(const void *arg, double *value)
{
    static const int64_t sizes[] = { 1024, 2048, 4096 };
    const qp_storage type = *(const qp_storage *)arg;
    qp_err err = { 0 };
    for (int s = 0; s < 3; s++) {
        qp_ctx c;
        const int64_t n = sizes[s];
        void *a = bench_values(type, n * n, 1), *b = bench_values(type, n * n, 2);
        bench_check(qp_ctx_init(&c, qp_cpu_backend(), 0, &err), &err);
        c.recording = false;
        qp_tensor *x = qp_wrap_data(&c, type, 2, (int64_t[]){ n, n }, a);
        qp_tensor *w = qp_wrap_data(&c, type, 2, (int64_t[]){ n, n }, b);
        for (double until = qp_now() + 0.5; qp_now() < until;) {
            qp_scope scope;
            qp_scope_open(&c.arena, &scope);
            const double start = qp_now();
            qp_linear(&c, x, w);
            value[0] = fmax(value[0], 2 * pow((double)n, 3) / (qp_now() - start));
            qp_scope_close(&c.arena, &scope);
        }
        qp_ctx_release(&c);
        free(a);
        free(b);
    }
}

static const qp_product *library_of(qp_storage type)
{
    return type == QP_BF16 ? qp_dnnl_bf16(false) : qp_blas_f32();
}

static void library(const void *arg, double *value)
{
    enum { SIDE = 1536 };
    const qp_product *p = library_of(*(const qp_storage *)arg);
    if (!p) return;
    value[1] = qp_product_fault(p) ? 1 : 0;
    const int threads = omp_get_max_threads();
    qp_tile *tile = qp_xcalloc((size_t)threads, sizeof *tile);
    for (int i = 0; i < threads; i++)
        tile[i] = (qp_tile){ .rows = SIDE,
                             .cols = SIDE,
                             .depth = SIDE,
                             .a = bench_values(p->in, SIDE * SIDE, 1),
                             .b = bench_values(p->in, SIDE * SIDE, 2),
                             .c = bench_values(p->out, SIDE * SIDE, 3),
                             .lda = SIDE,
                             .ldb = SIDE,
                             .ldc = SIDE,
                             .tb = true,
                             .work = qp_xaligned(64, QP_PACK_BYTES) };
    for (double until = qp_now() + 0.5; qp_now() < until;) {
        const double start = qp_now();
#pragma omp parallel
        p->multiply(&tile[omp_get_thread_num()]);
        value[0] = fmax(value[0], 2 * pow(SIDE, 3) * threads / (qp_now() - start));
    }
}

bool bench_library(qp_storage type, bench_library_rate *l)
{
    bench_result r;
    const qp_product *p = library_of(type);
    if (!p || !bench_child(library, &type, &r)) return false;
    *l = (bench_library_rate){ p->name, r.value[0], r.value[1] != 0 };
    return true;
}

double bench_peak(qp_storage type)
{
    static double best[QP_NCOMPUTE];
    bench_result r;
    bench_library_rate l;
    if (bench_child(squares, &type, &r)) best[type] = fmax(best[type], r.value[0]);
    if (bench_library(type, &l) && !l.miscounts) best[type] = fmax(best[type], l.flops);
    return best[type];
}

/* A sum over half a GiB: what no cache holds. The best of one second. */
static void reading(const void *arg, double *value)
{
    enum { WORDS = 1 << 26 };
    (void)arg;
    uint64_t *x = qp_xaligned(64, WORDS * sizeof *x), sum = 0;
#pragma omp parallel for
    for (int64_t i = 0; i < WORDS; i++) x[i] = (uint64_t)i;
    for (double until = qp_now() + 1; qp_now() < until;) {
        const double start = qp_now();
#pragma omp parallel for simd reduction(+ : sum)
        for (int64_t i = 0; i < WORDS; i++) sum += x[i];
        value[0] = fmax(value[0], WORDS * sizeof *x / (qp_now() - start));
    }
    value[1] = (double)sum; /* so that it is computed */
    free(x);
}

double bench_bandwidth(void)
{
    static double best;
    bench_result r;
    if (bench_child(reading, NULL, &r)) best = fmax(best, r.value[0]);
    return best;
}

int bench_peak_row(const char *name)
{
    if (strcmp(name, "peak")) return BENCH_OTHER;
    bench_print("bf16", bench_peak(QP_BF16));
    bench_print("f32", bench_peak(QP_F32));
    bench_print("memory", bench_bandwidth());
    return 0;
}
