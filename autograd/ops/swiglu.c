#include "autograd/ops.h"
#include <string.h>

enum { G, U };

static void swiglu_backward(qp_ctx *c, qp_node *node)
{
    qp_tensor *g = node->in[G], *u = node->in[U];
    double beta_g, beta_u;
    void *dg = qp_grad_own(c, g, &beta_g), *du = qp_grad_own(c, u, &beta_u);
    qp_k(c, g)->swiglu_bwd(dg, beta_g, du, beta_u, node->out->grad, g->data, u->data, qp_numel(g));
}

static const qp_op swiglu_op = { "swiglu", swiglu_backward };

qp_tensor *qp_swiglu(qp_ctx *c, qp_tensor *g, qp_tensor *u)
{
    QP_ASSERT(g->storage == u->storage && g->ndim == u->ndim &&
                  !memcmp(g->shape, u->shape, (size_t)g->ndim * sizeof *g->shape),
              "swiglu: g %s, u %s", qp_str(g), qp_str(u));
    qp_tensor *y = qp_like(c, g);
    qp_record(c, sizeof(qp_node), &swiglu_op, y, QP_IN([G] = g, [U] = u));
    qp_k(c, g)->swiglu_fwd(y->data, g->data, u->data, qp_numel(g));
    return y;
}
