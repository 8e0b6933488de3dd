/* Reductions over any axes. */
#include "autograd/general.h"
#include "autograd/grad.h"
#include "autograd/profile.h"
#include <string.h>

enum { X };
typedef struct {
    qp_node node;
    bool gone[QP_MAX_DIMS];
    double scale; /* sum: of every element; var: of every square */
    void *lse;    /* logsumexp's result in the type of sums */
} reduce_node;

/* What a reduction makes of x. */
typedef struct {
    bool gone[QP_MAX_DIMS];
    int64_t shape[QP_MAX_DIMS];
    int ndim;
    int64_t count; /* elements that become one */
} reduced;

static reduced reduce_axes(const char *op, const qp_tensor *x, qp_axes axes, bool keep)
{
    reduced r = { .count = 1 };
    qp_assert_compute(op, x);
    if (axes.count < 0) memset(r.gone, true, sizeof r.gone);
    for (int i = 0; i < axes.count; i++) {
        const int d = qp_axis(op, x, axes.axis[i]);
        QP_ASSERT(!r.gone[d], "%s: %s: axis %d is named twice; each axis goes once", op, qp_str(x),
                  d);
        r.gone[d] = true;
    }
    for (int d = 0; d < x->ndim; d++) {
        if (r.gone[d]) r.count *= x->shape[d];
        if (!r.gone[d] || keep) r.shape[r.ndim++] = r.gone[d] ? 1 : x->shape[d];
    }
    return r;
}

static reduce_node *record(qp_ctx *c, const qp_op *op, qp_tensor *y, qp_tensor *x, const reduced *r,
                           double scale)
{
    reduce_node *n = qp_record(c, sizeof *n, op, y, QP_IN([X] = x));
    if (!n) return NULL;
    memcpy(n->gone, r->gone, sizeof n->gone);
    n->scale = scale;
    return n;
}

/* ---- Sum and mean ---- */

/* dx = scale * dy, repeated: y's strides are 0 where x was reduced. */
static void sum_backward(qp_ctx *c, qp_node *node)
{
    const reduce_node *n = (reduce_node *)node;
    qp_tensor *x = node->in[X];
    int64_t kept[QP_MAX_DIMS];
    for (int d = 0; d < x->ndim; d++) kept[d] = n->gone[d] ? 1 : x->shape[d];
    qp_loops l = qp_loops_over(x->ndim, x->shape);
    qp_loops_operand(&l, 0, x->ndim, x->shape);
    qp_loops_operand(&l, 1, x->ndim, kept);
    qp_loops_merge(&l);
    qp_grad_part g = qp_grad_open(c, x, x);
    qp_k(c, x)->copy(g.to, g.beta, n->scale, node->out->grad, &l);
    qp_grad_close(c, &g);
}

static const qp_op sum_op = { "sum", sum_backward }, mean_op = { "mean", sum_backward };

static qp_tensor *sum(qp_ctx *c, const qp_op *op, qp_tensor *x, const reduced *r, double scale)
{
    const qp_reduction loops = qp_reduction_of(x->ndim, x->shape, r->gone);
    QP_TIMED(c, op);
    qp_tensor *y = qp_new(c, x->storage, r->ndim, r->shape);
    record(c, op, y, x, r, scale);
    qp_k(c, x)->sum(y->data, y->storage, 0, scale, x->data, &loops);
    return y;
}

qp_tensor *qp_sum(qp_ctx *c, qp_tensor *x, qp_axes axes, bool keep)
{
    const reduced r = reduce_axes("sum", x, axes, keep);
    return sum(c, &sum_op, x, &r, 1);
}

/* Of nothing: 0 * (1 / 0). */
qp_tensor *qp_mean(qp_ctx *c, qp_tensor *x, qp_axes axes, bool keep)
{
    const reduced r = reduce_axes("mean", x, axes, keep);
    return sum(c, &mean_op, x, &r, 1 / (double)r.count);
}

/* ---- Largest and smallest ---- */

static void max_backward(qp_ctx *c, qp_node *node)
{
    const reduce_node *n = (reduce_node *)node;
    const qp_tensor *y = node->out;
    qp_tensor *x = node->in[X];
    const qp_reduction loops = qp_reduction_of(x->ndim, x->shape, n->gone);
    qp_grad_part g = qp_grad_open(c, x, x);
    qp_k(c, x)->max_bwd(g.to, g.beta, y->grad, x->data, y->data, &loops);
    qp_grad_close(c, &g);
}

static const qp_op max_op = { "max", max_backward }, min_op = { "min", max_backward };

static qp_tensor *max(qp_ctx *c, const qp_op *op, qp_tensor *x, qp_axes axes, bool keep,
                      double sign)
{
    const reduced r = reduce_axes(op->name, x, axes, keep);
    const qp_reduction loops = qp_reduction_of(x->ndim, x->shape, r.gone);
    QP_TIMED(c, op);
    QP_ASSERT(r.count, "%s: %s over axes of size 0: of nothing there is none", op->name, qp_str(x));
    qp_tensor *y = qp_new(c, x->storage, r.ndim, r.shape);
    record(c, op, y, x, &r, sign);
    qp_k(c, x)->max_fwd(y->data, x->data, sign, &loops);
    return y;
}

qp_tensor *qp_max(qp_ctx *c, qp_tensor *x, qp_axes axes, bool keep)
{
    return max(c, &max_op, x, axes, keep, 1);
}
qp_tensor *qp_min(qp_ctx *c, qp_tensor *x, qp_axes axes, bool keep)
{
    return max(c, &min_op, x, axes, keep, -1);
}

qp_tensor *qp_argmax(qp_ctx *c, qp_tensor *x, int axis)
{
    const reduced r = reduce_axes("argmax", x, QP_AXES(axis), false);
    const qp_reduction loops = qp_reduction_of(x->ndim, x->shape, r.gone);
    QP_ASSERT(r.count > 0 && r.count <= INT32_MAX,
              "argmax: axis %d of %s: its size must be 1 to %d", axis, qp_str(x), INT32_MAX);
    qp_tensor *y = qp_new(c, QP_I32, r.ndim, r.shape);
    qp_k(c, x)->argmax(y->data, x->data, &loops);
    return y;
}

/* ---- Variance ---- */

static void var_backward(qp_ctx *c, qp_node *node)
{
    const reduce_node *n = (reduce_node *)node;
    qp_tensor *x = node->in[X];
    const qp_reduction loops = qp_reduction_of(x->ndim, x->shape, n->gone);
    qp_grad_part g = qp_grad_open(c, x, x);
    qp_k(c, x)->var_bwd(g.to, g.beta, 2 * n->scale, node->out->grad, x->data, &loops);
    qp_grad_close(c, &g);
}

static const qp_op var_op = { "var", var_backward };

qp_tensor *qp_var(qp_ctx *c, qp_tensor *x, qp_axes axes, bool keep, int correction)
{
    const reduced r = reduce_axes("var", x, axes, keep);
    const qp_reduction loops = qp_reduction_of(x->ndim, x->shape, r.gone);
    const double freedom = (double)r.count - correction;
    QP_TIMED(c, &var_op);
    qp_tensor *y = qp_new(c, x->storage, r.ndim, r.shape);
    record(c, &var_op, y, x, &r, 1 / freedom);
    /* As in PyTorch, a negative number of freedoms counts as none, but keeps its sign in the
       gradient. */
    qp_k(c, x)->var_fwd(y->data, 1 / (freedom > 0 ? freedom : 0), x->data, &loops);
    return y;
}

/* ---- Logarithm of a sum of powers ---- */

static void logsumexp_backward(qp_ctx *c, qp_node *node)
{
    const reduce_node *n = (reduce_node *)node;
    qp_tensor *x = node->in[X];
    const qp_reduction loops = qp_reduction_of(x->ndim, x->shape, n->gone);
    qp_grad_part g = qp_grad_open(c, x, x);
    qp_k(c, x)->logsumexp_bwd(g.to, g.beta, node->out->grad, x->data, n->lse, &loops);
    qp_grad_close(c, &g);
    qp_arena_recycle(&c->arena, n->lse, qp_sum_bytes(node->out, qp_numel(node->out)));
}

static const qp_op logsumexp_op = { "logsumexp", logsumexp_backward };

qp_tensor *qp_logsumexp(qp_ctx *c, qp_tensor *x, qp_axes axes, bool keep)
{
    const reduced r = reduce_axes("logsumexp", x, axes, keep);
    const qp_reduction loops = qp_reduction_of(x->ndim, x->shape, r.gone);
    QP_TIMED(c, &logsumexp_op);
    qp_tensor *y = qp_new(c, x->storage, r.ndim, r.shape);
    reduce_node *n = record(c, &logsumexp_op, y, x, &r, 1);
    if (n) n->lse = qp_arena_alloc(&c->arena, qp_sum_bytes(y, qp_numel(y)));
    qp_k(c, x)->logsumexp_fwd(y->data, n ? n->lse : NULL, x->data, &loops);
    return y;
}
