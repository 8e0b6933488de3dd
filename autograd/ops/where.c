#include "autograd/general.h"
#include "autograd/grad.h"
#include "autograd/profile.h"

enum { MASK, A, B };

/* Operand 0 is y's shape; then the mask, and a and b where they take part. */
static qp_loops where_loops(int ndim, const int64_t *shape, const qp_tensor *mask,
                            const qp_tensor *a, const qp_tensor *b)
{
    qp_loops l = qp_loops_over(ndim, shape);
    qp_loops_operand(&l, 0, ndim, shape);
    qp_loops_operand(&l, 1, mask->ndim, mask->shape);
    if (a) qp_loops_operand(&l, 2, a->ndim, a->shape);
    if (b) qp_loops_operand(&l, 3, b->ndim, b->shape);
    qp_loops_merge(&l);
    return l;
}

static void where_backward(qp_ctx *c, qp_node *node)
{
    const qp_tensor *y = node->out, *mask = node->in[MASK];
    const qp_loops l = where_loops(y->ndim, y->shape, mask, NULL, NULL);
    for (int side = A; side <= B; side++) {
        qp_grad_part g = qp_grad_open(c, node->in[side], y);
        if (g.to) qp_k(c, y)->where_bwd(g.to, g.beta, y->grad, mask->data, side == A, &l);
        qp_grad_close(c, &g);
    }
}

static const qp_op where_op = { "where", where_backward };

qp_tensor *qp_where(qp_ctx *c, qp_tensor *mask, qp_tensor *a, qp_tensor *b)
{
    int64_t shape[QP_MAX_DIMS];
    QP_TIMED(c, &where_op);
    qp_assert_same_type("where", a, b);
    qp_assert_same_type("where", mask, a);
    qp_tensor both = { .storage = a->storage };
    both.ndim = qp_broadcast("where", a, b, both.shape);
    const int ndim = qp_broadcast("where", mask, &both, shape);
    const qp_loops l = where_loops(ndim, shape, mask, a, b);
    qp_tensor *y = qp_new(c, a->storage, ndim, shape);
    if (mask->needs_grad) mask = qp_detach(c, mask);
    qp_record(c, sizeof(qp_node), &where_op, y, QP_IN([MASK] = mask, [A] = a, [B] = b));
    qp_k(c, a)->where_fwd(y->data, mask->data, a->data, b->data, &l);
    return y;
}
