/* The rows of binary.def as ops. */
#include "autograd/general.h"
#include "autograd/grad.h"
#include "autograd/profile.h"

enum { A, B };

/* y, unfilled, of the shape that a and b are broadcast to, and the loops that fill it. */
static qp_tensor *output(qp_ctx *c, const char *op, const qp_tensor *a, const qp_tensor *b,
                         qp_loops *l)
{
    int64_t shape[QP_MAX_DIMS];
    qp_assert_same_type(op, a, b);
    const int ndim = qp_broadcast(op, a, b, shape);
    *l = qp_loops_binary(ndim, shape, a, b);
    return qp_new(c, a->storage, ndim, shape);
}

typedef void forward_fn(void *y, const void *a, const void *b, const qp_loops *l);
typedef void backward_fn(void *d, double beta, const void *dy, const void *a, const void *b,
                         const qp_loops *l);

static void backward(qp_ctx *c, qp_node *node, int side, backward_fn *kernel)
{
    const qp_tensor *y = node->out, *a = node->in[A], *b = node->in[B];
    const qp_loops l = qp_loops_binary(y->ndim, y->shape, a, b);
    qp_grad_part g = qp_grad_open(c, node->in[side], y);
    if (g.to) kernel(g.to, g.beta, y->grad, a->data, b->data, &l);
    qp_grad_close(c, &g);
}

#define BINARY(name, value, grad_a, grad_b)                                                        \
    static void name##_backward(qp_ctx *c, qp_node *node)                                          \
    {                                                                                              \
        backward(c, node, A, qp_k(c, node->out)->name##_bwd_a);                                    \
        backward(c, node, B, qp_k(c, node->out)->name##_bwd_b);                                    \
    }                                                                                              \
    static const qp_op name##_op = { #name, name##_backward };                                     \
    qp_tensor *qp_##name(qp_ctx *c, qp_tensor *a, qp_tensor *b)                                    \
    {                                                                                              \
        qp_loops l;                                                                                \
        QP_TIMED(c, &name##_op);                                                                   \
        qp_tensor *out = output(c, #name, a, b, &l);                                               \
        qp_record(c, sizeof(qp_node), &name##_op, out, QP_IN([A] = a, [B] = b));                   \
        qp_k(c, a)->name##_fwd(out->data, a->data, b->data, &l);                                   \
        return out;                                                                                \
    }
/* Steps have no slope: nothing is recorded. */
#define COMPARE(name, condition)                                                                   \
    static const qp_op name##_op = { #name, NULL };                                                \
    qp_tensor *qp_##name(qp_ctx *c, qp_tensor *a, qp_tensor *b)                                    \
    {                                                                                              \
        qp_loops l;                                                                                \
        QP_TIMED(c, &name##_op);                                                                   \
        qp_tensor *out = output(c, #name, a, b, &l);                                               \
        qp_k(c, a)->name##_fwd(out->data, a->data, b->data, &l);                                   \
        return out;                                                                                \
    }
#include "autograd/binary.def"
