/* Srivastava et al. 2014. The mask is never kept: (key, stream) make it again in backward. */
#include "autograd/grad.h"
#include "autograd/ops.h"
#include "autograd/profile.h"

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
    qp_grad_part g = qp_grad_open(c, x, x);
    qp_k(c, x)->dropout(g.to, g.beta, node->out->grad, n->p, n->key, n->stream, qp_numel(x));
    qp_grad_close(c, &g);
}

static const qp_op dropout_op = { "dropout", dropout_backward };

qp_tensor *qp_dropout(qp_ctx *c, qp_tensor *x, double p)
{
    QP_TIMED(c, &dropout_op);
    qp_assert_compute("dropout", x);
    QP_ASSERT(p >= 0 && p < 1, "dropout: %s with p %g: it must be at least 0 and below 1",
              qp_str(x), p);
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
