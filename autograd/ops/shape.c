/* The same values in another shape or order. A copy, never a view: backward gives values back as
   it passes. */
#include "autograd/general.h"
#include "autograd/grad.h"
#include "autograd/profile.h"

enum { X };

static void reshape_backward(qp_ctx *c, qp_node *node)
{
    qp_tensor *x = node->in[X], *y = node->out;
    qp_tensor as_x = *y; /* dy in x's shape: the same row-major values */
    as_x.ndim = x->ndim;
    for (int d = 0; d < x->ndim; d++) as_x.shape[d] = x->shape[d];
    qp_grad_pass(c, x, &as_x, y->grad, 1);
}

static const qp_op reshape_op = { "reshape", reshape_backward };

qp_tensor *qp_reshape(qp_ctx *c, qp_tensor *x, int ndim, const int64_t *shape)
{
    int64_t full[QP_MAX_DIMS], known = 1;
    int open = -1;
    bool fits = true;
    QP_TIMED(c, &reshape_op);
    qp_assert_compute("reshape", x);
    QP_ASSERT(ndim >= 0 && ndim <= QP_MAX_DIMS, "reshape: %s to rank %d: the highest rank is %d",
              qp_str(x), ndim, QP_MAX_DIMS);
    for (int d = 0; d < ndim; d++) {
        full[d] = shape[d];
        QP_ASSERT(shape[d] >= 0 || (shape[d] == -1 && open < 0),
                  "reshape: %s: size %lld at dimension %d: only one size may be left open, as -1",
                  qp_str(x), (long long)shape[d], d);
        if (shape[d] < 0)
            open = d;
        else
            fits &= !__builtin_mul_overflow(known, shape[d], &known);
    }
    QP_ASSERT(fits, "reshape: %s: more values than can be addressed", qp_str(x));
    QP_ASSERT(open < 0 || known, "reshape: %s: beside a size of 0 any would fit: say which",
              qp_str(x));
    if (open >= 0) full[open] = qp_numel(x) / known;
    qp_tensor wanted = { .storage = x->storage, .ndim = ndim };
    for (int d = 0; d < ndim; d++) wanted.shape[d] = full[d];
    QP_ASSERT(qp_numel(&wanted) == qp_numel(x),
              "reshape: %s to %s: both must have as many elements", qp_str(x), qp_str(&wanted));
    qp_tensor *y = qp_new(c, x->storage, ndim, full);
    qp_record(c, sizeof(qp_node), &reshape_op, y, QP_IN([X] = x));
    qp_k(c, x)->axpy(y->data, 0, x->data, 1, qp_numel(x));
    return y;
}

typedef struct {
    qp_node node;
    int order[QP_MAX_DIMS];
} permute_node;

/* y's dimensions in order; operand `whole` is contiguous in them, the other is x's layout. */
static qp_loops permuted(const qp_tensor *x, const int *order, int whole)
{
    int64_t shape[QP_MAX_DIMS], stride[QP_MAX_DIMS];
    qp_strides(x->ndim, x->shape, stride);
    for (int d = 0; d < x->ndim; d++) shape[d] = x->shape[order[d]];
    qp_loops l = qp_loops_over(x->ndim, shape);
    qp_strides(x->ndim, shape, l.stride[whole]);
    for (int d = 0; d < x->ndim; d++) l.stride[!whole][d] = stride[order[d]];
    qp_loops_merge(&l);
    return l;
}

static void permute_backward(qp_ctx *c, qp_node *node)
{
    const permute_node *n = (permute_node *)node;
    qp_tensor *x = node->in[X];
    const qp_loops l = permuted(x, n->order, 1);
    qp_grad_part g = qp_grad_open(c, x, x);
    qp_k(c, x)->copy(g.to, g.beta, 1, node->out->grad, &l);
    qp_grad_close(c, &g);
}

static const qp_op permute_op = { "permute", permute_backward };

qp_tensor *qp_permute(qp_ctx *c, qp_tensor *x, const int *order)
{
    bool seen[QP_MAX_DIMS] = { false };
    int64_t shape[QP_MAX_DIMS];
    permute_node setting = { 0 };
    QP_TIMED(c, &permute_op);
    qp_assert_compute("permute", x);
    for (int d = 0; d < x->ndim; d++) {
        const int from = qp_axis("permute", x, order[d]);
        QP_ASSERT(!seen[from], "permute: %s: dimension %d appears twice; each must appear once",
                  qp_str(x), from);
        seen[from] = true;
        setting.order[d] = from;
        shape[d] = x->shape[from];
    }
    const qp_loops l = permuted(x, setting.order, 0);
    qp_tensor *y = qp_new(c, x->storage, x->ndim, shape);
    permute_node *n = qp_record(c, sizeof *n, &permute_op, y, QP_IN([X] = x));
    for (int d = 0; n && d < x->ndim; d++) n->order[d] = setting.order[d];
    qp_k(c, x)->copy(y->data, 0, 1, x->data, &l);
    return y;
}

qp_tensor *qp_transpose(qp_ctx *c, qp_tensor *x, int axis, int other)
{
    int order[QP_MAX_DIMS];
    for (int d = 0; d < x->ndim; d++) order[d] = d;
    axis = qp_axis("transpose", x, axis);
    other = qp_axis("transpose", x, other);
    order[axis] = other;
    order[other] = axis;
    return qp_permute(c, x, order);
}
