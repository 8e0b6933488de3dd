#include "autograd/general.h"
#include "autograd/grad.h"
#include "autograd/profile.h"

enum { A, B };
typedef struct {
    qp_node node;
    double alpha; /* y = a + alpha*b */
} add_node;

static void add_backward(qp_ctx *c, qp_node *node)
{
    const qp_tensor *y = node->out;
    qp_grad_pass(c, node->in[A], y, y->grad, 1);
    qp_grad_pass(c, node->in[B], y, y->grad, ((add_node *)node)->alpha);
}

static const qp_op add_op = { "add", add_backward }, sub_op = { "sub", add_backward };

static qp_tensor *sum(qp_ctx *c, qp_tensor *a, qp_tensor *b, double alpha, const qp_op *op)
{
    int64_t shape[QP_MAX_DIMS];
    QP_TIMED(c, op);
    qp_assert_same_type(op->name, a, b);
    const int ndim = qp_broadcast(op->name, a, b, shape);
    const qp_loops l = qp_loops_binary(ndim, shape, a, b);
    qp_tensor *y = qp_new(c, a->storage, ndim, shape);
    add_node *n = qp_record(c, sizeof *n, op, y, QP_IN([A] = a, [B] = b));
    if (n) n->alpha = alpha;
    qp_k(c, a)->add(y->data, a->data, b->data, alpha, &l);
    return y;
}

qp_tensor *qp_add(qp_ctx *c, qp_tensor *a, qp_tensor *b) { return sum(c, a, b, 1, &add_op); }
qp_tensor *qp_sub(qp_ctx *c, qp_tensor *a, qp_tensor *b) { return sum(c, a, b, -1, &sub_op); }
