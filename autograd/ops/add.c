#include "autograd/ops.h"
#include <string.h>

enum { A, B };

static void add_backward(qp_ctx *c, qp_node *node)
{
    for (int i = A; i <= B; i++) {
        double beta;
        void *d = qp_grad_own(c, node->in[i], &beta);
        if (d) qp_k(c, node->out)->axpy(d, beta, node->out->grad, 1, qp_numel(node->out));
    }
}

static const qp_op add_op = { "add", add_backward };

qp_tensor *qp_add(qp_ctx *c, qp_tensor *a, qp_tensor *b)
{
    QP_ASSERT(a->storage == b->storage && a->ndim == b->ndim &&
                  !memcmp(a->shape, b->shape, (size_t)a->ndim * sizeof *a->shape),
              "add: a %s, b %s", qp_str(a), qp_str(b));
    qp_tensor *y = qp_like(c, a);
    qp_record(c, sizeof(qp_node), &add_op, y, QP_IN([A] = a, [B] = b));
    qp_k(c, a)->add(y->data, a->data, b->data, qp_numel(a));
    return y;
}
