#include "autograd/general.h"
#include "autograd/grad.h"
#include "autograd/profile.h"

enum { X };

static void expand_backward(qp_ctx *c, qp_node *node)
{
    qp_grad_pass(c, node->in[X], node->out, node->out->grad, 1);
}

static const qp_op expand_op = { "expand", expand_backward };

static bool fits(const qp_tensor *x, const qp_tensor *to)
{
    for (int d = 1; d <= x->ndim && d <= to->ndim; d++) {
        const int64_t size = x->shape[x->ndim - d];
        if (size != 1 && size != to->shape[to->ndim - d]) return false;
    }
    return x->ndim <= to->ndim;
}

qp_tensor *qp_expand(qp_ctx *c, qp_tensor *x, int ndim, const int64_t *shape)
{
    QP_TIMED(c, &expand_op);
    qp_assert_compute("expand", x);
    qp_tensor *y = qp_new(c, x->storage, ndim, shape);
    QP_ASSERT(fits(x, y),
              "expand: %s to %s: sizes, counted from the last dimension, must be equal "
              "or 1 before",
              qp_str(x), qp_str(y));
    qp_loops l = qp_loops_over(ndim, shape);
    qp_loops_operand(&l, 0, ndim, shape);
    qp_loops_operand(&l, 1, x->ndim, x->shape);
    qp_loops_merge(&l);
    qp_record(c, sizeof(qp_node), &expand_op, y, QP_IN([X] = x));
    qp_k(c, x)->copy(y->data, 0, 1, x->data, &l);
    return y;
}
