#include "autograd/grad.h"
#include "autograd/ops.h"
#include "autograd/profile.h"
#include <string.h>

enum { G, U };

static void swiglu_backward(qp_ctx *c, qp_node *node)
{
    qp_tensor *g = node->in[G], *u = node->in[U];
    qp_grad_part dg = qp_grad_open(c, g, g), du = qp_grad_open(c, u, u);
    qp_k(c, g)->swiglu_bwd(dg.to, dg.beta, du.to, du.beta, node->out->grad, g->data, u->data,
                           qp_numel(g));
    qp_grad_close(c, &du);
    qp_grad_close(c, &dg);
}

static const qp_op swiglu_op = { "swiglu", swiglu_backward };

qp_tensor *qp_swiglu(qp_ctx *c, qp_tensor *g, qp_tensor *u)
{
    QP_TIMED(c, &swiglu_op);
    qp_assert_same_type("swiglu", g, u);
    QP_ASSERT(g->ndim == u->ndim && !memcmp(g->shape, u->shape, (size_t)g->ndim * sizeof *g->shape),
              "swiglu: g %s and u %s: the shapes must be equal", qp_str(g), qp_str(u));
    u = qp_apart(c, u, g);
    qp_tensor *y = qp_like(c, g);
    qp_record(c, sizeof(qp_node), &swiglu_op, y, QP_IN([G] = g, [U] = u));
    qp_k(c, g)->swiglu_fwd(y->data, g->data, u->data, qp_numel(g));
    return y;
}
