#include "autograd/ops.h"
#include "autograd/profile.h"

enum { X };

static void cast_backward(qp_ctx *c, qp_node *node)
{
    qp_tensor *x = node->in[X], *y = node->out;
    double beta;
    void *dx = qp_grad(c, x, &beta);
    qp_k(c, y)->cast_out(dx, qp_grad_storage(x), beta, y->grad, qp_numel(y));
}

static const qp_op cast_op = { "cast", cast_backward };

qp_tensor *qp_cast(qp_ctx *c, qp_tensor *x, qp_storage to)
{
    QP_TIMED(c, &cast_op);
    QP_ASSERT(to < QP_NCOMPUTE && x->storage <= QP_F16,
              "cast: %s to %s: from f64, f32, bf16 or f16 to one of the first three", qp_str(x),
              qp_storages[to].name);
    if (x->storage == to) return x;
    qp_tensor *y = qp_new(c, to, x->ndim, x->shape);
    qp_record(c, sizeof(qp_node), &cast_op, y, QP_IN([X] = x));
    qp_k(c, y)->cast_in(y->data, 0, x->data, x->storage, qp_numel(x));
    return y;
}
