/* Parts of a tensor along an axis, and tensors of such parts: what one reads forward, the other
   reads backward. A part is a window on the whole. */
#include "autograd/general.h"
#include "autograd/grad.h"
#include "autograd/profile.h"

enum { X };
typedef struct {
    qp_node node;
    int axis;
    int64_t start;
} window_node;

static void *at(const qp_tensor *t, void *data, int64_t element)
{
    return data ? (char *)data + qp_storage_bytes(t->storage, element) : NULL;
}

/* Loops over `size` places of `whole` along an axis. One operand is the whole's layout, the other
   that of the window by itself. */
static qp_loops window(const qp_tensor *whole, int axis, int64_t size, int whole_operand)
{
    qp_loops l = qp_loops_over(whole->ndim, whole->shape);
    l.shape[axis] = size;
    qp_strides(whole->ndim, whole->shape, l.stride[whole_operand]);
    qp_strides(whole->ndim, l.shape, l.stride[!whole_operand]);
    qp_loops_merge(&l);
    return l;
}

/* Elements of the whole before place `start` in its first row. */
static int64_t skipped(const qp_tensor *whole, int axis, int64_t start)
{
    int64_t stride[QP_MAX_DIMS];
    qp_strides(whole->ndim, whole->shape, stride);
    return start * stride[axis];
}

/* ---- Slice ---- */

static void slice_backward(qp_ctx *c, qp_node *node)
{
    const window_node *n = (window_node *)node;
    qp_tensor *x = node->in[X], *y = node->out;
    const qp_loops l = window(x, n->axis, y->shape[n->axis], 0);
    qp_grad_part g = qp_grad_open(c, x, x);
    if (g.beta == 0) qp_k(c, x)->zero(g.to, qp_numel(x)); /* beside the window */
    qp_k(c, x)->copy(at(x, g.to, skipped(x, n->axis, n->start)), g.beta, 1, y->grad, &l);
    qp_grad_close(c, &g);
}

static const qp_op slice_op = { "slice", slice_backward };

static int64_t cut(int64_t i, int64_t size)
{
    if (i < 0) i += size;
    return i < 0 ? 0 : i > size ? size : i;
}

qp_tensor *qp_slice(qp_ctx *c, qp_tensor *x, int axis, int64_t start, int64_t end)
{
    int64_t shape[QP_MAX_DIMS];
    QP_TIMED(c, &slice_op);
    qp_assert_compute("slice", x);
    axis = qp_axis("slice", x, axis);
    start = cut(start, x->shape[axis]);
    end = cut(end, x->shape[axis]);
    for (int d = 0; d < x->ndim; d++) shape[d] = x->shape[d];
    shape[axis] = end > start ? end - start : 0;
    const qp_loops l = window(x, axis, shape[axis], 1);
    qp_tensor *y = qp_new(c, x->storage, x->ndim, shape);
    window_node *n = qp_record(c, sizeof *n, &slice_op, y, QP_IN([X] = x));
    if (n) {
        n->axis = axis;
        n->start = start;
    }
    qp_k(c, x)->copy(y->data, 0, 1, at(x, x->data, skipped(x, axis, start)), &l);
    return y;
}

/* ---- Concat and stack ---- */

/* Places that a part takes along the axis: one where it has no such dimension. */
static int64_t places(const qp_tensor *part, const qp_tensor *whole, int axis)
{
    return part->ndim < whole->ndim ? 1 : part->shape[axis];
}

static void join_backward(qp_ctx *c, qp_node *node)
{
    const window_node *n = (window_node *)node;
    const qp_tensor *y = node->out;
    int64_t start = 0;
    for (int i = 0; i < node->count; i++) {
        qp_tensor *x = node->in[i];
        const int64_t size = places(x, y, n->axis);
        const qp_loops l = window(y, n->axis, size, 1);
        qp_grad_part g = qp_grad_open(c, x, x);
        if (g.to) qp_k(c, y)->copy(g.to, g.beta, 1, at(y, y->grad, skipped(y, n->axis, start)), &l);
        qp_grad_close(c, &g);
        start += size;
    }
}

static const qp_op concat_op = { "concat", join_backward }, stack_op = { "stack", join_backward };

static qp_tensor *join(qp_ctx *c, const qp_op *op, int count, qp_tensor *const *x, int axis,
                       int ndim, const int64_t *shape)
{
    int64_t start = 0;
    qp_tensor *y = qp_new(c, x[0]->storage, ndim, shape);
    window_node *n = qp_record(c, sizeof *n, op, y, count, x);
    if (n) n->axis = axis;
    for (int i = 0; i < count; i++) {
        const int64_t size = places(x[i], y, axis);
        const qp_loops l = window(y, axis, size, 0);
        qp_k(c, y)->copy(at(y, y->data, skipped(y, axis, start)), 0, 1, x[i]->data, &l);
        start += size;
    }
    return y;
}

/* x[i] must be like x[0], but along `free`. */
static void assert_alike(const char *op, int count, qp_tensor *const *x, int free, const char *rule)
{
    for (int i = 1; i < count; i++) {
        qp_assert_same_type(op, x[0], x[i]);
        bool same = x[i]->ndim == x[0]->ndim;
        for (int d = 0; same && d < x[0]->ndim; d++)
            same = d == free || x[i]->shape[d] == x[0]->shape[d];
        QP_ASSERT(same, "%s: tensor 0 is %s and tensor %d %s: %s", op, qp_str(x[0]), i,
                  qp_str(x[i]), rule);
    }
}

qp_tensor *qp_concat(qp_ctx *c, int count, qp_tensor *const *x, int axis)
{
    int64_t shape[QP_MAX_DIMS];
    QP_TIMED(c, &concat_op);
    QP_ASSERT(count >= 1, "concat: %d tensors: at least one is wanted", count);
    qp_assert_compute("concat", x[0]);
    axis = qp_axis("concat", x[0], axis);
    assert_alike("concat", count, x, axis, "sizes must be equal except along the axis");
    for (int d = 0; d < x[0]->ndim; d++) shape[d] = x[0]->shape[d];
    for (int i = 1; i < count; i++) shape[axis] += x[i]->shape[axis];
    return join(c, &concat_op, count, x, axis, x[0]->ndim, shape);
}

qp_tensor *qp_stack(qp_ctx *c, int count, qp_tensor *const *x, int axis)
{
    int64_t shape[QP_MAX_DIMS];
    QP_TIMED(c, &stack_op);
    QP_ASSERT(count >= 1, "stack: %d tensors: at least one is wanted", count);
    qp_assert_compute("stack", x[0]);
    const int ndim = x[0]->ndim + 1;
    QP_ASSERT(ndim <= QP_MAX_DIMS, "stack: %s: the highest rank is %d, and one axis is added",
              qp_str(x[0]), QP_MAX_DIMS);
    QP_ASSERT(axis >= -ndim && axis < ndim, "stack: %s: no new axis %d: %d to %d are possible",
              qp_str(x[0]), axis, -ndim, ndim - 1);
    if (axis < 0) axis += ndim;
    assert_alike("stack", count, x, -1, "all must have one shape");
    for (int d = 0; d < ndim; d++) shape[d] = d == axis ? count : x[0]->shape[d - (d > axis)];
    return join(c, &stack_op, count, x, axis, ndim, shape);
}
