/* What networks are made of. */
#include "base/buf.h"
#include "tests/support/opcheck.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RUN(name, call)                                                                            \
    static qp_tensor *run_##name(qp_ctx *c, qp_tensor **in, const op_case *k)                      \
    {                                                                                              \
        (void)k;                                                                                   \
        return call;                                                                               \
    }
enum { ALONE = OP_NO_REPEAT, ROWS = OP_NO_REPEAT | OP_NO_RANK_0 };

/* ---- softmax, log_softmax ---- */

static void draw_softmax(op_case *k)
{
    op_shape(k, 0, 1, 5);
    k->axis = op_axis(k, 0);
}
static op_array value_softmax(const op_case *k, const op_array *in)
{
    op_array y = op_array_new(in->ndim, in->shape);
    const int axis = k->axis < 0 ? k->axis + in->ndim : k->axis;
    int64_t step = 1;
    const int64_t n = in->shape[axis];
    for (int d = axis + 1; d < in->ndim; d++) step *= in->shape[d];
    for (int64_t i = 0; i < op_array_size(in); i++) {
        const int64_t first = i - i / step % n * step;
        double sum = 0;
        for (int64_t j = 0; j < n; j++) sum += exp(in->v[first + j * step]);
        y.v[i] = exp(in->v[i]) / sum;
    }
    return y;
}
static op_array value_log_softmax(const op_case *k, const op_array *in)
{
    op_array y = value_softmax(k, in);
    for (int64_t i = 0; i < op_array_size(&y); i++) y.v[i] = log(y.v[i]);
    return y;
}
RUN(softmax, qp_softmax(c, in[0], k->axis))
RUN(log_softmax, qp_log_softmax(c, in[0], k->axis))
static const op_row row_softmax = { "softmax", .flags = ROWS | OP_COMPOSITE, .draw = draw_softmax,
                                    .run = run_softmax, .value = value_softmax };
static const op_row row_log_softmax = { "log_softmax", .flags = ROWS | OP_COMPOSITE,
                                        .draw = draw_softmax, .run = run_log_softmax,
                                        .value = value_log_softmax };

/* ---- layernorm, rmsnorm: p is eps, large enough for differences of few values ---- */

static void draw_norm(op_case *k)
{
    op_shape(k, 0, 1, 5);
    const int64_t *d = &k->in[0].shape[k->in[0].ndim - 1];
    for (int i = 1; i < (strcmp(k->op->name, "rmsnorm") ? 3 : 2); i++) op_shape_is(k, i, 1, d);
    k->p = k->size == OP_SMALL ? 0.25 : 1e-5;
    for (int i = 0; k->count == 3 && i < 2; i++) { /* flags: no w, no b */
        k->flag[i] = k->size == OP_SMALL && op_below(k, 4) == 0;
        k->constant[1 + i] = k->flag[i];
    }
}
static op_array value_norm(const op_case *k, const op_array *in, bool centred)
{
    op_array y = op_array_new(in->ndim, in->shape);
    const int64_t d = in->shape[in->ndim - 1];
    for (int64_t i = 0; i < op_array_size(&y); i++) {
        const double *row = in->v + i / d * d;
        double mean = 0, squares = 0;
        for (int64_t j = 0; centred && j < d; j++) mean += row[j] / (double)d;
        for (int64_t j = 0; j < d; j++) squares += pow(row[j] - mean, 2) / (double)d;
        const double w = k->flag[0] ? 1 : in[1].v[i % d],
                     b = !centred || k->flag[1] ? 0 : in[2].v[i % d];
        y.v[i] = (in->v[i] - mean) / sqrt(squares + k->p) * w + b;
    }
    return y;
}
static op_array value_layernorm(const op_case *k, const op_array *in)
{
    return value_norm(k, in, true);
}
static op_array value_rmsnorm(const op_case *k, const op_array *in)
{
    return value_norm(k, in, false);
}
RUN(layernorm, qp_layernorm(c, in[0], k->flag[0] ? NULL : in[1], k->flag[1] ? NULL : in[2], k->p))
RUN(rmsnorm, qp_rmsnorm(c, in[0], in[1], k->p))
static const op_row row_layernorm = { "layernorm", .flags = ROWS, .draw = draw_norm,
                                      .run = run_layernorm, .value = value_layernorm };
static const op_row row_rmsnorm = { "rmsnorm", .flags = ROWS, .draw = draw_norm, .run = run_rmsnorm,
                                    .value = value_rmsnorm };

/* ---- Losses; n: qp_how, p: smoothing ---- */

static void draw_cross_entropy(op_case *k)
{
    op_shape(k, 0, 1, 4);
    const op_array *x = &k->in[0];
    const int64_t words = x->shape[x->ndim - 1];
    int64_t rows = 1;
    for (int d = 0; d + 1 < x->ndim; d++) rows *= x->shape[d];
    k->n[0] = op_below(k, 3);
    k->p = op_coin(k) ? 0.1 : 0;
    k->index[0] = qp_xmalloc((size_t)(rows + 1) * sizeof(int32_t));
    for (int64_t i = 0; i < rows; i++)
        k->index[0][i] = (int32_t)(words && (i == 0 || op_below(k, 4)) ? op_below(k, words) : -3);
}
RUN(cross_entropy, qp_cross_entropy(c, in[0], k->index[0], k->p, (qp_how)k->n[0]))
static op_array value_cross_entropy(const op_case *k, const op_array *in)
{
    const int64_t words = in->shape[in->ndim - 1];
    op_array each = op_array_new(in->ndim - 1, in->shape), y = op_array_new(0, NULL);
    double counted = 0;
    for (int64_t i = 0; i < op_array_size(&each); i++) {
        const double *x = in->v + i * words;
        double sum = 0;
        if (k->index[0][i] < 0) continue;
        counted++;
        for (int64_t j = 0; j < words; j++) sum += exp(x[j]);
        for (int64_t j = 0; j < words; j++) {
            const double share = (j == k->index[0][i] ? 1 - k->p : 0) + k->p / (double)words;
            each.v[i] -= share * log(exp(x[j]) / sum);
        }
        y.v[0] += each.v[i];
    }
    if (k->n[0] == QP_MEAN) y.v[0] /= counted;
    free(k->n[0] == QP_NONE ? y.v : each.v);
    return k->n[0] == QP_NONE ? each : y;
}
static const op_row row_cross_entropy = { "cross_entropy", .flags = ROWS,
                                          .draw = draw_cross_entropy, .run = run_cross_entropy,
                                          .value = value_cross_entropy };

static void draw_mse(op_case *k)
{
    op_broadcast(k, 0, 1);
    k->n[0] = op_below(k, 3);
    if (k->special == OP_EMPTY && k->n[0] == QP_MEAN) k->n[0] = QP_SUM; /* else only NaN */
}
RUN(mse, qp_mse(c, in[0], in[1], (qp_how)k->n[0]))
static op_array value_mse(const op_case *k, const op_array *in)
{
    op_array each = op_array_joint(&in[0], &in[1]), y = op_array_new(0, NULL);
    int64_t at[QP_MAX_DIMS];
    for (int64_t i = 0; i < op_array_size(&each); i++) {
        op_array_at(&each, i, at);
        each.v[i] =
            pow(op_array_get(&in[0], each.ndim, at) - op_array_get(&in[1], each.ndim, at), 2);
        y.v[0] += each.v[i];
    }
    if (k->n[0] == QP_MEAN) y.v[0] /= (double)op_array_size(&each);
    free(k->n[0] == QP_NONE ? y.v : each.v);
    return k->n[0] == QP_NONE ? each : y;
}
static const op_row row_mse = { "mse", .flags = OP_COMPOSITE, .draw = draw_mse, .run = run_mse,
                                .value = value_mse };

/* ---- Attention; n: heads, key heads, head size ---- */

static void draw_heads(op_case *k)
{
    k->n[1] = 1 + op_below(k, 2);
    k->n[0] = k->n[1] * (1 + op_below(k, 2));
    k->n[2] = k->size == OP_SMALL ? 1 + op_below(k, 3) : 2 * op_below(k, 8) + 5;
}
static void draw_span(op_case *k)
{
    const bool small = k->size == OP_SMALL, empty = k->special == OP_EMPTY;
    const int64_t rows = small                 ? (empty ? 0 : 1 + op_below(k, 4))
                         : k->size == OP_TAILS ? 37
                                               : 263,
                  keys = small                 ? 1 + op_below(k, 5)
                         : k->size == OP_TAILS ? 43
                                               : 131;
    draw_heads(k);
    op_shape_is(k, 0, 2, (int64_t[]){ rows, k->n[0] * k->n[2] });
    for (int i = 1; i < 3; i++) op_shape_is(k, i, 2, (int64_t[]){ keys, k->n[1] * k->n[2] });
    for (int i = 0; i < 2; i++) k->index[i] = qp_xmalloc((size_t)(rows + 1) * sizeof(int32_t));
    for (int64_t i = 0; i < rows; i++) {
        k->index[0][i] = (int32_t)op_below(k, keys);
        k->index[1][i] = k->index[0][i] + (int32_t)op_below(k, keys - k->index[0][i]);
    }
}
static void draw_causal(op_case *k)
{
    const bool small = k->size == OP_SMALL;
    int64_t t = small                 ? 1 + op_below(k, 3)
                : k->size == OP_TAILS ? 37
                                      : 131,
            s = t + (op_coin(k) ? op_below(k, 3) : 0), batch = 1 + op_below(k, 3);
    if (k->special == OP_EMPTY && op_coin(k)) t = 0;
    if (k->special == OP_EMPTY && t) batch = 0;
    draw_heads(k);
    const bool whole = k->special != OP_EMPTY && op_below(k, 3) == 0; /* no batch */
    const int64_t q[] = { batch, t, k->n[0] * k->n[2] }, kv[] = { batch, s, k->n[1] * k->n[2] };
    op_shape_is(k, 0, 3 - whole, q + whole);
    for (int i = 1; i < 3; i++) op_shape_is(k, i, 3 - whole, kv + whole);
}

/* Query row `row` over key rows first .. last. */
static void attend(const op_case *k, const op_array *in, double *y, int64_t row, int64_t first,
                   int64_t last)
{
    const int64_t heads = k->n[0], group = heads / k->n[1], e = k->n[2];
    for (int64_t h = 0; h < heads; h++) {
        const double *q = in[0].v + (row * heads + h) * e;
        double sum = 0;
        for (int64_t j = first; j <= last; j++) {
            const int64_t at = (j * k->n[1] + h / group) * e;
            double dot = 0;
            for (int64_t i = 0; i < e; i++) dot += q[i] * in[1].v[at + i];
            const double w = exp(dot / sqrt((double)e));
            sum += w;
            for (int64_t i = 0; i < e; i++) y[(row * heads + h) * e + i] += w * in[2].v[at + i];
        }
        for (int64_t i = 0; i < e; i++) y[(row * heads + h) * e + i] /= sum;
    }
}
static op_array value_attention(const op_case *k, const op_array *in)
{
    op_array y = op_array_new(in->ndim, in->shape);
    for (int64_t i = 0; i < in->shape[0]; i++)
        attend(k, in, y.v, i, k->index[0][i], k->index[1][i]);
    return y;
}
static op_array value_causal_attention(const op_case *k, const op_array *in)
{
    op_array y = op_array_new(in->ndim, in->shape);
    const int64_t t = in[0].shape[in->ndim - 2], s = in[1].shape[in->ndim - 2],
                  batch = in->ndim == 3 ? in->shape[0] : 1;
    for (int64_t b = 0; b < batch; b++)
        for (int64_t i = 0; i < t; i++) attend(k, in, y.v, b * t + i, b * s, b * s + s - t + i);
    return y;
}
RUN(attention,
    qp_attention(c, in[0], in[1], in[2], (qp_span){ k->index[0], k->index[1] }, k->n[0], k->n[1]))
RUN(causal_attention, qp_causal_attention(c, in[0], in[1], in[2], k->n[0], k->n[1]))
/* bf16: dq and dk come through a difference of y's rounding. */
static const op_row row_attention = {
    "attention",       .flags = ROWS | OP_PRODUCT, .bf16 = 2,
    .draw = draw_span, .run = run_attention,       .value = value_attention
};
static const op_row row_causal_attention = {
    "causal_attention",  .flags = ROWS | OP_PRODUCT,  .bf16 = 2,
    .draw = draw_causal, .run = run_causal_attention, .value = value_causal_attention
};

/* ---- rope: n: heads, head size; index: positions; table: cos, sin in f64, f32 ---- */

enum { POSITIONS = 11 };
static void draw_rope(op_case *k)
{
    const bool small = k->size == OP_SMALL;
    const int64_t rows = !small                   ? (k->size == OP_TAILS ? 37 : 1033)
                         : k->special == OP_EMPTY ? 0
                                                  : 1 + op_below(k, 5);
    k->n[0] = 1 + op_below(k, 3);
    k->n[1] = small ? 2 * (1 + op_below(k, 2)) : 34;
    op_shape_is(k, 0, 2, (int64_t[]){ rows, k->n[0] * k->n[1] });
    k->index[0] = qp_xmalloc((size_t)(rows + 1) * sizeof(int32_t));
    for (int64_t i = 0; i < rows; i++) k->index[0][i] = (int32_t)op_below(k, POSITIONS);
    const int64_t half = k->n[1] / 2;
    for (int t = 0; t < 4; t++) {
        k->table[t] = qp_xmalloc((size_t)(POSITIONS * half) * sizeof(double));
        for (int64_t i = 0; i < POSITIONS * half; i++) {
            const double angle = (double)(i / half) * pow(5, (double)-(i % half));
            const float value = (float)(t % 2 ? sin(angle) : cos(angle));
            if (t < 2)
                ((double *)k->table[t])[i] = (double)value;
            else
                ((float *)k->table[t])[i] = value;
        }
    }
}
static qp_tensor *run_rope(qp_ctx *c, qp_tensor **in, const op_case *k)
{
    const int t = in[0]->storage == QP_F64 ? 0 : 2;
    return qp_rope(c, in[0], k->table[t], k->table[t + 1], k->index[0], k->n[0]);
}
static op_array value_rope(const op_case *k, const op_array *in)
{
    op_array y = op_array_new(2, in->shape);
    const int64_t e = k->n[1], half = e / 2, cols = k->n[0] * e;
    for (int64_t i = 0; i < op_array_size(&y); i++) {
        const int64_t pair = i % e % half, at = k->index[0][i / cols] * half + pair;
        const double cosine = ((double *)k->table[0])[at], sine = ((double *)k->table[1])[at];
        y.v[i] = i % e < half ? in->v[i] * cosine - in->v[i + half] * sine
                              : in->v[i] * cosine + in->v[i - half] * sine;
    }
    return y;
}
static const op_row row_rope = { "rope", .flags = ROWS, .draw = draw_rope, .run = run_rope,
                                 .value = value_rope };

/* ---- swiglu, dropout, cast ---- */

static void draw_swiglu(op_case *k)
{
    op_shape(k, 0, 0, 5);
    op_shape_is(k, 1, k->in[0].ndim, k->in[0].shape);
}
RUN(swiglu, qp_swiglu(c, in[0], in[1]))
static op_array value_swiglu(const op_case *k, const op_array *in)
{
    (void)k;
    op_array y = op_array_new(in->ndim, in->shape);
    for (int64_t i = 0; i < op_array_size(&y); i++)
        y.v[i] = in->v[i] * in[1].v[i] / (1 + exp(-in->v[i]));
    return y;
}
static const op_row row_swiglu = { "swiglu", .flags = ALONE, .draw = draw_swiglu, .run = run_swiglu,
                                   .value = value_swiglu };

/* The mask is the generator's business; only the shape is known. */
static op_array value_dropout(const op_case *k, const op_array *in)
{
    (void)k;
    op_array y = *in;
    y.v = NULL;
    return y;
}
RUN(dropout, qp_dropout(c, in[0], 0.3))
static const op_row row_dropout = { "dropout", .flags = ALONE | OP_RANDOM, .draw = op_draw_one,
                                    .run = run_dropout, .value = value_dropout };

/* All values here are bf16's: every type has room for them, and nothing is rounded. */
static double same(double x, double p, double q)
{
    (void)p, (void)q;
    return x;
}
RUN(cast, qp_cast(c, in[0], in[0]->storage == QP_F32 ? QP_BF16 : QP_F32))
static const op_row row_cast = {
    "cast",          .flags = ALONE | OP_NO_DIFFERENCES, .draw = op_draw_one,
    .run = run_cast, .value = op_value_of_one,           .of_one = same
};

const op_row *const op_networks[] = { &row_softmax,
                                      &row_log_softmax,
                                      &row_layernorm,
                                      &row_rmsnorm,
                                      &row_cross_entropy,
                                      &row_mse,
                                      &row_attention,
                                      &row_causal_attention,
                                      &row_rope,
                                      &row_swiglu,
                                      &row_dropout,
                                      &row_cast,
                                      NULL };
