/* The last product and the loss in one op, because the N x V logits between them are huge. Only
   rows that have a target take part: a block of them at a time, for which the vocabulary passes in
   chunks. One pass over a block makes the loss and both gradients from one product of logits, since
   the softmax's denominator comes out of dx's sums: with p_v = exp(z_v - top),

     dx = sum over v of p_v w_v / sum of p_v - w_target,   dw = d^T x,  d = p / sum of p - one-hot

   (as attention does it, arXiv:2205.14135). For dw the block's p stays until the sum is known. The
   chunk does not depend on N, so neither do a row's bits. */
#include "autograd/grad.h"
#include "autograd/ops.h"
#include "autograd/profile.h"
#include "autograd/work.h"
#include <math.h>
#include <string.h>

enum { CHUNK = 1024, BLOCK = 512 };
enum { X, W };
typedef struct {
    qp_node node;
    const int32_t *targets;
    double *nll;
    int64_t chunk;
    bool late; /* nobody knows the loss yet */
} xent_node;

/* What a pass over the rows is to make. */
typedef struct {
    qp_ctx *c;
    const qp_tensor *x, *w;
    const int32_t *targets;
    int64_t chunk;
    double scale;  /* of the gradients */
    void *dx, *dw; /* dx is added to; NULL: not wanted */
    double beta_w; /* of the next block */
    double *nll;   /* of every row, or NULL */
    double loss;
} job;

/* A block's rows that have a target, and room for what is made of them: R sums, T values. */
typedef struct {
    int64_t n;
    int32_t *rows, *targets; /* where they stand in x */
    void *x, *scaled;        /* T (n, D); scaled: by what turns p into d */
    void *logits, *p;        /* R (n, chunk); T (n, chunk), or one behind another of all */
    void *top, *sum, *hit;   /* R (n): see xent_chunk */
    void *then;              /* R (chunks, n): top as p was made */
    void *dx;                /* R (n, D), sums */
    void *over, *less;       /* R (n): scale / sum of p, and scale (p_target - 1) */
    void *work;
} block;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Element i of an array of sums. */
static double get(const void *p, qp_storage sums, int64_t i)
{
    return sums == QP_F64 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}

static void set(void *p, qp_storage sums, int64_t i, double v)
{
    if (sums == QP_F64)
        ((double *)p)[i] = v;
    else
        ((float *)p)[i] = (float)v;
}

static void *sums(const job *j, int64_t n)
{
    return qp_arena_alloc(&j->c->arena, qp_sum_bytes(j->x, n));
}
static void *values(const job *j, int64_t n)
{
    return qp_arena_alloc(&j->c->arena, qp_storage_bytes(j->x->storage, n));
}

/* Room for blocks of n rows, from the open scope. */
static block block_new(const job *j, int64_t n)
{
    const int64_t d = qp_cols(j->x), v = qp_rows(j->w), most = least(j->chunk, v);
    block b = { .rows = qp_arena_alloc(&j->c->arena, (size_t)n * sizeof *b.rows),
                .targets = qp_arena_alloc(&j->c->arena, (size_t)n * sizeof *b.targets),
                .x = values(j, n * d),
                .logits = sums(j, n * most),
                .top = sums(j, n),
                .sum = sums(j, n),
                .hit = sums(j, n),
                .over = sums(j, n),
                .less = sums(j, n),
                .work = qp_arena_alloc(&j->c->arena, qp_matmul_work()) };
    if (j->dx) b.dx = sums(j, n * d);
    if (j->dx || j->dw) b.p = values(j, n * (j->dw ? v : most));
    if (j->dw) b.then = sums(j, n * ((v + j->chunk - 1) / j->chunk));
    if (j->dw) b.scaled = values(j, n * d);
    return b;
}

/* The next rows that have a target, from row i on; returns the row behind them. */
static int64_t block_fill(const job *j, block *b, int64_t i)
{
    const int64_t rows = qp_rows(j->x);
    for (b->n = 0; i < rows && b->n < BLOCK; i++) {
        if (j->targets[i] < 0) continue;
        b->rows[b->n] = (int32_t)i;
        b->targets[b->n++] = j->targets[i];
    }
    qp_k(j->c, j->x)->rows_take(b->x, j->x->data, b->rows, b->n, qp_cols(j->x));
    return i;
}

/* p of chunk v0, and top as it was made. */
static void *p_of(const job *j, const block *b, int64_t v0)
{
    return j->dw ? (char *)b->p + qp_storage_bytes(j->x->storage, v0 * b->n) : b->p;
}
static void *then_of(const job *j, const block *b, int64_t v0)
{
    return (char *)b->then + qp_sum_bytes(j->x, v0 / j->chunk * b->n);
}

/* Logits, their sums and p, chunk by chunk;  dx's sums += p w[chunk]. */
static void chunks(const job *j, const block *b)
{
    const qp_kernels *k = qp_k(j->c, j->x);
    const qp_storage sum = qp_sum_storage(j->x->storage);
    const int64_t d = qp_cols(j->x), v = qp_rows(j->w);
    for (int64_t v0 = 0; v0 < v; v0 += j->chunk) {
        const int64_t m = least(j->chunk, v - v0);
        void *p = p_of(j, b, v0);
        k->matmul_nt(b->logits, sum, 0, 1, b->x, j->w, v0, b->n, m, d, b->work);
        k->xent_chunk(b->top, b->sum, b->hit, p, b->dx, b->logits, b->targets, v0, b->n, m, d);
        if (j->dx) k->matmul_nn(b->dx, sum, v0 > 0, 1, p, j->w, v0, b->n, m, d, b->work);
        if (j->dw) memcpy(then_of(j, b, v0), b->top, qp_sum_bytes(j->x, b->n));
    }
}

/* Each row's loss, and what is left to multiply its gradients with. With `others` the sum of
   e^(z - top) but the target's, and far = top - z_target, the loss is log(e^-far + others) + far:
   in the form that neither overflows nor loses a small loss to rounding. */
static void losses(job *j, const block *b)
{
    const qp_storage type = qp_sum_storage(j->x->storage);
    for (int64_t i = 0; i < b->n; i++) {
        const double others = get(b->sum, type, i);
        const double far = get(b->top, type, i) - get(b->hit, type, i);
        const double loss = far > 0 ? log(exp(-far) + others) + far : log1p(others * exp(far));
        const double over = j->scale / (exp(-far) + others);
        set(b->over, type, i, over);
        set(b->less, type, i, -over * others);
        j->loss += loss;
        if (j->nll) j->nll[b->rows[i]] = loss;
    }
}

/* dw[chunk] += d^T x. The factor of a row goes to its x instead of its p: D values, not V. */
static void write_dw(job *j, const block *b)
{
    const qp_kernels *k = qp_k(j->c, j->x);
    const qp_storage sum = qp_sum_storage(j->x->storage);
    const int64_t d = qp_cols(j->x), v = qp_rows(j->w);
    k->rows_scale(b->scaled, b->x, b->over, b->n, d);
    for (int64_t v0 = 0; v0 < v; v0 += j->chunk) {
        const int64_t m = least(j->chunk, v - v0);
        void *p = p_of(j, b, v0), *part = (char *)j->dw + qp_storage_bytes(sum, v0 * d);
        k->xent_finish(p, then_of(j, b, v0), b->top, b->sum, b->targets, v0, b->n, m);
        k->matmul_tn(part, j->beta_w, 1, p, b->scaled, b->n, m, d, b->work);
    }
    j->beta_w = 1;
}

static const qp_op xent_op;

/* Each product is 2 D operations a logit; the softmax is a few more, which are not counted. */
static void count_work(const job *j, int64_t taken)
{
    if (!j->c->profile) return;
    const double product = 2 * (double)taken * (double)qp_numel(j->w);
    const double rows = (double)qp_storage_bytes(j->x->storage, taken * qp_cols(j->x));
    qp_op_work work = { product, (double)qp_value_bytes(j->w) + 2 * rows };
    if (j->dx) work.flop += product, work.bytes += 2 * rows;
    if (j->dw) work.flop += product, work.bytes += (double)qp_sum_bytes(j->x, qp_numel(j->w));
    qp_profile_work(j->c, &xent_op, j->dx || j->dw, work);
}

/* All rows that have a target, block by block. */
static void run(job *j)
{
    int64_t taken = 0;
    const int64_t rows = qp_rows(j->x);
    for (int64_t i = 0; i < rows; i++) taken += j->targets[i] >= 0;
    for (int64_t i = 0; j->nll && i < rows; i++) j->nll[i] = 0;
    count_work(j, taken);
    qp_scope scope;
    qp_scope_open(&j->c->arena, &scope);
    block b = block_new(j, least(taken, BLOCK));
    for (int64_t i = 0; taken > 0; taken -= b.n) {
        i = block_fill(j, &b, i);
        chunks(j, &b);
        losses(j, &b);
        if (j->dx)
            qp_k(j->c, j->x)
                ->xent_dx(j->dx, b.dx, j->w, b.rows, b.targets, b.over, b.less, b.n, qp_cols(j->x));
        if (j->dw) write_dw(j, &b);
    }
    qp_scope_close(&j->c->arena, &scope);
}

static void xent_backward(qp_ctx *c, qp_node *node)
{
    const xent_node *n = (xent_node *)node;
    qp_tensor *x = node->in[X], *w = node->in[W];
    const qp_storage type = qp_sum_storage(x->storage);
    qp_grad_part dx = qp_grad_open(c, x, x), dw = qp_grad_open_sums(c, w, type);
    job j = { c,
              x,
              w,
              n->targets,
              n->chunk,
              .scale = get(node->out->grad, type, 0),
              .dx = dx.to,
              .dw = dw.to,
              .beta_w = dw.beta,
              .nll = n->late ? n->nll : NULL };
    if (dx.to && dx.beta == 0) qp_k(c, x)->zero(dx.to, qp_numel(x));
    run(&j);
    if (dw.to && j.beta_w == 0) c->be->k[type]->zero(dw.to, qp_numel(w)); /* no row had a target */
    if (n->late) set(node->out->data, type, 0, j.loss);
    qp_grad_close(c, &dw);
    qp_grad_close(c, &dx);
}

static const qp_op xent_op = { "linear_xent", xent_backward };

static void check(const qp_tensor *x, const qp_tensor *w, const int32_t *targets, int64_t chunk)
{
    qp_assert_compute("linear_xent", x);
    QP_ASSERT(w->ndim == 2 && x->ndim >= 1 && qp_cols(x) == qp_cols(w),
              "linear_xent: x %s and w %s: w must have rank 2, and the last dimensions be equal",
              qp_str(x), qp_str(w));
    qp_assert_weight("linear_xent", w);
    QP_ASSERT(chunk > 0, "linear_xent: chunks of %lld rows: there must be at least one",
              (long long)chunk);
    for (int64_t i = 0; i < qp_rows(x); i++)
        QP_ASSERT(targets[i] < qp_rows(w),
                  "linear_xent: target %d at row %lld of w %s: it must be below w's rows, or "
                  "negative for none",
                  targets[i], (long long)i, qp_str(w));
}

static qp_tensor *record(qp_ctx *c, qp_tensor *x, qp_tensor *w, const int32_t *targets, double *nll,
                         int64_t chunk, bool late)
{
    check(x, w, targets, chunk);
    w = qp_apart(c, w, x);
    const qp_storage type = qp_sum_storage(x->storage);
    qp_tensor *loss = qp_new(c, type, 0, NULL);
    xent_node *n = qp_record(c, sizeof *n, &xent_op, loss, QP_IN([X] = x, [W] = w));
    job j = { c, x, w, targets, chunk, .nll = nll, .loss = NAN };
    if (!n || !late) {
        j.loss = 0;
        run(&j);
    }
    set(loss->data, type, 0, j.loss);
    if (n) {
        n->targets = targets;
        n->nll = nll;
        n->chunk = chunk;
        n->late = late;
    }
    return loss;
}

qp_tensor *qp_linear_xent_in_chunks(qp_ctx *c, qp_tensor *x, qp_tensor *w, const int32_t *targets,
                                    double *nll, int64_t chunk)
{
    QP_TIMED(c, &xent_op);
    return record(c, x, w, targets, nll, chunk, false);
}

qp_tensor *qp_linear_xent(qp_ctx *c, qp_tensor *x, qp_tensor *w, const int32_t *targets,
                          double *nll)
{
    QP_TIMED(c, &xent_op);
    return record(c, x, w, targets, nll, CHUNK, false);
}

qp_tensor *qp_linear_xent_late(qp_ctx *c, qp_tensor *x, qp_tensor *w, const int32_t *targets,
                               double *nll)
{
    QP_TIMED(c, &xent_op);
    return record(c, x, w, targets, nll, CHUNK, true);
}
