#include "autograd/loops.h"
#include "base/err.h"
#include <string.h>

qp_loops qp_loops_over(int ndim, const int64_t *shape)
{
    qp_loops l = { .ndim = ndim };
    if (ndim) memcpy(l.shape, shape, (size_t)ndim * sizeof *shape);
    return l;
}

void qp_strides(int ndim, const int64_t *shape, int64_t *stride)
{
    int64_t step = 1;
    for (int d = ndim - 1; d >= 0; d--) {
        stride[d] = step;
        step *= shape[d];
    }
}

void qp_loops_operand(qp_loops *l, int k, int ndim, const int64_t *shape)
{
    int64_t stride[QP_MAX_DIMS];
    const int lead = l->ndim - ndim;
    QP_ASSERT(lead >= 0, "an operand of %d dimensions in loops over %d", ndim, l->ndim);
    qp_strides(ndim, shape, stride);
    for (int d = 0; d < l->ndim; d++) {
        const bool repeated = d < lead || shape[d - lead] == 1;
        l->stride[k][d] = repeated ? 0 : stride[d - lead];
    }
}

qp_loops qp_loops_binary(int ndim, const int64_t *shape, const qp_tensor *a, const qp_tensor *b)
{
    qp_loops l = qp_loops_over(ndim, shape);
    qp_loops_operand(&l, 0, ndim, shape);
    qp_loops_operand(&l, 1, a->ndim, a->shape);
    qp_loops_operand(&l, 2, b->ndim, b->shape);
    qp_loops_merge(&l);
    return l;
}

void qp_assert_compute(const char *op, const qp_tensor *x)
{
    QP_ASSERT(x->storage < QP_NCOMPUTE, "%s: %s: the type must be f64, f32 or bf16", op, qp_str(x));
    QP_ASSERT(x->data || !qp_numel(x), "%s: the value of %s is %s", op, qp_str(x),
              x->is_param ? "not there yet: qp_params_seal makes it"
                          : "gone: use it before backward passes it");
}

void qp_assert_weight(const char *op, const qp_tensor *w)
{
    QP_ASSERT(w->storage <= QP_Q8_0, "%s: w %s: a weight has a floating or quantised type", op,
              qp_str(w));
    QP_ASSERT(!w->needs_grad || w->storage < QP_NCOMPUTE,
              "%s: w %s wants a gradient: its type must be f64, f32 or bf16", op, qp_str(w));
    if (w->is_param) qp_assert_compute(op, w);
}

void qp_assert_same_type(const char *op, const qp_tensor *a, const qp_tensor *b)
{
    qp_assert_compute(op, a);
    QP_ASSERT(a->storage == b->storage, "%s: %s and %s: both must have the same type; qp_cast one",
              op, qp_str(a), qp_str(b));
    qp_assert_compute(op, b);
}

int qp_axis(const char *op, const qp_tensor *x, int axis)
{
    QP_ASSERT(x->ndim, "%s: %s has no axis %d: rank 0 has none", op, qp_str(x), axis);
    QP_ASSERT(axis >= -x->ndim && axis < x->ndim, "%s: %s has no axis %d: %d to %d are there", op,
              qp_str(x), axis, -x->ndim, x->ndim - 1);
    return axis < 0 ? axis + x->ndim : axis;
}

/* Dimension d continues dimension `to` for every operand. */
static bool continues(const qp_loops *l, int to, int d)
{
    for (int k = 0; k < QP_MAX_OPERANDS; k++)
        if (l->stride[k][to] != l->stride[k][d] * l->shape[d]) return false;
    return true;
}

void qp_loops_merge(qp_loops *l)
{
    int n = 0; /* dimensions kept so far */
    for (int d = 0; d < l->ndim; d++) {
        if (l->shape[d] == 1) continue;
        const bool joins = n > 0 && continues(l, n - 1, d);
        if (!joins) n++;
        l->shape[n - 1] = l->shape[d] * (joins ? l->shape[n - 1] : 1);
        for (int k = 0; k < QP_MAX_OPERANDS; k++) l->stride[k][n - 1] = l->stride[k][d];
    }
    l->ndim = n;
}

qp_reduction qp_reduction_of(int ndim, const int64_t *shape, const bool *gone)
{
    int64_t stride[QP_MAX_DIMS];
    qp_reduction r = { 0 };
    qp_strides(ndim, shape, stride);
    for (int d = 0; d < ndim; d++) {
        qp_loops *l = gone[d] ? &r.reduced : &r.kept;
        l->shape[l->ndim] = shape[d];
        l->stride[0][l->ndim++] = stride[d];
    }
    qp_loops_merge(&r.kept);
    qp_loops_merge(&r.reduced);
    return r;
}

int qp_broadcast(const char *op, const qp_tensor *a, const qp_tensor *b, int64_t *shape)
{
    const int ndim = a->ndim > b->ndim ? a->ndim : b->ndim;
    for (int d = 1; d <= ndim; d++) {
        const int64_t m = d <= a->ndim ? a->shape[a->ndim - d] : 1,
                      n = d <= b->ndim ? b->shape[b->ndim - d] : 1;
        QP_ASSERT(m == n || m == 1 || n == 1,
                  "%s: %s and %s: sizes, counted from the last dimension, must be equal or 1", op,
                  qp_str(a), qp_str(b));
        shape[ndim - d] = m == 1 ? n : m;
    }
    return ndim;
}
