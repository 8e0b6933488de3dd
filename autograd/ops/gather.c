/* Elements chosen by index along an axis, and added at an index: each is the other's backward. */
#include "autograd/general.h"
#include "autograd/grad.h"
#include "autograd/profile.h"
#include "autograd/work.h"

enum { X, INDEX, SRC };
typedef struct {
    qp_node node;
    int axis;
} gather_node;

/* Over the index's elements: where they lie, and where in x they would with index 0. x may be
   larger than the index beside the axis. */
static qp_loops index_loops(const qp_tensor *x, int axis, const qp_tensor *index, int64_t *step)
{
    qp_loops l = qp_loops_over(index->ndim, index->shape);
    qp_strides(index->ndim, index->shape, l.stride[0]);
    qp_strides(x->ndim, x->shape, l.stride[1]);
    *step = l.stride[1][axis];
    l.stride[1][axis] = 0;
    return l;
}

static void gather(qp_ctx *c, void *y, double beta, const void *from, const qp_tensor *x, int axis,
                   const qp_tensor *index)
{
    int64_t step;
    qp_loops l = index_loops(x, axis, index, &step);
    qp_loops_merge(&l);
    qp_k(c, x)->gather(y, beta, from, index->data, step, &l);
}

/* y += src at the index; y has x's shape. */
static void scatter(qp_ctx *c, void *y, const void *src, const qp_tensor *x, int axis,
                    const qp_tensor *index)
{
    qp_lines s = { .length = x->shape[axis], .count = index->shape[axis] };
    s.across = index_loops(x, axis, index, &s.step);
    s.index_step = s.across.stride[0][axis];
    s.across.shape[axis] = 1;
    qp_loops_merge(&s.across);
    const size_t bytes = qp_scatter_work(&s);
    void *work = qp_arena_alloc(&c->arena, bytes);
    qp_k(c, x)->scatter(y, work, src, index->data, &s);
    qp_arena_recycle(&c->arena, work, bytes);
}

static void assert_index(const char *op, const qp_tensor *x, int axis, const qp_tensor *index)
{
    const int32_t *at = index->data;
    bool fits = index->ndim == x->ndim;
    QP_ASSERT(index->storage == QP_I32, "%s: index %s: indices are i32, made by qp_index", op,
              qp_str(index));
    for (int d = 0; fits && d < x->ndim; d++) fits = d == axis || index->shape[d] <= x->shape[d];
    QP_ASSERT(fits,
              "%s: %s with index %s: the index must have as many dimensions and be nowhere "
              "larger but along axis %d",
              op, qp_str(x), qp_str(index), axis);
    for (int64_t i = 0; i < qp_numel(index); i++)
        QP_ASSERT(at[i] >= 0 && at[i] < x->shape[axis],
                  "%s: index %d at element %lld of %s: axis %d of %s has size %lld", op, at[i],
                  (long long)i, qp_str(index), axis, qp_str(x), (long long)x->shape[axis]);
}

static void gather_backward(qp_ctx *c, qp_node *node)
{
    qp_tensor *x = node->in[X];
    qp_grad_part g = qp_grad_open(c, x, x);
    if (g.beta == 0) qp_k(c, x)->zero(g.to, qp_numel(x));
    scatter(c, g.to, node->out->grad, x, ((gather_node *)node)->axis, node->in[INDEX]);
    qp_grad_close(c, &g);
}

static const qp_op gather_op = { "gather", gather_backward };

qp_tensor *qp_gather(qp_ctx *c, qp_tensor *x, int axis, qp_tensor *index)
{
    QP_TIMED(c, &gather_op);
    qp_assert_compute("gather", x);
    axis = qp_axis("gather", x, axis);
    assert_index("gather", x, axis, index);
    qp_tensor *y = qp_new(c, x->storage, index->ndim, index->shape);
    gather_node *n = qp_record(c, sizeof *n, &gather_op, y, QP_IN([X] = x, [INDEX] = index));
    if (n) n->axis = axis;
    gather(c, y->data, 0, x->data, x, axis, index);
    return y;
}

static void scatter_add_backward(qp_ctx *c, qp_node *node)
{
    qp_tensor *x = node->in[X], *src = node->in[SRC], *index = node->in[INDEX];
    const qp_tensor *y = node->out;
    qp_grad_pass(c, x, y, y->grad, 1);
    qp_grad_part g = qp_grad_open(c, src, src);
    if (g.to) gather(c, g.to, g.beta, y->grad, y, ((gather_node *)node)->axis, index);
    qp_grad_close(c, &g);
}

static const qp_op scatter_add_op = { "scatter_add", scatter_add_backward };

qp_tensor *qp_scatter_add(qp_ctx *c, qp_tensor *x, int axis, qp_tensor *index, qp_tensor *src)
{
    QP_TIMED(c, &scatter_add_op);
    qp_assert_same_type("scatter_add", x, src);
    axis = qp_axis("scatter_add", x, axis);
    assert_index("scatter_add", x, axis, index);
    bool same = src->ndim == index->ndim;
    for (int d = 0; same && d < src->ndim; d++) same = src->shape[d] == index->shape[d];
    QP_ASSERT(same, "scatter_add: index %s and source %s: both must have one shape", qp_str(index),
              qp_str(src));
    qp_tensor *y = qp_like(c, x);
    gather_node *n =
        qp_record(c, sizeof *n, &scatter_add_op, y, QP_IN([X] = x, [INDEX] = index, [SRC] = src));
    if (n) n->axis = axis;
    qp_k(c, x)->axpy(y->data, 0, x->data, 1, qp_numel(x));
    scatter(c, y->data, src->data, x, axis, index);
    return y;
}
