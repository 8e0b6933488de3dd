/* What attention's forward and backward share. A row is one query of one head. The queries of one
   document whose heads share a key head make a tile of rows; its rows lie across the vector lanes,
   its keys are taken KEYS at a time, counted from the document's first: scores are s[key][row], so
   no sum or maximum ever crosses lanes, and a lane never learns who its neighbours are.

   A matrix enters outer() in one of three forms: along, [i][c], where k runs along its rows (read
   element by element); below, [i][c], where k runs down its columns (read by vectors), so that an
   element may hold two rows; across, [c][i], where k runs along its rows and these lie across the
   lanes. With PAIR 1 the first two are the same. */
#ifndef QP_AUTOGRAD_CPU_ATTENTION_H
#define QP_AUTOGRAD_CPU_ATTENTION_H
#include "autograd/cpu/attention_work.h"
#include "autograd/cpu/outer.h"

enum {
    KEYS = QP_ATTN_KEYS, /* keys and values of a tile stay in the first cache */
    W = NR * VL,         /* rows of a block: what outer() computes at once */
};

typedef struct {
    const T *q, *k, *v;
    const int32_t *first, *last;
    int64_t n, m, h, g, e;
    int64_t ep, ee; /* e padded to whole vectors; elements that hold e values */
    int64_t rep;    /* query heads that share a key head */
    R scale;
} attn;

/* Queries q0 .. q1-1 see keys k0 .. k1-1, all from k0 on. */
typedef struct {
    int32_t q0, q1, k0, k1;
} attn_tile;

/* A tile seen by one key head: its rows and where they are. Row r is query q0 + r / rep. */
typedef struct {
    attn_tile t;
    int64_t head, rows, blocks; /* blocks of W rows; the last may have lanes without a row */
} attn_rows;

static inline attn attn_of(const void *q, const void *k, const void *v, const int32_t *first,
                           const int32_t *last, int64_t n, int64_t m, int64_t h, int64_t g,
                           int64_t e)
{
    return (attn){ .q = q,
                   .k = k,
                   .v = v,
                   .first = first,
                   .last = last,
                   .n = n,
                   .m = m,
                   .h = h,
                   .g = g,
                   .e = e,
                   .ep = qp_attn_pad(e),
                   .ee = (e + PAIR - 1) / PAIR,
                   .rep = h / g,
                   .scale = (R)(1 / sqrt((double)e)) };
}

/* The next tile from query q0 on, before `end`: one document, so many queries as fill the rows. */
static inline attn_tile attn_cut(const attn *p, int32_t q0, int32_t end)
{
    const int64_t most = qp_attn_queries(p->h, p->g);
    attn_tile t = { q0, q0, p->first[q0], p->first[q0] };
    for (; t.q1 < end && t.q1 - q0 < most && p->first[t.q1] == t.k0; t.q1++)
        if (p->last[t.q1] >= t.k1) t.k1 = p->last[t.q1] + 1;
    return t;
}

static inline attn_rows attn_rows_of(const attn *p, attn_tile t, int64_t head)
{
    const int64_t rows = (t.q1 - t.q0) * p->rep;
    return (attn_rows){ t, head, rows, (rows + W - 1) / W };
}

/* Where row r begins in q, y and their like. */
static inline int64_t attn_at(const attn *p, const attn_rows *w, int64_t r)
{
    return ((w->t.q0 + r / p->rep) * p->h + w->head * p->rep + r % p->rep) * p->e;
}

/* The rows of block b that exist, and the lanes computed for them: whole vectors. */
static inline int64_t attn_block_rows(const attn_rows *w, int64_t b)
{
    const int64_t left = w->rows - b * W;
    return left < W ? left : W;
}
static inline int64_t attn_lanes(int64_t rows) { return (rows + VL - 1) / VL * VL; }

/* The last key of every lane; those without a row do as the last row. */
static inline void attn_last(const attn *p, const attn_rows *w, int32_t *last)
{
    for (int64_t r = 0; r < w->blocks * W; r++)
        last[r] = p->last[w->t.q0 + (r < w->rows ? r : w->rows - 1) / p->rep];
}

/* How many of a tile's keys any row sees, and how many all of them. */
static inline int64_t attn_seen(const int32_t *last, int64_t rows, int32_t j0, int64_t kn)
{
    int64_t seen = 0;
    for (int64_t r = 0; r < rows; r++)
        if (last[r] + 1 - j0 > seen) seen = last[r] + 1 - j0;
    return seen < kn ? seen : kn;
}
static inline int64_t attn_seen_by_all(const int32_t *last, int64_t rows, int32_t j0, int64_t kn)
{
    int64_t all = kn;
    for (int64_t r = 0; r < rows; r++)
        if (last[r] + 1 - j0 < all) all = last[r] + 1 - j0;
    return all > 0 ? all : 0;
}

/* A tile's rows in the form across: to[block][c][lane], 0 in lanes without a row. */
static inline void attn_across(E *to, const attn *p, const attn_rows *w, const T *x)
{
    const int64_t e = p->e, ee = p->ee, pairs = e / PAIR;
    memset(to, 0, (size_t)(w->blocks * ee * W) * sizeof(E));
    for (int64_t r = 0; r < w->rows; r++) {
        const T *from = x + attn_at(p, w, r);
        E *lane = to + r / W * ee * W + r % W;
        for (int64_t c = 0; c < pairs; c++)
            lane[c * W] = two(take(from[c * PAIR]), take(from[c * PAIR + PAIR - 1]));
        if (pairs < ee) lane[pairs * W] = two(take(from[e - 1]), 0);
    }
}

/* One row in the form along, and two rows (b NULL: one) in the form below; padded with zeros. */
static inline void attn_along(H *to, const attn *p, const T *x)
{
    const int64_t e = p->e, ep = p->ep;
#pragma omp simd
    for (int64_t c = 0; c < e; c++) to[c] = take(x[c]);
    for (int64_t c = e; c < ep; c++) to[c] = 0;
}
static inline void attn_below(E *to, const attn *p, const T *a, const T *b)
{
    const int64_t e = p->e, ep = p->ep;
    if (b) {
#pragma omp simd
        for (int64_t c = 0; c < e; c++) to[c] = two(take(a[c]), take(b[c]));
    } else {
#pragma omp simd
        for (int64_t c = 0; c < e; c++) to[c] = two(take(a[c]), 0);
    }
    for (int64_t c = e; c < ep; c++) to[c] = 0;
}

/* Keys or values j .. j+kn-1 of one head in these forms. */
static inline void attn_keys_along(H *to, const attn *p, const T *x, int64_t head, int64_t j,
                                   int64_t kn)
{
    for (int64_t i = 0; i < kn; i++)
        attn_along(to + i * p->ep, p, x + ((j + i) * p->g + head) * p->e);
}
static inline void attn_keys_below(E *to, const attn *p, const T *x, int64_t head, int64_t j,
                                   int64_t kn)
{
    const int64_t next = p->g * p->e;
    for (int64_t i = 0; i < kn; i += PAIR) {
        const T *from = x + ((j + i) * p->g + head) * p->e;
        attn_below(to + i / PAIR * p->ep, p, from, PAIR == 2 && i + 1 < kn ? from + next : NULL);
    }
}

/* Scores s[key][lane] as halves, and as elements; s has a row of zeros behind an odd number of
   keys. With PAIR 1 they stay where they are. */
static inline void attn_halves(H *to, const R *s, int64_t lanes, int64_t kn)
{
    for (int64_t j = 0; PAIR == 2 && j < kn; j++)
        for (int64_t l = 0; l < lanes; l += VL) cut(to + j * W + l, *(const vec *)(s + j * W + l));
}
static inline void attn_pairs(E *to, const R *s, int64_t lanes, int64_t kn)
{
    for (int64_t j = 0; PAIR == 2 && j < kn; j += PAIR)
        for (int64_t l = 0; l < lanes; l += VL) {
            const vec *low = (const vec *)(s + j * W + l),
                      *high = (const vec *)(s + (j + 1) * W + l);
            *(evec *)(to + j / PAIR * W + l) = join(*low, *high);
        }
}

/* to[row][c] += sum over keys of s[key][row] * v[key][c], one key after the other. Where a row does
   not see a key s is 0, but v may be infinite there, and 0 times that is not 0: each row stops at
   its own last key. half: room for one row of v. */
static inline void attn_gather(R *to, const attn *p, const E *v, const E *s, const int32_t *last,
                               int64_t rows, int32_t j0, int64_t kn, E *half)
{
    const int64_t all = attn_seen_by_all(last, rows, j0, kn) / PAIR, ep = p->ep;
    outer(to, ep, rows, ep, s, 1, W, v, ep, all, true);
    for (int64_t r = 0; all * PAIR < kn && r < rows; r++) {
        const int64_t own = last[r] + 1 - j0 < kn ? last[r] + 1 - j0 : kn, whole = own / PAIR;
        if (whole > all)
            outer(to + r * ep, ep, 1, ep, s + all * W + r, 1, W, v + all * ep, ep, whole - all,
                  true);
        if (own % PAIR == 0 || own < 0) continue;
        for (int64_t c = 0; c < ep; c++) half[c] = only_low(v[whole * ep + c]);
        outer(to + r * ep, ep, 1, ep, s + whole * W + r, 1, W, half, ep, 1, true);
    }
}

/* Threads worth starting; each has its own scratch in the work area. */
static inline int attn_threads(const attn *p, int64_t tasks, int64_t pairs)
{
    const int64_t slots = qp_attn_slots(p->n, p->g);
    if (pairs * p->h * p->e <= QP_GRAIN) return 1;
    return (int)(slots < tasks ? slots : tasks);
}
#endif
