/* The rows of unary.def as ops. */
#include "autograd/general.h"
#include "autograd/grad.h"
#include "autograd/profile.h"

enum { X };
typedef struct {
    qp_node node;
    double p, q;
} unary_node;

typedef void forward_fn(void *y, const void *x, double p, double q, int64_t n);
typedef void backward_fn(void *dx, double beta, const void *dy, const void *x, const void *y,
                         double p, double q, int64_t n);

static void backward(qp_ctx *c, qp_node *node, backward_fn *kernel)
{
    const unary_node *n = (unary_node *)node;
    const qp_tensor *y = node->out;
    qp_grad_part g = qp_grad_open(c, node->in[X], y);
    kernel(g.to, g.beta, y->grad, node->in[X]->data, y->data, n->p, n->q, qp_numel(y));
    qp_grad_close(c, &g);
}

static qp_tensor *forward(qp_ctx *c, qp_tensor *x, double p, double q, const qp_op *op,
                          forward_fn *kernel)
{
    QP_TIMED(c, op);
    qp_tensor *y = qp_like(c, x);
    unary_node *n = qp_record(c, sizeof *n, op, y, QP_IN([X] = x));
    if (n) {
        n->p = p;
        n->q = q;
    }
    kernel(y->data, x->data, p, q, qp_numel(x));
    return y;
}

#define UNARY_PQ(name, value, slope)                                                               \
    static void name##_backward(qp_ctx *c, qp_node *node)                                          \
    {                                                                                              \
        backward(c, node, qp_k(c, node->out)->name##_bwd);                                         \
    }                                                                                              \
    static const qp_op name##_op = { #name, name##_backward };                                     \
    static qp_tensor *name##_of(qp_ctx *c, qp_tensor *x, double p, double q)                       \
    {                                                                                              \
        qp_assert_compute(#name, x);                                                               \
        return forward(c, x, p, q, &name##_op, qp_k(c, x)->name##_fwd);                            \
    }
#define UNARY(name, value, slope)                                                                  \
    UNARY_PQ(name, value, slope)                                                                   \
    qp_tensor *qp_##name(qp_ctx *c, qp_tensor *x) { return name##_of(c, x, 0, 0); }
#include "autograd/unary.def"

qp_tensor *qp_pow(qp_ctx *c, qp_tensor *x, double power) { return pow_of(c, x, power, 0); }
qp_tensor *qp_clamp(qp_ctx *c, qp_tensor *x, double low, double high)
{
    return clamp_of(c, x, low, high);
}
qp_tensor *qp_affine(qp_ctx *c, qp_tensor *x, double scale, double shift)
{
    return affine_of(c, x, scale, shift);
}
