#include "autograd/grad.h"
#include "autograd/ops.h"
#include "autograd/profile.h"
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
    qp_grad_part dx = qp_grad_open(c, x, x),
                 dw = qp_grad_open_sums(c, w, qp_sum_storage(x->storage));
    const size_t bytes = dw.to ? qp_rmsnorm_work(x->storage, qp_rows(x), qp_cols(x)) : 0;
    void *work = qp_arena_alloc(&c->arena, bytes); /* kernels allocate nothing: the plan sees it */
    qp_k(c, x)->rmsnorm_bwd(dx.to, dx.beta, dw.to, dw.beta, work, node->out->grad, x->data, w,
                            n->rstd, qp_rows(x), qp_cols(x));
    qp_arena_recycle(&c->arena, work, bytes);
    qp_grad_close(c, &dw);
    qp_grad_close(c, &dx);
    qp_arena_recycle(&c->arena, n->rstd, qp_sum_bytes(x, qp_rows(x)));
}

static const qp_op rmsnorm_op = { "rmsnorm", rmsnorm_backward };

qp_tensor *qp_rmsnorm(qp_ctx *c, qp_tensor *x, qp_tensor *w, double eps)
{
    QP_TIMED(c, &rmsnorm_op);
    qp_assert_compute("rmsnorm", x);
    QP_ASSERT(x->ndim >= 1 && w->ndim == 1 && qp_cols(w) == qp_cols(x),
              "rmsnorm: x %s and w %s: w must have rank 1 and the size of x's last dimension",
              qp_str(x), qp_str(w));
    qp_assert_weight("rmsnorm", w);
    w = qp_apart(c, w, x);
    qp_tensor *y = qp_like(c, x);
    rmsnorm_node *n = qp_record(c, sizeof *n, &rmsnorm_op, y, QP_IN([X] = x, [W] = w));
    if (n) n->rstd = qp_arena_alloc(&c->arena, qp_sum_bytes(x, qp_rows(x)));
    qp_k(c, x)->rmsnorm_fwd(y->data, n ? n->rstd : NULL, x->data, w, eps, qp_rows(x), qp_cols(x));
    return y;
}
