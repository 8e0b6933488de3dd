/* Ops that move values: a formula says from where each element comes. */
#include "base/buf.h"
#include "tests/support/opcheck.h"
#include <stdlib.h>
#include <string.h>

#define RUN(name, call)                                                                            \
    static qp_tensor *run_##name(qp_ctx *c, qp_tensor **in, const op_case *k)                      \
    {                                                                                              \
        (void)k;                                                                                   \
        return call;                                                                               \
    }

/* A size, or an axis, counted from the end half the time. */
static int64_t either(op_case *k, int64_t i, int64_t size) { return op_coin(k) ? i : i - size; }
static int from_0(int axis, int ndim) { return axis < 0 ? axis + ndim : axis; }

/* ---- reshape, permute, transpose, expand ---- */

/* Neighbours joined, ones put in between, one size left open; axis: which. */
static void draw_reshape(op_case *k)
{
    op_shape(k, 0, 0, 5);
    const op_array *x = &k->in[0];
    for (int d = 0; d < x->ndim; d++) {
        if (k->ndim && op_below(k, 3) == 0)
            k->shape[k->ndim - 1] *= x->shape[d];
        else
            k->shape[k->ndim++] = x->shape[d];
        if (op_below(k, 4) == 0) k->shape[k->ndim++] = 1;
        if (k->ndim > 6) break;
    }
    int64_t n = 1;
    for (int d = 0; d < k->ndim; d++) n *= k->shape[d];
    if (n != op_array_size(x)) { /* not all were taken */
        k->ndim = 1;
        k->shape[0] = op_array_size(x);
    }
    k->axis = n && k->ndim && op_coin(k) ? (int)op_below(k, k->ndim) : -1;
}
static qp_tensor *run_reshape(qp_ctx *c, qp_tensor **in, const op_case *k)
{
    int64_t shape[QP_MAX_DIMS];
    memcpy(shape, k->shape, sizeof shape);
    if (k->axis >= 0) shape[k->axis] = -1;
    return qp_reshape(c, in[0], k->ndim, shape);
}
static op_array value_reshape(const op_case *k, const op_array *in)
{
    op_array y = op_array_new(k->ndim, k->shape);
    for (int64_t i = 0; i < op_array_size(&y); i++) y.v[i] = in->v[i];
    return y;
}
static const op_row row_reshape = { "reshape", .flags = OP_NO_REPEAT, .draw = draw_reshape,
                                    .run = run_reshape, .value = value_reshape };

static void draw_permute(op_case *k)
{
    op_shape(k, 0, 0, 5);
    const int n = k->in[0].ndim;
    for (int d = 0; d < n; d++) k->order[d] = d;
    for (int d = n - 1; d > 0; d--) {
        const int other = (int)op_below(k, d + 1), kept = k->order[d];
        k->order[d] = k->order[other];
        k->order[other] = kept;
    }
    for (int d = 0; d < n; d++) k->order[d] = (int)either(k, k->order[d], n);
}
static op_array permuted(const op_array *x, const int *order)
{
    int64_t shape[QP_MAX_DIMS], at[QP_MAX_DIMS], from[QP_MAX_DIMS];
    for (int d = 0; d < x->ndim; d++) shape[d] = x->shape[from_0(order[d], x->ndim)];
    op_array y = op_array_new(x->ndim, shape);
    for (int64_t i = 0; i < op_array_size(&y); i++) {
        op_array_at(&y, i, at);
        for (int d = 0; d < x->ndim; d++) from[from_0(order[d], x->ndim)] = at[d];
        y.v[i] = op_array_get(x, x->ndim, from);
    }
    return y;
}
RUN(permute, qp_permute(c, in[0], k->order))
static op_array value_permute(const op_case *k, const op_array *in)
{
    return permuted(in, k->order);
}
static const op_row row_permute = { "permute", .flags = OP_NO_REPEAT, .draw = draw_permute,
                                    .run = run_permute, .value = value_permute };

static void draw_transpose(op_case *k)
{
    op_shape(k, 0, 1, 5);
    k->axis = op_axis(k, 0);
    k->n[0] = op_axis(k, 0);
}
RUN(transpose, qp_transpose(c, in[0], k->axis, (int)k->n[0]))
static op_array value_transpose(const op_case *k, const op_array *in)
{
    int order[QP_MAX_DIMS];
    const int a = from_0(k->axis, in->ndim), b = from_0((int)k->n[0], in->ndim);
    for (int d = 0; d < in->ndim; d++) order[d] = d == a ? b : d == b ? a : d;
    return permuted(in, order);
}
static const op_row row_transpose = { "transpose", .flags = OP_NO_RANK_0 | OP_NO_REPEAT,
                                      .draw = draw_transpose, .run = run_transpose,
                                      .value = value_transpose };

static void draw_expand(op_case *k)
{
    if (k->special == OP_ANY) k->special = OP_LEFT;
    op_broadcast(k, 0, 1);
    op_array full = op_array_joint(&k->in[0], &k->in[1]);
    k->ndim = full.ndim;
    memcpy(k->shape, full.shape, sizeof full.shape);
    if (k->turn % 4 == 1 && k->ndim < 5) k->shape[k->ndim++] = k->in[0].ndim ? 1 : 3;
    if (k->in[0].ndim && k->turn % 4 == 1) k->ndim = full.ndim;
    free(full.v);
    k->count = 1;
}
RUN(expand, qp_expand(c, in[0], k->ndim, k->shape))
static op_array value_expand(const op_case *k, const op_array *in)
{
    op_array y = op_array_new(k->ndim, k->shape);
    int64_t at[QP_MAX_DIMS];
    for (int64_t i = 0; i < op_array_size(&y); i++) {
        op_array_at(&y, i, at);
        y.v[i] = op_array_get(in, y.ndim, at);
    }
    return y;
}
static const op_row row_expand = { "expand", .flags = OP_NO_REPEAT, .draw = draw_expand,
                                   .run = run_expand, .value = value_expand };

/* ---- slice, concat, stack ---- */

static void draw_slice(op_case *k)
{
    op_shape(k, 0, 1, 5);
    k->axis = op_axis(k, 0);
    const int64_t size = k->in[0].shape[from_0(k->axis, k->in[0].ndim)];
    k->n[0] = op_below(k, 2 * size + 3) - size - 1;
    k->n[1] = op_below(k, 2) ? op_below(k, 2 * size + 3) - size - 1 : size + 5;
}
RUN(slice, qp_slice(c, in[0], k->axis, k->n[0], k->n[1]))
static op_array value_slice(const op_case *k, const op_array *in)
{
    const int axis = from_0(k->axis, in->ndim);
    const int64_t size = in->shape[axis];
    int64_t shape[QP_MAX_DIMS], at[QP_MAX_DIMS], taken = 0, first = -1;
    for (int64_t i = 0; i < size; i++) { /* Python: those i that range(start, end) would have */
        const bool after = k->n[0] < 0 ? i - size >= k->n[0] : i >= k->n[0],
                   before = k->n[1] < 0 ? i - size < k->n[1] : i < k->n[1];
        if (after && before && first < 0) first = i;
        taken += after && before;
    }
    memcpy(shape, in->shape, sizeof shape);
    shape[axis] = taken;
    op_array y = op_array_new(in->ndim, shape);
    for (int64_t i = 0; i < op_array_size(&y); i++) {
        op_array_at(&y, i, at);
        at[axis] += first;
        y.v[i] = op_array_get(in, in->ndim, at);
    }
    return y;
}
static const op_row row_slice = { "slice", .flags = OP_NO_RANK_0 | OP_NO_REPEAT, .draw = draw_slice,
                                  .run = run_slice, .value = value_slice };

static void draw_concat(op_case *k)
{
    const int count = 1 + (int)op_below(k, 3);
    op_shape(k, 0, 1, 5);
    k->axis = op_axis(k, 0);
    for (int i = 1; i < count; i++) {
        int64_t *size = &k->in[i].shape[from_0(k->axis, k->in[0].ndim)];
        op_shape_is(k, i, k->in[0].ndim, k->in[0].shape);
        if (k->size == OP_SMALL && op_coin(k)) *size = op_below(k, 4);
    }
}
RUN(concat, qp_concat(c, k->count, in, k->axis))
static op_array value_concat(const op_case *k, const op_array *in)
{
    const int axis = from_0(k->axis, in->ndim);
    int64_t shape[QP_MAX_DIMS], at[QP_MAX_DIMS];
    memcpy(shape, in->shape, sizeof shape);
    for (int i = 1; i < k->count; i++) shape[axis] += in[i].shape[axis];
    op_array y = op_array_new(in->ndim, shape);
    for (int64_t i = 0; i < op_array_size(&y); i++) {
        int part = 0;
        op_array_at(&y, i, at);
        while (at[axis] >= in[part].shape[axis]) at[axis] -= in[part++].shape[axis];
        const op_array *x = &in[part];
        int64_t from = 0; /* op_array_get would repeat parts of size 1 */
        for (int d = 0; d < x->ndim; d++) from = from * x->shape[d] + at[d];
        y.v[i] = x->v[from];
    }
    return y;
}
static const op_row row_concat = { "concat", .flags = OP_NO_RANK_0 | OP_NO_REPEAT,
                                   .draw = draw_concat, .run = run_concat, .value = value_concat };

static void draw_stack(op_case *k)
{
    const int count = 1 + (int)op_below(k, 3);
    op_shape(k, 0, 0, 4);
    for (int i = 1; i < count; i++) op_shape_is(k, i, k->in[0].ndim, k->in[0].shape);
    const int ndim = k->in[0].ndim + 1;
    k->axis = (int)either(k, op_below(k, ndim), ndim);
}
RUN(stack, qp_stack(c, k->count, in, k->axis))
static op_array value_stack(const op_case *k, const op_array *in)
{
    const int ndim = in->ndim + 1, axis = from_0(k->axis, ndim);
    int64_t shape[QP_MAX_DIMS], at[QP_MAX_DIMS], from[QP_MAX_DIMS];
    for (int d = 0; d < ndim; d++) shape[d] = d == axis ? k->count : in->shape[d - (d > axis)];
    op_array y = op_array_new(ndim, shape);
    for (int64_t i = 0; i < op_array_size(&y); i++) {
        op_array_at(&y, i, at);
        for (int d = 0; d < in->ndim; d++) from[d] = at[d + (d >= axis)];
        y.v[i] = op_array_get(&in[at[axis]], in->ndim, from);
    }
    return y;
}
static const op_row row_stack = { "stack", .flags = OP_NO_REPEAT, .draw = draw_stack,
                                  .run = run_stack, .value = value_stack };

/* ---- where ---- */

static void draw_where(op_case *k)
{
    op_broadcast(k, 1, 2);
    op_array joint = op_array_joint(&k->in[1], &k->in[2]);
    op_shape_is(k, 0, joint.ndim, joint.shape);
    free(joint.v);
    if (op_coin(k) || k->size != OP_SMALL) { /* the mask is repeated over the rows */
        const int keep = (int)op_below(k, k->in[0].ndim + 1), drop = k->in[0].ndim - keep;
        for (int d = 0; d < keep; d++) k->in[0].shape[d] = k->in[0].shape[d + drop];
        k->in[0].ndim = keep;
    }
}
RUN(where, qp_where(c, in[0], in[1], in[2]))
static op_array value_where(const op_case *k, const op_array *in)
{
    (void)k;
    op_array sides = op_array_joint(&in[1], &in[2]), y = op_array_joint(&in[0], &sides);
    int64_t at[QP_MAX_DIMS];
    for (int64_t i = 0; i < op_array_size(&y); i++) {
        op_array_at(&y, i, at);
        const bool first = op_array_get(&in[0], y.ndim, at) != 0;
        y.v[i] = op_array_get(&in[first ? 1 : 2], y.ndim, at);
    }
    free(sides.v);
    return y;
}
static const op_row row_where = { "where", .values = { OP_MASK }, .draw = draw_where,
                                  .run = run_where, .value = value_where };

/* ---- gather, scatter_add ---- */

/* An index that is nowhere larger than x but along the axis. */
static void draw_index(op_case *k)
{
    op_shape(k, 0, 1, 5);
    k->axis = op_axis(k, 0);
    const op_array *x = &k->in[0];
    const int axis = from_0(k->axis, x->ndim);
    int64_t n = 1;
    k->ndim = x->ndim;
    for (int d = 0; d < x->ndim; d++) {
        const int64_t size = x->shape[d];
        const bool all = k->size != OP_SMALL || op_coin(k);
        k->shape[d] = all ? size : op_below(k, size + 1);
        if (d == axis && size && !all) k->shape[d] = op_below(k, 6);
        n *= k->shape[d];
    }
    k->index[0] = qp_xmalloc((size_t)(n + 1) * sizeof(int32_t));
    for (int64_t i = 0; i < n; i++) k->index[0][i] = (int32_t)op_below(k, x->shape[axis]);
}
static qp_tensor *index_of(qp_ctx *c, const op_case *k)
{
    return qp_index(c, k->ndim, k->shape, k->index[0]);
}
/* Where in x an element of the index points; its own place is put in `at`. */
static int64_t target(const op_case *k, const op_array *x, const op_array *index, int64_t i,
                      int64_t *at)
{
    int64_t to = 0;
    op_array_at(index, i, at);
    at[from_0(k->axis, x->ndim)] = k->index[0][i];
    for (int d = 0; d < x->ndim; d++) to = to * x->shape[d] + at[d];
    return to;
}
RUN(gather, qp_gather(c, in[0], k->axis, index_of(c, k)))
static op_array value_gather(const op_case *k, const op_array *in)
{
    op_array y = op_array_new(k->ndim, k->shape);
    int64_t at[QP_MAX_DIMS];
    for (int64_t i = 0; i < op_array_size(&y); i++) y.v[i] = in->v[target(k, in, &y, i, at)];
    return y;
}
static const op_row row_gather = { "gather", .flags = OP_NO_RANK_0 | OP_NO_REPEAT,
                                   .draw = draw_index, .run = run_gather, .value = value_gather };

static void draw_scatter_add(op_case *k)
{
    draw_index(k);
    op_shape_is(k, 1, k->ndim, k->shape);
}
RUN(scatter_add, qp_scatter_add(c, in[0], k->axis, index_of(c, k), in[1]))
static op_array value_scatter_add(const op_case *k, const op_array *in)
{
    op_array y = op_array_new(in->ndim, in->shape);
    int64_t at[QP_MAX_DIMS];
    for (int64_t i = 0; i < op_array_size(&y); i++) y.v[i] = in->v[i];
    for (int64_t i = 0; i < op_array_size(&in[1]); i++)
        y.v[target(k, in, &in[1], i, at)] += in[1].v[i];
    return y;
}
static const op_row row_scatter_add = { "scatter_add", .flags = OP_NO_RANK_0 | OP_NO_REPEAT,
                                        .draw = draw_scatter_add, .run = run_scatter_add,
                                        .value = value_scatter_add };

const op_row *const op_shapes[] = { &row_reshape,     &row_permute, &row_transpose,
                                    &row_expand,      &row_slice,   &row_concat,
                                    &row_stack,       &row_where,   &row_gather,
                                    &row_scatter_add, NULL };
