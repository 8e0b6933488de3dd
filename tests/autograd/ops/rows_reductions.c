/* Reductions: of every slice over the named axes, a formula makes one number. */
#include "base/buf.h"
#include "tests/support/opcheck.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_gone(const op_case *k, int d)
{
    bool gone = k->axes.count < 0;
    for (int i = 0; i < k->axes.count; i++)
        gone |= k->axes.axis[i] == d || k->axes.axis[i] + k->in[0].ndim == d;
    return gone;
}

static int64_t reduced_size(const op_case *k)
{
    int64_t n = 1;
    for (int d = 0; d < k->in[0].ndim; d++) n *= is_gone(k, d) ? k->in[0].shape[d] : 1;
    return n;
}

static void draw(op_case *k)
{
    const int most = 5;
    op_shape(k, 0, 0, most);
    const int ndim = k->in[0].ndim;
    k->flag[0] = op_coin(k); /* keep */
    k->axes.count = op_below(k, 4) ? 0 : -1;
    for (int d = ndim - 1; k->axes.count >= 0 && d >= 0; d--)
        if (op_coin(k)) k->axes.axis[k->axes.count++] = op_coin(k) ? d : d - ndim;
}

/* Where the op needs something to choose from. */
static void draw_not_of_nothing(op_case *k)
{
    draw(k);
    if (reduced_size(k)) return;
    k->axes.count = 0;
    for (int d = 0; d < k->in[0].ndim; d++)
        if (k->in[0].shape[d]) k->axes.axis[k->axes.count++] = d;
}

/* n: the correction. With one value and 1 there is only NaN. */
static void draw_var(op_case *k)
{
    draw(k);
    k->n[0] = reduced_size(k) > 1 && op_coin(k);
}

/* Calls f on the values of each slice. */
static op_array each_slice(const op_case *k, const op_array *x,
                           double (*f)(const op_case *k, const double *v, int64_t n))
{
    op_array y = { 0 };
    int64_t full[QP_MAX_DIMS], at[QP_MAX_DIMS];
    const int64_t n = reduced_size(k), size = op_array_size(x);
    for (int d = 0; d < x->ndim; d++) {
        full[d] = is_gone(k, d) ? 1 : x->shape[d];
        if (!is_gone(k, d) || k->flag[0]) y.shape[y.ndim++] = full[d];
    }
    y = op_array_new(y.ndim, y.shape);
    const op_array kept = { .ndim = x->ndim };
    op_array places = kept;
    memcpy(places.shape, full, sizeof full);
    const int64_t slices = op_array_size(&y);
    double *v = qp_xmalloc((size_t)(slices * n + 1) * sizeof *v);
    int64_t *filled = qp_xcalloc((size_t)slices + 1, sizeof *filled);
    for (int64_t i = 0; i < size; i++) {
        int64_t slice = 0;
        op_array_at(x, i, at);
        for (int d = 0; d < x->ndim; d++) slice = slice * full[d] + (is_gone(k, d) ? 0 : at[d]);
        v[slice * n + filled[slice]++] = x->v[i];
    }
    for (int64_t s = 0; s < slices; s++) y.v[s] = f(k, v + s * n, n);
    free(v);
    free(filled);
    return y;
}

static double f_sum(const op_case *k, const double *v, int64_t n)
{
    (void)k;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += v[i];
    return sum;
}
static double f_mean(const op_case *k, const double *v, int64_t n)
{
    return f_sum(k, v, n) / (double)n;
}
static double f_max(const op_case *k, const double *v, int64_t n)
{
    (void)k;
    double most = -INFINITY;
    for (int64_t i = 0; i < n; i++) most = fmax(most, v[i]);
    return most;
}
static double f_min(const op_case *k, const double *v, int64_t n)
{
    (void)k;
    double least = INFINITY;
    for (int64_t i = 0; i < n; i++) least = fmin(least, v[i]);
    return least;
}
static double f_var(const op_case *k, const double *v, int64_t n)
{
    const double mean = f_mean(k, v, n);
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += pow(v[i] - mean, 2);
    return sum / (double)(n - k->n[0]);
}
static double f_logsumexp(const op_case *k, const double *v, int64_t n)
{
    (void)k;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += exp(v[i]);
    return log(sum);
}
static double f_argmax(const op_case *k, const double *v, int64_t n)
{
    const double most = f_max(k, v, n);
    int64_t i = 0;
    while (i + 1 < n && v[i] != most) i++;
    return (double)i;
}

#define ROW(symbol, kind, draw_, flags_, call)                                                     \
    static qp_tensor *run_##symbol(qp_ctx *c, qp_tensor **in, const op_case *k) { return call; }   \
    static op_array value_##symbol(const op_case *k, const op_array *in)                           \
    {                                                                                              \
        return each_slice(k, in, f_##symbol);                                                      \
    }                                                                                              \
    static const op_row row_##symbol = { #symbol,                                                  \
                                         .flags = OP_NO_REPEAT | (flags_),                         \
                                         .values = { kind },                                       \
                                         .draw = draw_,                                            \
                                         .run = run_##symbol,                                      \
                                         .value = value_##symbol };
ROW(sum, OP_NORMAL, draw, 0, qp_sum(c, in[0], k->axes, k->flag[0]))
ROW(mean, OP_NORMAL, draw, 0, qp_mean(c, in[0], k->axes, k->flag[0]))
ROW(max, OP_GRID, draw_not_of_nothing, 0, qp_max(c, in[0], k->axes, k->flag[0]))
ROW(min, OP_GRID, draw_not_of_nothing, 0, qp_min(c, in[0], k->axes, k->flag[0]))
ROW(var, OP_NORMAL, draw_var, 0, qp_var(c, in[0], k->axes, k->flag[0], (int)k->n[0]))
ROW(logsumexp, OP_NORMAL, draw, 0, qp_logsumexp(c, in[0], k->axes, k->flag[0]))

static void draw_argmax(op_case *k)
{
    op_shape(k, 0, 1, 5);
    k->axis = op_axis(k, 0);
    k->axes = QP_AXES(k->axis);
    int64_t *size = &k->in[0].shape[k->axis < 0 ? k->axis + k->in[0].ndim : k->axis];
    if (!*size) *size = 3;
}
ROW(argmax, OP_GRID, draw_argmax, OP_NO_GRADIENT | OP_NO_RANK_0 | OP_NO_EMPTY,
    qp_argmax(c, in[0], k->axis))

const op_row *const op_reductions[] = { &row_sum, &row_mean,      &row_max,    &row_min,
                                        &row_var, &row_logsumexp, &row_argmax, NULL };
