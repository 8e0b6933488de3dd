#include "autograd/grad.h"
#include "autograd/ops.h"
#include "autograd/profile.h"
#include "autograd/work.h"
#include <string.h>

enum { X, W };

static void linear_backward(qp_ctx *c, qp_node *node)
{
    qp_tensor *x = node->in[X], *w = node->in[W];
    const qp_tensor *y = node->out;
    const int64_t n = qp_rows(x), m = qp_rows(w), k = qp_cols(x);
    const size_t bytes = qp_matmul_work();
    /* f32 logits of a bf16 model: products take gradients of x's type. */
    const size_t narrow_bytes =
        y->storage == x->storage ? 0 : qp_storage_bytes(x->storage, qp_numel(y));
    void *narrow = narrow_bytes ? qp_arena_alloc(&c->arena, narrow_bytes) : NULL;
    if (narrow) qp_k(c, x)->cast_in(narrow, 0, y->grad, y->storage, qp_numel(y));
    const void *dy = narrow ? narrow : y->grad;
    void *work = qp_arena_alloc(&c->arena, bytes);
    double beta;
    void *dx = qp_grad(c, x, &beta); /* products write sums as well as x's type */
    if (dx) qp_k(c, x)->matmul_nn(dx, qp_grad_storage(x), beta, 1, dy, w, 0, n, m, k, work);
    qp_grad_part g = qp_grad_open_sums(c, w, qp_sum_storage(x->storage));
    if (g.to) qp_k(c, x)->matmul_tn(g.to, g.beta, 1, dy, x->data, n, m, k, work);
    qp_grad_close(c, &g);
    qp_arena_recycle(&c->arena, work, bytes);
    qp_arena_recycle(&c->arena, narrow, narrow_bytes);
}

static const qp_op linear_op = { "linear", linear_backward },
                   logits_op = { "logits", linear_backward };

/* A fresh y (.., M) of type `out` for x w^T. */
static qp_tensor *output(qp_ctx *c, const qp_tensor *x, const qp_tensor *w, qp_storage out,
                         const qp_op *op)
{
    qp_assert_compute(op->name, x);
    QP_ASSERT(w->ndim == 2 && x->ndim >= 1 && qp_cols(x) == qp_cols(w),
              "%s: x %s and w %s: w must have rank 2, and the last dimensions be equal", op->name,
              qp_str(x), qp_str(w));
    qp_assert_weight(op->name, w);
    int64_t shape[QP_MAX_DIMS];
    memcpy(shape, x->shape, sizeof shape);
    shape[x->ndim - 1] = qp_rows(w);
    return qp_new(c, out, x->ndim, shape);
}

static qp_tensor *product(qp_ctx *c, qp_tensor *x, qp_tensor *w, qp_storage out, const qp_op *op)
{
    QP_TIMED(c, op);
    qp_tensor *y = output(c, x, w, out, op);
    const size_t bytes = qp_matmul_work();
    void *work = qp_arena_alloc(&c->arena, bytes);
    qp_k(c, x)->matmul_nt(y->data, out, 0, 1, x->data, w, 0, qp_rows(x), qp_rows(w), qp_cols(x),
                          work);
    qp_arena_recycle(&c->arena, work, bytes);
    qp_record(c, sizeof(qp_node), op, y, QP_IN([X] = x, [W] = w));
    return y;
}

qp_tensor *qp_linear(qp_ctx *c, qp_tensor *x, qp_tensor *w)
{
    return product(c, x, w, x->storage, &linear_op);
}

void qp_linears(qp_ctx *c, qp_tensor *x, int count, qp_tensor *const *w, qp_tensor **y)
{
    QP_TIMED(c, &linear_op);
    QP_ASSERT(count >= 0 && count <= QP_NT_ALL, "linears: %d weights, at most %d", count,
              QP_NT_ALL);
    void *data[QP_NT_ALL];
    for (int i = 0; i < count; i++) {
        y[i] = output(c, x, w[i], x->storage, &linear_op);
        data[i] = y[i]->data;
    }
    const size_t bytes = qp_matmul_work();
    void *work = qp_arena_alloc(&c->arena, bytes);
    qp_k(c, x)->matmul_nt_all(data, count, x->data, (const qp_tensor *const *)w, qp_rows(x),
                              qp_cols(x), work);
    qp_arena_recycle(&c->arena, work, bytes);
    for (int i = 0; i < count; i++)
        qp_record(c, sizeof(qp_node), &linear_op, y[i], QP_IN([X] = x, [W] = w[i]));
}

qp_tensor *qp_logits(qp_ctx *c, qp_tensor *x, qp_tensor *w)
{
    return product(c, x, w, qp_sum_storage(x->storage), &logits_op);
}
