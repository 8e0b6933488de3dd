/* Srivastava et al. 2014. The mask is never kept: (key, stream) make it again in backward. */
#include "autograd/ops.h"

enum { X };
typedef struct {
    qp_node node;
    double p;
    uint64_t key, stream;
} dropout_node;

static void dropout_backward(qp_ctx *c, qp_node *node)
{
    dropout_node *n = (dropout_node *)node;
    qp_tensor *x = node->in[X];
    double beta;
    void *dx = qp_grad_own(c, x, &beta);
    qp_k(c, x)->dropout(dx, beta, node->out->grad, n->p, n->key, n->stream, qp_numel(x));
}

static const qp_op dropout_op = { "dropout", dropout_backward };

qp_tensor *qp_dropout(qp_ctx *c, qp_tensor *x, double p)
{
    QP_ASSERT(p >= 0 && p < 1, "dropout: p %g of %s", p, qp_str(x));
    if (p == 0 || !c->recording) return x;
    const uint64_t stream = qp_rng_stream(&c->rng);
    qp_tensor *y = qp_like(c, x);
    dropout_node *n = qp_record(c, sizeof *n, &dropout_op, y, QP_IN([X] = x));
    if (n) {
        n->p = p;
        n->key = c->rng.key;
        n->stream = stream;
    }
    qp_k(c, x)->dropout(y->data, 0, x->data, p, c->rng.key, stream, qp_numel(x));
    return y;
}
