/* The loops of a training step against the memory they move: what each reaches of a plain copy's
 * rate. */
#include "autograd/backend.h"
#include "autograd/work.h"
#include "base/buf.h"
#include "base/rng.h"
#include "base/thread.h"
#include "bench/bench.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 4096, D = 2048, LEN = N * D, HEAD = 64, REPEATS = 15 };

/* Arrays of LEN values; the kernels read a, b, c and write y, z. */
typedef struct {
    const qp_kernels *k;
    qp_storage type;
    void *a, *b, *c, *y, *z, *rows, *work;
    int32_t *ids;
    qp_tensor w;
} arrays;

static const qp_adamw_args adamw_args = { 1e-4, 0.9, 0.999, 1e-8, 0.01, 0.1, 0.001, 1 };

static void axpy(const arrays *s) { s->k->axpy(s->y, 0, s->a, 1, LEN); }
static void add(const arrays *s)
{
    const qp_loops flat = { 1, { LEN }, { { 1 }, { 1 }, { 1 } } };
    s->k->add(s->y, s->a, s->b, 1, &flat);
}
static void dropout(const arrays *s) { s->k->dropout(s->y, 0, s->a, 0.1, 1, 2, LEN); }
static void swiglu_fwd(const arrays *s) { s->k->swiglu_fwd(s->y, s->a, s->b, LEN); }
static void swiglu_bwd(const arrays *s)
{
    s->k->swiglu_bwd(s->y, 0, s->z, 0, s->c, s->a, s->b, LEN);
}
static void rmsnorm_fwd(const arrays *s)
{
    s->k->rmsnorm_fwd(s->y, s->rows, s->a, &s->w, 1e-5, N, D);
}
static void rmsnorm_bwd(const arrays *s)
{
    s->k->rmsnorm_bwd(s->y, 0, NULL, 0, s->work, s->b, s->a, &s->w, s->rows, N, D);
}
static void rmsnorm_bwd_w(const arrays *s)
{
    s->k->rmsnorm_bwd(s->y, 0, s->rows, 0, s->work, s->b, s->a, &s->w, s->rows, N, D);
}
static void rope(const arrays *s)
{
    s->k->rope(s->y, 0, s->a, s->c, s->c, s->ids, 1, N, D / HEAD, HEAD);
}
static void embedding_fwd(const arrays *s) { s->k->embedding_fwd(s->y, &s->w, s->ids, N, D); }
static void embedding_bwd(const arrays *s) { s->k->embedding_bwd(s->z, 1, s->a, s->ids, N, D, N); }
static void xent_loss(const arrays *s)
{
    float *r = s->rows;
    s->k->xent_chunk(r, r + N, r + 2 * N, NULL, NULL, s->c, s->ids, 0, N, D, D);
}
static void xent_p(const arrays *s)
{
    float *r = s->rows;
    s->k->xent_chunk(r, r + N, r + 2 * N, s->y, NULL, s->c, s->ids, 0, N, D, D);
}
static void sumsq(const arrays *s)
{
    double out;
    s->k->sumsq(&out, s->work, s->c, LEN);
}
static void adamw(const arrays *s)
{
    s->k->adamw(s->c, s->z, s->b, s->type == QP_F32 ? s->c : s->y, s->a, &adamw_args, LEN);
}

/* Arrays read and written, in the compute type and in f32. */
static const struct {
    const char *name;
    void (*run)(const arrays *s);
    int in_type, in_f32;
} table[] = {
    { "copy (axpy)", axpy, 2, 0 },
    { "add", add, 3, 0 },
    { "dropout", dropout, 2, 0 },
    { "swiglu_fwd", swiglu_fwd, 3, 0 },
    { "swiglu_bwd", swiglu_bwd, 5, 0 },
    { "rmsnorm_fwd", rmsnorm_fwd, 2, 0 },
    { "rmsnorm_bwd, x", rmsnorm_bwd, 3, 0 },
    { "rmsnorm_bwd, x w", rmsnorm_bwd_w, 3, 0 },
    { "rope", rope, 2, 0 },
    { "embedding_fwd", embedding_fwd, 2, 0 },
    { "embedding_bwd", embedding_bwd, 1, 2 },
    { "xent_chunk, loss", xent_loss, 0, 1 },
    { "xent_chunk, p", xent_p, 1, 1 },
    { "sumsq", sumsq, 0, 1 },
    { "adamw", adamw, 0, 7 },
};

static void fill(float *p, size_t bytes)
{
    for (size_t i = 0; i < bytes / sizeof *p; i++) p[i] = (float)(i % 17) / 16 - 0.5f;
}

static void *filled(size_t bytes)
{
    float *p = qp_xmalloc(bytes);
    fill(p, bytes);
    return p;
}

static void measure(const void *arg, double *value)
{
    const qp_storage type = *(const qp_storage *)arg;
    const size_t bytes = (size_t)LEN * sizeof(float);
    arrays s = { .k = qp_cpu_backend()->k[type], .type = type };
    void **all[] = { &s.a, &s.b, &s.c, &s.y, &s.z, &s.rows };
    for (int i = 0; i < 6; i++) *all[i] = filled(bytes);
    s.ids = qp_xmalloc(N * sizeof *s.ids);
    for (int i = 0; i < N; i++) s.ids[i] = i % D;
    s.work = filled(bytes);
    s.w = (qp_tensor){ .storage = type, .ndim = 2, .shape = { N, D }, .data = s.a };
    printf("%-18s %8s %8s %8s\n", qp_storages[type].name, "ms", "GB/s", "of copy");
    double copy = 0;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        double least = 1e9;
        s.w.ndim = table[i].run == embedding_fwd ? 2 : 1;
        s.w.shape[0] = s.w.ndim == 2 ? N : D;
        fill(s.c, bytes); /* the loss leaves -inf where targets were */
        for (int r = 0; r < REPEATS; r++) {
            const double start = qp_now();
            table[i].run(&s);
            const double t = qp_now() - start;
            if (t < least) least = t;
        }
        const double moved = (double)LEN * (table[i].in_type * qp_storages[type].bytes +
                                            table[i].in_f32 * (int)sizeof(float));
        if (i == 0) copy = moved / least;
        printf("%-18s %8.2f %8.1f %7.0f%%\n", table[i].name, least * 1e3, moved / least / 1e9,
               100 * moved / least / copy);
    }
    value[0] = copy;
    for (int i = 0; i < 6; i++) free(*all[i]);
    free(s.ids);
    free(s.work);
}

int bench_ops(void)
{
    int failed = 0;
    for (qp_storage type = QP_F32; type <= QP_BF16; type++) {
        bench_result r;
        failed |= !bench_child(measure, &type, &r);
    }
    return failed;
}
