/* The kernels work along rows: another axis is brought to the end and back. */
#include "autograd/general.h"
#include "autograd/grad.h"
#include "autograd/profile.h"

enum { X };

static void backward(qp_ctx *c, qp_node *node, bool log_too)
{
    qp_tensor *x = node->in[X], *y = node->out;
    qp_grad_part g = qp_grad_open(c, x, x);
    qp_k(c, y)->softmax_bwd(g.to, g.beta, y->grad, y->data, log_too, qp_rows(y), qp_cols(y));
    qp_grad_close(c, &g);
}
static void softmax_backward(qp_ctx *c, qp_node *node) { backward(c, node, false); }
static void log_softmax_backward(qp_ctx *c, qp_node *node) { backward(c, node, true); }

static const qp_op softmax_op = { "softmax", softmax_backward },
                   log_softmax_op = { "log_softmax", log_softmax_backward };

static qp_tensor *along(qp_ctx *c, qp_tensor *x, int axis, const qp_op *op)
{
    QP_TIMED(c, op);
    qp_assert_compute(op->name, x);
    axis = qp_axis(op->name, x, axis);
    const bool inner = axis != x->ndim - 1;
    if (inner) x = qp_transpose(c, x, axis, -1);
    qp_tensor *y = qp_like(c, x);
    qp_record(c, sizeof(qp_node), op, y, QP_IN([X] = x));
    qp_k(c, x)->softmax_fwd(y->data, x->data, op == &log_softmax_op, qp_rows(x), qp_cols(x));
    if (!inner) return y;
    qp_tensor *back = qp_transpose(c, y, axis, -1);
    if (!y->needs_grad) {
        qp_drop(c, x);
        qp_drop(c, y);
    }
    return back;
}

qp_tensor *qp_softmax(qp_ctx *c, qp_tensor *x, int axis) { return along(c, x, axis, &softmax_op); }
qp_tensor *qp_log_softmax(qp_ctx *c, qp_tensor *x, int axis)
{
    return along(c, x, axis, &log_softmax_op);
}
