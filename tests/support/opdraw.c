/* Cases, drawn from their seeds, and small arrays for formulas. */
#include "autograd/cpu/quant.h"
#include "base/buf.h"
#include "tests/support/opcheck.h"
#include <stdlib.h>
#include <string.h>

static uint64_t key(const op_case *k) { return qp_rng_key((uint64_t)k->turn, k->op->name); }

double op_rounded(double v) { return (double)qp_from_bf16(qp_to_bf16((float)v)); }

int64_t op_below(op_case *k, int64_t n)
{
    return (int64_t)qp_rng_below(key(k), 0, k->drawn++, (uint64_t)n);
}
bool op_coin(op_case *k) { return op_below(k, 2); }

/* ---- Shapes ---- */

int64_t op_array_size(const op_array *a)
{
    int64_t n = 1;
    for (int d = 0; d < a->ndim; d++) n *= a->shape[d];
    return n;
}

void op_shape_is(op_case *k, int i, int ndim, const int64_t *shape)
{
    if (k->count <= i) k->count = i + 1;
    k->in[i].ndim = ndim;
    for (int d = 0; d < ndim; d++) k->in[i].shape[d] = shape[d];
}

/* Differences of an element cost a dozen runs of the op: so many at most. */
enum { FEW = 40 };
static void small_shape(op_case *k, op_array *a, int least, int most)
{
    if (k->special == OP_EMPTY && least < 1) least = 1;
    a->ndim = k->special == OP_RANK_0 ? least : least + (int)op_below(k, most - least + 1);
    int64_t n = 1;
    for (int d = 0; d < a->ndim; d++) {
        a->shape[d] = 1 + op_below(k, a->ndim > 3 ? 3 : 5);
        if (n * a->shape[d] > FEW) a->shape[d] = 1;
        n *= a->shape[d];
    }
    if (k->special == OP_EMPTY) a->shape[op_below(k, a->ndim)] = 0;
}

/* Odd sizes: 4773 values, or about 34,500. */
static void large_shape(op_case *k, op_array *a, int least, int most)
{
    static const int64_t tails[][3] = { { 1, 37, 129 }, { 3, 37, 43 }, { 1, 1, 4773 } };
    static const int64_t parallel[][3] = { { 1, 263, 131 }, { 5, 53, 131 }, { 1, 1, 34567 } };
    const int64_t *shape = k->size == OP_TAILS ? tails[k->turn % 3] : parallel[k->turn % 3];
    int64_t lead = 1;
    int ndim = shape[0] > 1 ? 3 : shape[1] > 1 ? 2 : 1;
    if (ndim < least) ndim = least;
    if (ndim > most) ndim = most;
    a->ndim = ndim;
    for (int d = 0; d < ndim; d++) {
        const int from = 3 - ndim + d;
        a->shape[d] = from < 0 ? 1 : shape[from];
    }
    for (int d = 0; d < 3 - ndim; d++) lead *= shape[d]; /* what has no dimension of its own */
    if (ndim) a->shape[0] *= lead;
}

void op_shape(op_case *k, int i, int least, int most)
{
    if (k->count <= i) k->count = i + 1;
    (k->size == OP_SMALL ? small_shape : large_shape)(k, &k->in[i], least, most);
}

/* Makes some dimensions 1 and leaves out some leading ones. */
static void repeat(op_case *k, op_array *a)
{
    const int drop = (int)op_below(k, a->ndim + 1);
    for (int d = drop; d < a->ndim; d++) a->shape[d - drop] = a->shape[d];
    a->ndim -= drop;
    for (int d = 0; d < a->ndim; d++)
        if (op_below(k, drop ? 3 : 2) == 0) a->shape[d] = 1;
}

void op_broadcast(op_case *k, int i, int j)
{
    const bool none = k->special == OP_RANK_0;
    if (none && k->turn % 3) k->special = OP_ANY; /* rank 0 on one side only */
    op_shape(k, i, 0, 5);
    op_shape_is(k, j, k->in[i].ndim, k->in[i].shape);
    if (none) {
        k->special = OP_RANK_0;
        k->in[k->turn % 3 == 1 ? i : j].ndim = 0;
        return;
    }
    if (k->special == OP_LEFT) repeat(k, &k->in[i]);
    if (k->special == OP_RIGHT) repeat(k, &k->in[j]);
    if (k->special != OP_ANY && k->special != OP_EMPTY) return;
    if (k->size != OP_SMALL) return;
    const int side = op_coin(k) ? i : j;
    op_array *a = &k->in[side], *b = &k->in[i + j - side];
    for (int d = 0; d < a->ndim; d++) /* some on either side */
        if (op_below(k, 4) == 0)
            a->shape[d] = 1;
        else if (op_below(k, 4) == 0)
            b->shape[d] = 1;
}

int op_axis(op_case *k, int i)
{
    const int ndim = k->in[i].ndim, axis = (int)op_below(k, ndim);
    return op_coin(k) ? axis - ndim : axis;
}

void op_draw_one(op_case *k) { op_shape(k, 0, 0, 5); }
void op_draw_two(op_case *k) { op_broadcast(k, 0, 1); }

/* ---- Values ---- */

static double uniform(uint64_t key_, int input, int64_t i)
{
    return qp_rng_uniform(key_, (uint64_t)(1 + input), (uint64_t)i);
}

static double value(const op_case *k, uint64_t seed, int input, int64_t i)
{
    const double u = uniform(seed, input, i);
    const int64_t grid = (i * 91 + k->turn * 7) % 255 - 127; /* 91 and 255 have no common factor */
    switch (k->op->values[input]) {
    case OP_POSITIVE:
        return 0.5 + 3.5 * u;
    case OP_AWAY:
        return u < 0.5 ? -0.25 - 5.5 * u : 0.25 + 5.5 * (u - 0.5);
    case OP_GRID:
        return (double)grid / 16;
    case OP_BETWEEN:
        return (double)((grid * 2 + 127 * 4) % 255 - 127) / 16 + 1. / 32;
    case OP_MASK:
        return u < 0.4 ? 0 : u < 0.8 ? 1 : -2;
    case OP_NORMAL:
        break;
    }
    return qp_rng_normal(seed, (uint64_t)(1 + input), (uint64_t)i);
}

static void draw_values(op_case *k)
{
    const uint64_t seed = key(k);
    for (int i = 0; i < k->count; i++) {
        const int64_t n = op_array_size(&k->in[i]);
        k->in[i].v = qp_xmalloc((size_t)(n ? n : 1) * sizeof(double));
        for (int64_t j = 0; j < n; j++) k->in[i].v[j] = op_rounded(value(k, seed, i, j));
        k->constant[i] |= k->op->values[i] == OP_MASK && !(k->op->flags & OP_NO_GRADIENT);
    }
}

op_case op_case_draw(const op_row *op, int turn)
{
    static const op_special specials[] = { OP_EMPTY, OP_RANK_0, OP_LEFT, OP_RIGHT,
                                           OP_ANY,   OP_ANY,    OP_ANY,  OP_ANY };
    enum { LARGE = 6 }; /* three of each size */
    const int large = turn - (OP_CASES - LARGE);
    op_case k = { .op = op, .turn = turn };
    k.size = large < 0 ? OP_SMALL : large < LARGE / 2 ? OP_TAILS : OP_PARALLEL;
    k.special =
        large < 0 ? specials[turn % 8] : (op_special[]){ OP_ANY, OP_LEFT, OP_RIGHT }[large % 3];
    op->draw(&k);
    draw_values(&k);
    return k;
}

void op_case_free(op_case *k)
{
    for (int i = 0; i < OP_INPUTS; i++) free(k->in[i].v);
    for (int i = 0; i < 2; i++) free(k->index[i]);
    for (int i = 0; i < 4; i++) free(k->table[i]);
}

/* ---- Arrays ---- */

op_array op_array_new(int ndim, const int64_t *shape)
{
    op_array a = { .ndim = ndim };
    for (int d = 0; d < ndim; d++) a.shape[d] = shape[d];
    const int64_t n = op_array_size(&a);
    a.v = qp_xcalloc((size_t)(n ? n : 1), sizeof(double));
    return a;
}

void op_array_at(const op_array *a, int64_t i, int64_t *at)
{
    for (int d = a->ndim - 1; d >= 0; d--) {
        at[d] = i % a->shape[d];
        i /= a->shape[d];
    }
}

double op_array_get(const op_array *a, int ndim, const int64_t *at)
{
    int64_t i = 0;
    for (int d = 0; d < a->ndim; d++)
        i = i * a->shape[d] + (a->shape[d] == 1 ? 0 : at[ndim - a->ndim + d]);
    return a->v[i];
}

op_array op_array_joint(const op_array *a, const op_array *b)
{
    int64_t shape[QP_MAX_DIMS];
    const int ndim = a->ndim > b->ndim ? a->ndim : b->ndim;
    for (int d = 0; d < ndim; d++) {
        const int64_t m = d < ndim - a->ndim ? 1 : a->shape[d - ndim + a->ndim],
                      n = d < ndim - b->ndim ? 1 : b->shape[d - ndim + b->ndim];
        shape[d] = m == 1 ? n : m;
    }
    return op_array_new(ndim, shape);
}

op_array op_value_of_one(const op_case *k, const op_array *in)
{
    op_array y = op_array_new(in->ndim, in->shape);
    for (int64_t i = 0; i < op_array_size(&y); i++) y.v[i] = k->op->of_one(in->v[i], k->p, k->q);
    return y;
}

op_array op_value_of_two(const op_case *k, const op_array *in)
{
    op_array y = op_array_joint(&in[0], &in[1]);
    int64_t at[QP_MAX_DIMS];
    for (int64_t i = 0; i < op_array_size(&y); i++) {
        op_array_at(&y, i, at);
        y.v[i] = k->op->of_two(op_array_get(&in[0], y.ndim, at), op_array_get(&in[1], y.ndim, at));
    }
    return y;
}
