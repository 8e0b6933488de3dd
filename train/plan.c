#include "train/plan.h"
#include "autograd/work.h"
#include "base/h5.h"
#include "base/thread.h"
#include "train/metrics.h"
#include "train/usage.h"
#include <math.h>
#include <stdlib.h>

static void fill_batch(qp_batch *b, int64_t rows, int64_t documents)
{
    int64_t each = rows / documents;
    int32_t *zero = qp_xcalloc((size_t)each, sizeof *zero);
    for (int64_t d = 0; d < documents; d++)
        qp_batch_add(b, zero, zero, each); /* every row has a target */
    free(zero);
}

/* No budget: what the step would take is the question. Only its reservation may fail, where address
   space is limited; then the largest that fits, as nothing larger could run there either. */
static qp_status open_counting(qp_ctx *c, qp_err *err)
{
    enum { LEAST = 1 << 26 };
    size_t most = (size_t)1 << 42;
    qp_status rc = qp_ctx_init(c, qp_null_backend(), most, err);
    while (rc && most > LEAST) rc = qp_ctx_init(c, qp_null_backend(), most /= 2, err);
    /* With huge ones the kernel cleared 750 MB for a 1B model's step: 0.85 s. */
    if (!rc) qp_arena_small_pages(&c->arena);
    return rc;
}

qp_status qp_plan_memory(qp_model *m, const qp_optim *o, const qp_objective *objective,
                         int64_t rows, int64_t documents, int levels, bool recompute,
                         size_t program, qp_memory_plan *plan, qp_err *err)
{
    qp_params *p = qp_model_params(m);
    qp_storage master = qp_sum_storage(p->compute);
    size_t flat = qp_storage_bytes(master, p->n);
    *plan = (qp_memory_plan){
        .program = program,
        .frozen = qp_model_weight_bytes(m),
        .trained = 2 * flat + (p->compute == master ? 0 : qp_storage_bytes(p->compute, p->n)),
        .optimizer = (size_t)o->type->states * flat,
        .accumulation = (size_t)levels * flat,
        .saving = (size_t)(p->count * (1 + o->type->states)) * QP_H5_ARRAY_BYTES + QP_DIRECT_LEAST,
    };
    qp_batch b = { 0 };
    qp_ctx c;
    qp_scope scope;
    qp_status rc = open_counting(&c, err);
    if (rc) return rc;
    fill_batch(&b, rows, documents);
    c.recompute = recompute;
    qp_scope_open(&c.arena, &scope);
    qp_params_begin_step(p);
    qp_backward(&c, objective->loss(&c, m, &b), 1);
    qp_scope_close(&c.arena, &scope);
    plan->activations = c.arena.peak;
    plan->total = plan->program + plan->frozen + plan->trained + plan->optimizer +
                  plan->accumulation + plan->activations + plan->saving;
    qp_ctx_release(&c);
    qp_batch_release(&b);
    return QP_OK;
}

enum { COPIED = 1 << 25 }; /* values of a copy: 128 MB */

/* Rows of the largest square product: matrices of at most 8 MB. */
static int64_t largest(qp_storage compute) { return compute == QP_BF16 ? 2048 : 1024; }

/* Its three matrices, and work areas, which grow with the threads. */
static size_t peak_bytes(qp_storage compute)
{
    const int64_t n = largest(compute);
    return 3 * qp_storage_bytes(compute, n * n) + qp_matmul_work() + (1 << 20);
}

static size_t bandwidth_bytes(void) { return 2 * sizeof(float) * (size_t)COPIED + (1 << 20); }

void qp_plan_add_measuring(qp_memory_plan *plan, qp_storage compute, bool profile)
{
    size_t most = peak_bytes(compute);
    if (profile && bandwidth_bytes() > most) most = bandwidth_bytes();
    const size_t then = plan->program + plan->frozen + plan->trained + most;
    if (then <= plan->total) return;
    plan->measuring = then - plan->total;
    plan->total = then;
}

/* Seconds of the fastest of a few products of two size x size matrices. */
static double time_product(qp_ctx *c, qp_storage compute, int64_t size)
{
    qp_scope scope;
    double best = INFINITY;
    qp_scope_open(&c->arena, &scope);
    const int64_t shape[] = { size, size };
    qp_tensor *x = qp_new(c, compute, 2, shape), *w = qp_new(c, compute, 2, shape);
    c->be->k[compute]->zero(x->data, qp_numel(x));
    c->be->k[compute]->zero(w->data, qp_numel(w));
    for (int i = 0; i < 3; i++) {
        qp_scope inner;
        qp_scope_open(&c->arena, &inner);
        double start = qp_now();
        qp_linear(c, x, w);
        best = fmin(best, qp_now() - start);
        qp_scope_close(&c->arena, &inner);
    }
    qp_scope_close(&c->arena, &scope);
    return best;
}

/* Larger products until one takes long enough to be believed: a slow machine waits no longer than a
 * fast one. */
qp_status qp_plan_peak(const qp_backend *be, qp_storage compute, double *flops, qp_err *err)
{
    const double enough = 2e-3;
    qp_ctx c;
    qp_status rc = qp_ctx_init(&c, be, peak_bytes(compute), err);
    if (rc) return rc;
    c.recording = false;
    double seconds = 0;
    for (int64_t size = 128; seconds < enough && size <= largest(compute); size *= 2) {
        seconds = time_product(&c, compute, size);
        *flops = 2.0 * (double)size * (double)size * (double)size / seconds;
    }
    qp_ctx_release(&c);
    return QP_OK;
}

qp_status qp_plan_bandwidth(const qp_backend *be, double *bytes_per_s, qp_err *err)
{
    enum { TIMES = 5 };
    const double bytes = 2 * sizeof(float) * (double)COPIED;
    qp_ctx c;
    qp_status rc = qp_ctx_init(&c, be, bandwidth_bytes(), err);
    if (rc) return rc;
    qp_tensor *x = qp_new(&c, QP_F32, 1, (int64_t[]){ COPIED }), *y = qp_like(&c, x);
    double best = INFINITY;
    be->k[QP_F32]->zero(x->data, COPIED);
    for (int i = 0; i < TIMES; i++) { /* the first touches y's pages */
        const double start = qp_now();
        be->k[QP_F32]->axpy(y->data, 0, x->data, 1, COPIED);
        best = fmin(best, qp_now() - start);
    }
    *bytes_per_s = bytes / best;
    qp_ctx_release(&c);
    return QP_OK;
}

void qp_memory_text(qp_buf *out, const qp_memory_plan *m, bool recompute)
{
    const struct {
        const char *name;
        size_t bytes;
    } part[] = {
        { "program and data", m->program },
        { "frozen weights", m->frozen },
        { "trained weights and gradients", m->trained + m->accumulation },
        { "moments", m->optimizer },
        { recompute ? "activations, recomputed" : "activations", m->activations },
        { "saving", m->saving },
        { "measuring before", m->measuring },
    };
    char text[16];
    qp_bytes_text(text, (double)m->total);
    qp_buf_printf(out, "%s (", text);
    const char *between = "";
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        if (!part[i].bytes) continue;
        qp_bytes_text(text, (double)part[i].bytes);
        qp_buf_printf(out, "%s%s %s", between, part[i].name, text);
        between = ", ";
    }
    qp_buf_char(out, ')');
}
