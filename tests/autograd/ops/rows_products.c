/* Products, and what is made of them: written as three loops. */
#include "base/buf.h"
#include "tests/support/opcheck.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RUN(name, call)                                                                            \
    static qp_tensor *run_##name(qp_ctx *c, qp_tensor **in, const op_case *k) { return call; }

/* Sizes of a product: a few, 0 in cases that are for it, or enough for tails and threads. */
static int64_t size(op_case *k, int which)
{
    static const int64_t tails[] = { 37, 43, 65 }, parallel[] = { 263, 131, 67 };
    if (k->size != OP_SMALL) return (k->size == OP_TAILS ? tails : parallel)[which];
    if (k->special == OP_EMPTY && (k->turn / 8) % 3 == which) return 0;
    return 1 + op_below(k, 4);
}

/* ---- matmul; flags: which side is transposed ---- */

/* Input i: some of the leading dimensions, some of them 1, then the matrix. */
static void side(op_case *k, int i, const op_array *lead, int64_t rows, int64_t cols, bool repeat)
{
    op_array a = { 0 };
    const int drop = repeat ? (int)op_below(k, lead->ndim + 1) : 0;
    for (int d = drop; d < lead->ndim; d++)
        a.shape[a.ndim++] = repeat && op_coin(k) ? 1 : lead->shape[d];
    a.shape[a.ndim++] = k->flag[i] ? cols : rows;
    a.shape[a.ndim++] = k->flag[i] ? rows : cols;
    op_shape_is(k, i, a.ndim, a.shape);
}

static void draw_matmul(op_case *k)
{
    const int64_t m = size(k, 0), n = size(k, 1), depth = size(k, 2);
    op_array lead = { .ndim = k->size == OP_SMALL ? (int)op_below(k, 4) : k->turn % 3 };
    for (int d = 0; d < lead.ndim; d++) lead.shape[d] = 1 + op_below(k, 3);
    if (k->special == OP_EMPTY && lead.ndim && op_below(k, 3) == 0) lead.shape[0] = 0;
    for (int i = 0; i < 2; i++) k->flag[i] = op_coin(k);
    const bool large = k->size != OP_SMALL;
    for (int i = 0; large && i < 2; i++) k->flag[i] = k->turn >> i & 1;
    side(k, 0, &lead, m, depth, k->special == OP_LEFT || (!large && op_below(k, 3) == 0));
    side(k, 1, &lead, depth, n, k->special == OP_RIGHT || (!large && op_below(k, 3) == 0));
    for (int i = 0; i < 2; i++) { /* a row, a column */
        if (large || op_below(k, 6)) continue;
        k->flag[i] = false;
        op_shape_is(k, i, 1, &depth);
    }
}
RUN(matmul, qp_matmul(c, in[0], in[1], k->flag[0], k->flag[1]))

/* The dimensions before the matrix, and element (i, j) of the one at a place of those. */
static op_array before(const op_array *a)
{
    op_array lead = *a;
    lead.ndim = a->ndim > 2 ? a->ndim - 2 : 0;
    return lead;
}
static double element(const op_array *a, bool transposed, const op_array *lead, int64_t batch,
                      int64_t i, int64_t j)
{
    int64_t at[QP_MAX_DIMS];
    op_array_at(lead, batch, at);
    at[lead->ndim] = transposed ? j : i;
    at[lead->ndim + 1] = transposed ? i : j;
    return op_array_get(a, lead->ndim + 2, at);
}
static op_array value_matmul(const op_case *k, const op_array *in)
{
    op_array a = in[0], b = in[1];
    const bool row = a.ndim == 1, column = b.ndim == 1;
    if (row) a = (op_array){ 2, { 1, a.shape[0] }, a.v };
    if (column) b = (op_array){ 2, { b.shape[0], 1 }, b.v };
    const op_array lead_a = before(&a), lead_b = before(&b);
    op_array lead = op_array_joint(&lead_a, &lead_b), shape = lead;
    const int64_t m = a.shape[a.ndim - 1 - !k->flag[0]], n = b.shape[b.ndim - 1 - k->flag[1]],
                  depth = a.shape[a.ndim - 1 - k->flag[0]];
    if (!row) shape.shape[shape.ndim++] = m;
    if (!column) shape.shape[shape.ndim++] = n;
    op_array y = op_array_new(shape.ndim, shape.shape);
    for (int64_t batch = 0, at = 0; batch < op_array_size(&lead); batch++)
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++, at++)
                for (int64_t l = 0; l < depth; l++)
                    y.v[at] += element(&a, k->flag[0], &lead, batch, i, l) *
                               element(&b, k->flag[1], &lead, batch, l, j);
    free(lead.v);
    return y;
}
static const op_row row_matmul = { "matmul", .flags = OP_PRODUCT | OP_NO_RANK_0 | OP_COMPOSITE,
                                   .draw = draw_matmul, .run = run_matmul, .value = value_matmul };

/* ---- linear, logits: x (.., K), w (M, K) ---- */

/* y = x w^T in rows; x's leading dimensions stay. */
static op_array linear(const op_array *x, const op_array *w)
{
    const int64_t depth = x->shape[x->ndim - 1], m = w->shape[0];
    op_array y = op_array_new(x->ndim, x->shape);
    free(y.v);
    y.shape[y.ndim - 1] = m;
    y = op_array_new(y.ndim, y.shape);
    for (int64_t i = 0; i < op_array_size(&y); i++)
        for (int64_t l = 0; l < depth; l++)
            y.v[i] += x->v[i / m * depth + l] * w->v[i % m * depth + l];
    return y;
}
static void draw_linear(op_case *k)
{
    const int64_t m = size(k, 1), depth = size(k, 2);
    op_array x = { .ndim = k->size == OP_SMALL ? 1 + (int)op_below(k, 4) : 2 };
    for (int d = 0; d < x.ndim; d++) x.shape[d] = d ? 1 + op_below(k, 2) : size(k, 0);
    x.shape[x.ndim - 1] = depth;
    op_shape_is(k, 0, x.ndim, x.shape);
    op_shape_is(k, 1, 2, (int64_t[]){ m, depth });
}
static op_array value_linear(const op_case *k, const op_array *in)
{
    (void)k;
    return linear(&in[0], &in[1]);
}
static qp_tensor *run_linear(qp_ctx *c, qp_tensor **in, const op_case *k)
{
    (void)k;
    return qp_linear(c, in[0], in[1]);
}
static qp_tensor *run_logits(qp_ctx *c, qp_tensor **in, const op_case *k)
{
    (void)k;
    return qp_logits(c, in[0], in[1]);
}
enum { PRODUCT = OP_PRODUCT | OP_NO_RANK_0 | OP_NO_REPEAT };
static const op_row row_linear = { "linear", .flags = PRODUCT, .draw = draw_linear,
                                   .run = run_linear, .value = value_linear };
static const op_row row_logits = { "logits", .flags = PRODUCT, .draw = draw_linear,
                                   .run = run_logits, .value = value_linear };

/* ---- lora on a linear: x (N, K), w (M, K), a (R, K), b (M, R); p: dropout ---- */

enum { X, W, A, B };
static void draw_lora(op_case *k)
{
    const int64_t n = size(k, 0), m = size(k, 1), depth = size(k, 2),
                  rank = k->size == OP_SMALL ? 1 + op_below(k, 3) : 5;
    op_shape_is(k, X, 2, (int64_t[]){ n, depth });
    op_shape_is(k, W, 2, (int64_t[]){ m, depth });
    op_shape_is(k, A, 2, (int64_t[]){ rank, depth });
    op_shape_is(k, B, 2, (int64_t[]){ m, rank });
    k->p = op_coin(k) ? 0.4 : 0;
    k->q = 0.75;
}
RUN(lora, qp_lora(c, qp_linear(c, in[X], in[W]), in[X], in[A], in[B], k->q, k->p))
static op_array value_lora(const op_case *k, const op_array *in)
{
    op_array y = linear(&in[X], &in[W]), h = linear(&in[X], &in[A]), add = linear(&h, &in[B]);
    for (int64_t i = 0; i < op_array_size(&y); i++) y.v[i] += k->q * add.v[i];
    free(h.v);
    free(add.v);
    if (k->p == 0) return y;
    free(y.v); /* nobody knows the mask */
    y.v = NULL;
    return y;
}
RUN(linear_lora, qp_linear_lora(c, in[X], in[W], in[A], in[B], k->q, k->p))
/* Rounded between its two products in bf16: h, dh, and the sum with the base's. */
static const op_row row_lora = { "lora",          .flags = PRODUCT | OP_RANDOM | OP_COMPOSITE,
                                 .bf16 = 2,       .draw = draw_lora,
                                 .run = run_lora, .value = value_lora };

static const op_row row_linear_lora = {
    "linear_lora",     .flags = PRODUCT | OP_RANDOM, .bf16 = 2,
    .draw = draw_lora, .run = run_linear_lora,       .value = value_lora
};

/* ---- linear_xent: x (N, D), w (V, D); n: rows of w at a time ---- */

static void draw_linear_xent(op_case *k)
{
    const int64_t n = size(k, 0), words = 1 + size(k, 1), d = size(k, 2);
    op_shape_is(k, 0, 2, (int64_t[]){ n, d });
    op_shape_is(k, 1, 2, (int64_t[]){ words, d });
    k->n[0] = k->size == OP_SMALL ? 1 + op_below(k, words + 2) : 29;
    k->index[0] = qp_xmalloc((size_t)(n + 1) * sizeof(int32_t));
    for (int64_t i = 0; i < n; i++)
        k->index[0][i] = (int32_t)(op_below(k, 4) ? op_below(k, words) : -1);
}
RUN(linear_xent, qp_linear_xent_in_chunks(c, in[0], in[1], k->index[0], NULL, k->n[0]))
static op_array value_linear_xent(const op_case *k, const op_array *in)
{
    op_array y = op_array_new(0, NULL), logits = linear(&in[0], &in[1]);
    const int64_t words = in[1].shape[0];
    for (int64_t i = 0; i < in[0].shape[0]; i++) {
        double sum = 0;
        for (int64_t j = 0; j < words; j++) sum += exp(logits.v[i * words + j]);
        if (k->index[0][i] >= 0) y.v[0] += log(sum) - logits.v[i * words + k->index[0][i]];
    }
    free(logits.v);
    return y;
}
static const op_row row_linear_xent = { "linear_xent", .flags = PRODUCT, .draw = draw_linear_xent,
                                        .run = run_linear_xent, .value = value_linear_xent };

/* ---- embedding: w (V, D); n: ids ---- */

static void draw_embedding(op_case *k)
{
    const int64_t words = 1 + size(k, 0), d = size(k, 2);
    op_shape_is(k, 0, 2, (int64_t[]){ words, d });
    k->n[0] = size(k, 1) * (k->size == OP_PARALLEL ? 5 : 1);
    k->index[0] = qp_xmalloc((size_t)(k->n[0] + 1) * sizeof(int32_t));
    for (int64_t i = 0; i < k->n[0]; i++) k->index[0][i] = (int32_t)op_below(k, words);
}
RUN(embedding, qp_embedding(c, in[0], k->index[0], k->n[0], in[0]->storage))
static op_array value_embedding(const op_case *k, const op_array *in)
{
    const int64_t d = in->shape[1];
    op_array y = op_array_new(2, (int64_t[]){ k->n[0], d });
    for (int64_t i = 0; i < op_array_size(&y); i++) y.v[i] = in->v[k->index[0][i / d] * d + i % d];
    return y;
}
static const op_row row_embedding = { "embedding", .flags = OP_NO_RANK_0 | OP_NO_REPEAT,
                                      .draw = draw_embedding, .run = run_embedding,
                                      .value = value_embedding };

const op_row *const op_products[] = { &row_matmul,      &row_linear,      &row_logits,    &row_lora,
                                      &row_linear_lora, &row_linear_xent, &row_embedding, NULL };
