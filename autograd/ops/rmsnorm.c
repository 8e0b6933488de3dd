#include "autograd/ops.h"
#include "autograd/work.h"

enum { X, W };
typedef struct {
    qp_node node;
    void *rstd; /* 1/rms of each row, from forward */
} rmsnorm_node;

static void rmsnorm_backward(qp_ctx *c, qp_node *node)
{
    rmsnorm_node *n = (rmsnorm_node *)node;
    qp_tensor *x = node->in[X], *w = node->in[W];
    double beta_x, beta_w; /* 0: first to write this gradient, 1: add to it */
    void *dx = qp_grad_own(c, x, &beta_x), *dw = qp_grad(c, w, &beta_w); /* NULL: not wanted */
    const size_t bytes = dw ? qp_rmsnorm_work(x->storage, qp_rows(x), qp_cols(x)) : 0;
    void *work = qp_arena_alloc(&c->arena, bytes); /* kernels allocate nothing: the plan sees it */
    qp_k(c, x)->rmsnorm_bwd(dx, beta_x, dw, beta_w, work, node->out->grad, x->data, w, n->rstd,
                            qp_rows(x), qp_cols(x));
    qp_arena_recycle(&c->arena, work, bytes);
    qp_arena_recycle(&c->arena, n->rstd, qp_sum_bytes(x, qp_rows(x)));
}

static const qp_op rmsnorm_op = { "rmsnorm", rmsnorm_backward };

qp_tensor *qp_rmsnorm(qp_ctx *c, qp_tensor *x, qp_tensor *w, double eps)
{
    QP_ASSERT(w->ndim == 1 && qp_cols(w) == qp_cols(x), "rmsnorm: x %s, w %s", qp_str(x),
              qp_str(w));
    qp_tensor *y = qp_like(c, x);
    rmsnorm_node *n = qp_record(c, sizeof *n, &rmsnorm_op, y, QP_IN([X] = x, [W] = w));
    if (n) n->rstd = qp_arena_alloc(&c->arena, qp_sum_bytes(x, qp_rows(x)));
    qp_k(c, x)->rmsnorm_fwd(y->data, n ? n->rstd : NULL, x->data, w, eps, qp_rows(x), qp_cols(x));
    return y;
}
