/* The last product and the loss in one op, because the N x V logits between them are huge. Only
   rows that have a target take part; the vocabulary passes in chunks. The chunk does not depend on
   N, so neither do a row's bits. */
#include "autograd/grad.h"
#include "autograd/ops.h"
#include "autograd/profile.h"
#include "autograd/work.h"
#include <math.h>

/* Logits of 2048 rows then take 8 MB: they stay in the last cache, and the products are large. */
enum { CHUNK = 1024 };
enum { X, W };
typedef struct {
    qp_node node;
    int64_t taken, chunk; /* rows with a target; rows of w at a time */
    int32_t *rows;        /* (taken) where they stand in x */
    int32_t *targets;     /* (taken) */
    void *x;              /* (taken, D) those rows */
    void *lse;            /* (taken) log of the softmax's denominator */
} xent_node;

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

/* With d = scale (softmax - one-hot) of a chunk:  dx += d w[chunk],  dw[chunk] = d^T x. */
static void chunks_backward(qp_ctx *c, const xent_node *n, double scale, void *dx_sum, void *dw,
                            double beta_w)
{
    const qp_tensor *x = n->node.in[X], *w = n->node.in[W];
    const qp_kernels *k = qp_k(c, x);
    const qp_storage sums = qp_sum_storage(x->storage);
    const int64_t rows = n->taken, d = qp_cols(x), v = qp_rows(w), most = least(n->chunk, v);
    const size_t logit_bytes = qp_sum_bytes(x, rows * most);
    const size_t grad_bytes = qp_storage_bytes(x->storage, rows * most);
    const size_t bytes = qp_matmul_work();
    void *logits = qp_arena_alloc(&c->arena, logit_bytes);
    void *grad = qp_arena_alloc(&c->arena, grad_bytes), *work = qp_arena_alloc(&c->arena, bytes);
    for (int64_t v0 = 0; v0 < v; v0 += n->chunk) {
        const int64_t m = least(n->chunk, v - v0);
        k->matmul_nt(logits, sums, 0, 1, n->x, w, v0, rows, m, d, work);
        k->xent_grad(grad, logits, n->lse, n->targets, scale, v0, rows, m);
        if (dx_sum) k->matmul_nn(dx_sum, sums, v0 > 0, 1, grad, w, v0, rows, m, d, work);
        if (!dw) continue;
        void *part = (char *)dw + qp_storage_bytes(sums, v0 * d);
        k->matmul_tn(part, beta_w, 1, grad, n->x, rows, m, d, work);
    }
    qp_arena_recycle(&c->arena, work, bytes);
    qp_arena_recycle(&c->arena, grad, grad_bytes);
    qp_arena_recycle(&c->arena, logits, logit_bytes);
}

/* dx of the rows taken, as sums, goes to its rows of dx; the others had no part in the loss. */
static void put_back(qp_ctx *c, const xent_node *n, void *dx, double beta_x, const void *dx_sum)
{
    const qp_tensor *x = n->node.in[X];
    const qp_kernels *k = qp_k(c, x);
    const size_t bytes = qp_storage_bytes(x->storage, n->taken * qp_cols(x));
    void *rounded = qp_arena_alloc(&c->arena, bytes);
    k->cast_in(rounded, 0, dx_sum, qp_sum_storage(x->storage), n->taken * qp_cols(x));
    k->rows_put(dx, beta_x, rounded, n->rows, n->taken, qp_rows(x), qp_cols(x));
    qp_arena_recycle(&c->arena, rounded, bytes);
}

/* What forward took and backward needs. */
static void give_back(qp_ctx *c, const xent_node *n, const qp_tensor *x)
{
    const size_t ids = (size_t)n->taken * sizeof *n->rows;
    qp_arena_recycle(&c->arena, n->lse, qp_sum_bytes(x, n->taken));
    qp_arena_recycle(&c->arena, n->x, qp_storage_bytes(x->storage, n->taken * qp_cols(x)));
    qp_arena_recycle(&c->arena, n->targets, ids);
    qp_arena_recycle(&c->arena, n->rows, ids);
}

static const qp_op xent_op;

/* Only rows with a target. Each product is 2 D operations a logit; the softmax is a few more, which
   are not counted. */
static void count_work(qp_ctx *c, bool backward, const xent_node *n, const qp_tensor *x,
                       const qp_tensor *w)
{
    if (!c->profile) return;
    const double product = 2 * (double)n->taken * (double)qp_numel(w);
    const double rows = (double)qp_storage_bytes(x->storage, n->taken * qp_cols(x));
    qp_op_work work = { product, (double)qp_value_bytes(w) + 2 * rows };
    if (backward && x->needs_grad) work.flop += product, work.bytes += 2 * rows;
    if (backward && w->needs_grad) {
        work.flop += product;
        work.bytes += (double)qp_sum_bytes(x, qp_numel(w));
    }
    qp_profile_work(c, &xent_op, backward, work);
}

static void xent_backward(qp_ctx *c, qp_node *node)
{
    xent_node *n = (xent_node *)node;
    qp_tensor *x = node->in[X], *w = node->in[W];
    count_work(c, true, n, x, w);
    const qp_storage sums = qp_sum_storage(x->storage);
    qp_grad_part dx = qp_grad_open(c, x, x), dw = qp_grad_open_sums(c, w, sums);
    const size_t bytes = dx.to ? qp_sum_bytes(x, n->taken * qp_cols(x)) : 0;
    void *dx_sum = dx.to ? qp_arena_alloc(&c->arena, bytes) : NULL;
    if (n->taken)
        chunks_backward(c, n, get(node->out->grad, sums, 0), dx_sum, dw.to, dw.beta);
    else if (dw.to && dw.beta == 0)
        c->be->k[sums]->zero(dw.to, qp_numel(w));
    if (dx.to) put_back(c, n, dx.to, dx.beta, dx_sum);
    qp_arena_recycle(&c->arena, dx_sum, bytes);
    qp_grad_close(c, &dw);
    qp_grad_close(c, &dx);
    give_back(c, n, x);
}

static const qp_op xent_op = { "linear_xent", xent_backward };

/* Which rows have a target. */
static void take_rows(qp_ctx *c, xent_node *n, const qp_tensor *x, const qp_tensor *w,
                      const int32_t *targets)
{
    const int64_t rows = qp_rows(x), d = qp_cols(x);
    for (int64_t i = 0; i < rows; i++) n->taken += targets[i] >= 0;
    n->rows = qp_arena_alloc(&c->arena, (size_t)n->taken * sizeof *n->rows);
    n->targets = qp_arena_alloc(&c->arena, (size_t)n->taken * sizeof *n->targets);
    for (int64_t i = 0, at = 0; i < rows; i++) {
        if (targets[i] < 0) continue;
        QP_ASSERT(targets[i] < qp_rows(w),
                  "linear_xent: target %d at row %lld of w %s: it must be below w's rows, or "
                  "negative for none",
                  targets[i], (long long)i, qp_str(w));
        n->rows[at] = (int32_t)i;
        n->targets[at++] = targets[i];
    }
    n->x = qp_arena_alloc(&c->arena, qp_storage_bytes(x->storage, n->taken * d));
    qp_k(c, x)->rows_take(n->x, x->data, n->rows, n->taken, d);
}

/* Each row's largest logit, sum of exp(logit - largest), and target's logit. */
static void chunks_forward(qp_ctx *c, const xent_node *n, const qp_tensor *x, const qp_tensor *w,
                           void *top, void *sum, void *hit)
{
    const qp_kernels *k = qp_k(c, x);
    const qp_storage sums = qp_sum_storage(x->storage);
    const int64_t rows = n->taken, d = qp_cols(x), v = qp_rows(w), most = least(n->chunk, v);
    const size_t logit_bytes = qp_sum_bytes(x, rows * most);
    const size_t bytes = qp_matmul_work();
    void *logits = qp_arena_alloc(&c->arena, logit_bytes);
    void *work = qp_arena_alloc(&c->arena, bytes);
    for (int64_t i = 0; i < rows; i++) {
        set(top, sums, i, -INFINITY);
        set(sum, sums, i, 0);
    }
    for (int64_t v0 = 0; v0 < v; v0 += n->chunk) {
        const int64_t m = least(n->chunk, v - v0);
        k->matmul_nt(logits, sums, 0, 1, n->x, w, v0, rows, m, d, work);
        k->xent_chunk(top, sum, hit, logits, n->targets, v0, rows, m);
    }
    qp_arena_recycle(&c->arena, work, bytes);
    qp_arena_recycle(&c->arena, logits, logit_bytes);
}

qp_tensor *qp_linear_xent_in_chunks(qp_ctx *c, qp_tensor *x, qp_tensor *w, const int32_t *targets,
                                    double *nll, int64_t chunk)
{
    QP_TIMED(c, &xent_op);
    qp_assert_compute("linear_xent", x);
    QP_ASSERT(w->ndim == 2 && x->ndim >= 1 && qp_cols(x) == qp_cols(w),
              "linear_xent: x %s and w %s: w must have rank 2, and the last dimensions be equal",
              qp_str(x), qp_str(w));
    qp_assert_weight("linear_xent", w);
    QP_ASSERT(chunk > 0, "linear_xent: chunks of %lld rows: there must be at least one",
              (long long)chunk);
    w = qp_apart(c, w, x);
    const qp_storage sums = qp_sum_storage(x->storage);
    qp_tensor *loss = qp_new(c, sums, 0, NULL);
    xent_node local = { .chunk = chunk }, *n = &local;
    xent_node *node = qp_record(c, sizeof *node, &xent_op, loss, QP_IN([X] = x, [W] = w));
    if (node) {
        node->chunk = chunk;
        n = node;
    }
    take_rows(c, n, x, w, targets);
    count_work(c, false, n, x, w);
    const size_t bytes = qp_sum_bytes(x, n->taken);
    n->lse = qp_arena_alloc(&c->arena, bytes);
    void *sum = qp_arena_alloc(&c->arena, bytes), *hit = qp_arena_alloc(&c->arena, bytes);
    void *top = n->lse;
    chunks_forward(c, n, x, w, top, sum, hit);

    double total = 0;
    for (int64_t i = 0; nll && i < qp_rows(x); i++) nll[i] = 0;
    for (int64_t i = 0; i < n->taken; i++) {
        const double log_sum = log(get(sum, sums, i)), largest = get(top, sums, i);
        const double loss_i = log_sum + (largest - get(hit, sums, i));
        set(n->lse, sums, i, largest + log_sum);
        total += loss_i;
        if (nll) nll[n->rows[i]] = loss_i;
    }
    set(loss->data, sums, 0, total);
    qp_arena_recycle(&c->arena, hit, bytes);
    qp_arena_recycle(&c->arena, sum, bytes);
    if (!node) give_back(c, n, x);
    return loss;
}

qp_tensor *qp_linear_xent(qp_ctx *c, qp_tensor *x, qp_tensor *w, const int32_t *targets,
                          double *nll)
{
    return qp_linear_xent_in_chunks(c, x, w, targets, nll, CHUNK);
}
