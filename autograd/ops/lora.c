#include "autograd/grad.h"
#include "autograd/ops.h"
#include "autograd/profile.h"
#include "autograd/work.h"
#include <string.h>

/* W is last: only qp_linear_lora has it. */
enum { X, A, B, W };
typedef struct {
    qp_node node;
    void *h; /* (N, R) = scale dropout(x) a^T */
    double scale, p;
    uint64_t key, stream;
} lora_node;

/* dropout(x), in `to` when there is any. */
static const void *dropped(qp_ctx *c, const qp_tensor *x, void *to, double p, uint64_t key,
                           uint64_t stream)
{
    if (!to) return x->data;
    qp_k(c, x)->dropout(to, 0, x->data, p, key, stream, qp_numel(x));
    return to;
}

/* With h = s dropout(x) a^T and dh = s dy b:
   db = dy^T h,  da = dh^T dropout(x),  dx = dropout'(dh a) [+ dy w],  [dw = dy^T x].
   w and a in one product: a's costs some steps of the depth, not another pass over dx. */
static void lora_backward(qp_ctx *c, qp_node *node)
{
    lora_node *l = (lora_node *)node;
    qp_tensor *x = node->in[X], *a = node->in[A], *b = node->in[B];
    qp_tensor *w = node->count > W ? node->in[W] : NULL;
    const qp_kernels *kernels = qp_k(c, x);
    const void *dy = node->out->grad;
    const int64_t n = qp_rows(x), m = qp_rows(b), r = qp_rows(a), k = qp_cols(x);
    const size_t bytes = qp_matmul_work(), h_bytes = qp_storage_bytes(x->storage, n * r);
    const size_t x_bytes = qp_value_bytes(x);
    const qp_storage sums = qp_sum_storage(x->storage);
    qp_grad_part dx = qp_grad_open(c, x, x), da = qp_grad_open_sums(c, a, sums),
                 db = qp_grad_open_sums(c, b, sums), dw = qp_grad_open_sums(c, w, sums);
    void *work = qp_arena_alloc(&c->arena, bytes), *dh = qp_arena_alloc(&c->arena, h_bytes);
    void *wide = l->p > 0 ? qp_arena_alloc(&c->arena, x_bytes) : NULL;

    kernels->matmul_nn(dh, x->storage, 0, l->scale, dy, b, 0, n, m, r, work);
    if (db.to) kernels->matmul_tn(db.to, db.beta, 1, dy, l->h, n, m, r, work);
    if (da.to)
        kernels->matmul_tn(da.to, da.beta, 1, dh, dropped(c, x, wide, l->p, l->key, l->stream), n,
                           r, k, work);
    if (dw.to) kernels->matmul_tn(dw.to, dw.beta, 1, dy, x->data, n, m, k, work);
    if (dx.to && w && !wide)
        kernels->matmul_nn_more(dx.to, x->storage, dx.beta, 1, dy, w, 0, dh, a->data, n, m, k, r,
                                work);
    else if (dx.to && !wide)
        kernels->matmul_nn(dx.to, x->storage, dx.beta, 1, dh, a, 0, n, r, k, work);
    if (dx.to && wide) {
        if (w) kernels->matmul_nn(dx.to, x->storage, dx.beta, 1, dy, w, 0, n, m, k, work);
        kernels->matmul_nn(wide, x->storage, 0, 1, dh, a, 0, n, r, k, work);
        kernels->dropout(dx.to, w ? 1 : dx.beta, wide, l->p, l->key, l->stream, n * k);
    }
    qp_arena_recycle(&c->arena, wide, x_bytes);
    qp_arena_recycle(&c->arena, dh, h_bytes);
    qp_arena_recycle(&c->arena, work, bytes);
    qp_grad_close(c, &dw);
    qp_grad_close(c, &db);
    qp_grad_close(c, &da);
    qp_grad_close(c, &dx);
    qp_arena_recycle(&c->arena, l->h, h_bytes);
}

static const qp_op lora_op = { "lora", lora_backward },
                   linear_lora_op = { "linear_lora", lora_backward };

static void check(const qp_op *op, const qp_tensor *y, const qp_tensor *x, const qp_tensor *a,
                  const qp_tensor *b, double dropout)
{
    const char *name = op->name;
    qp_assert_same_type(name, y, x);
    qp_assert_same_type(name, x, a);
    qp_assert_same_type(name, x, b);
    QP_ASSERT(x->ndim >= 1 && a->ndim == 2 && qp_cols(a) == qp_cols(x),
              "%s: x %s and a %s: a must have rank 2, and the last dimensions be equal", name,
              qp_str(x), qp_str(a));
    QP_ASSERT(b->ndim == 2 && qp_cols(b) == qp_rows(a),
              "%s: a %s and b %s: b must have rank 2, and as many columns as a has rows", name,
              qp_str(a), qp_str(b));
    QP_ASSERT(y->ndim >= 1 && qp_rows(y) == qp_rows(x) && qp_cols(y) == qp_rows(b),
              "%s: y %s, x %s and b %s: y must have x's rows, each of b's rows", name, qp_str(y),
              qp_str(x), qp_str(b));
    QP_ASSERT(y != x, "%s: y and x are the same %s: y must be a fresh output", name, qp_str(x));
    QP_ASSERT(dropout >= 0 && dropout < 1, "%s: dropout %g: it must be at least 0 and below 1",
              name, dropout);
}

/* Adds to y, or, with w, writes x w^T there as well: both in one product. */
static qp_tensor *lora(qp_ctx *c, const qp_op *op, qp_tensor *y, qp_tensor *x, qp_tensor *a,
                       qp_tensor *b, qp_tensor *w, double scale, double dropout)
{
    check(op, y, x, a, b, dropout);
    a = qp_apart(c, a, x);
    b = qp_apart(c, qp_apart(c, b, x), a);
    const int64_t n = qp_rows(x), m = qp_rows(b), r = qp_rows(a), k = qp_cols(x);
    const double p = c->recording ? dropout : 0;
    const uint64_t stream = p > 0 ? qp_rng_stream(&c->rng) : 0;
    const size_t bytes = qp_matmul_work(), h_bytes = qp_storage_bytes(x->storage, n * r);
    void *h = qp_arena_alloc(&c->arena, h_bytes), *work = qp_arena_alloc(&c->arena, bytes);
    void *wide = p > 0 ? qp_arena_alloc(&c->arena, qp_value_bytes(x)) : NULL;
    const void *xd = dropped(c, x, wide, p, c->rng.key, stream);
    qp_k(c, x)->matmul_nt(h, x->storage, 0, scale, xd, a, 0, n, r, k, work);
    if (w)
        qp_k(c, x)->matmul_nt_more(y->data, y->storage, 0, 1, x->data, w, 0, h, b->data, n, m, k, r,
                                   work);
    else
        qp_k(c, x)->matmul_nt(y->data, y->storage, 1, 1, h, b, 0, n, m, r, work);
    qp_arena_recycle(&c->arena, wide, qp_value_bytes(x));
    qp_arena_recycle(&c->arena, work, bytes);

    const bool shared = y->needs_grad; /* the base product's node has y already and gives it back */
    lora_node *l = w ? qp_record(c, sizeof *l, op, y, QP_IN([X] = x, [A] = a, [B] = b, [W] = w))
                     : qp_record(c, sizeof *l, op, y, QP_IN([X] = x, [A] = a, [B] = b));
    if (!l) {
        qp_arena_recycle(&c->arena, h, h_bytes);
        return y;
    }
    l->node.shares_out = shared;
    l->h = h;
    l->scale = scale;
    l->p = p;
    l->key = c->rng.key;
    l->stream = stream;
    return y;
}

qp_tensor *qp_lora(qp_ctx *c, qp_tensor *y, qp_tensor *x, qp_tensor *a, qp_tensor *b, double scale,
                   double dropout)
{
    QP_TIMED(c, &lora_op);
    return lora(c, &lora_op, y, x, a, b, NULL, scale, dropout);
}

qp_tensor *qp_linear_lora(qp_ctx *c, qp_tensor *x, qp_tensor *w, qp_tensor *a, qp_tensor *b,
                          double scale, double dropout)
{
    const qp_op *op = &linear_lora_op;
    QP_TIMED(c, op);
    QP_ASSERT(w->ndim == 2 && x->ndim >= 1 && qp_cols(x) == qp_cols(w),
              "%s: x %s and w %s: w must have rank 2, and the last dimensions be equal", op->name,
              qp_str(x), qp_str(w));
    qp_assert_weight(op->name, w);
    w = qp_apart(c, qp_apart(c, qp_apart(c, w, x), a), b);
    int64_t shape[QP_MAX_DIMS];
    memcpy(shape, x->shape, sizeof shape);
    shape[x->ndim - 1] = qp_rows(w);
    return lora(c, op, qp_new(c, x->storage, x->ndim, shape), x, a, b, w, scale, dropout);
}
