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
    R steep; /* scale / ln 2: all exponentials are powers of two */
} attn;

/* Queries q0 .. q1-1 see keys k0 .. k1-1, all from k0 on. */
typedef struct {
    int32_t q0, q1, k0, k1;
} attn_tile;

/* A tile seen by one key head: its rows and where they are. Row r is query q0 + r / rep. */
typedef struct {
    attn_tile t;
    int64_t head, rows, blocks; /* blocks of W rows; the last may have lanes without a row */
    int64_t *at;                /* [row]: where it begins in q, y and their like */
    int32_t *last;              /* [lane]: the last key it sees; without a row as the last row */
    int32_t *least, *most;      /* [block]: of its rows' last */
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
                   .scale = (R)(1 / sqrt((double)e)),
                   .steep = (R)(1.4426950408889634074 / sqrt((double)e)) };
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

/* `room` is QP_ATTN_PLACES numbers R for every lane of a tile. */
static inline attn_rows attn_rows_of(const attn *p, attn_tile t, int64_t head, R *room)
{
    const int64_t rows = (t.q1 - t.q0) * p->rep, most = qp_attn_rows(p->h, p->g);
    attn_rows w = { t, head, rows, (rows + W - 1) / W, (int64_t *)room, NULL, NULL, NULL };
    w.last = (int32_t *)(w.at + most);
    w.least = w.last + most;
    w.most = w.least + most / W;
    int64_t r = 0;
    for (int32_t i = t.q0; i < t.q1; i++)
        for (int64_t head_row = 0; head_row < p->rep; head_row++, r++) {
            w.at[r] = (i * p->h + head * p->rep + head_row) * p->e;
            w.last[r] = p->last[i];
        }
    for (; r < w.blocks * W; r++) w.last[r] = w.last[rows - 1];
    for (int64_t b = 0; b < w.blocks; b++) {
        const int32_t *last = w.last + b * W;
        w.least[b] = w.most[b] = last[0];
        for (int64_t l = 1; l < W; l++) {
            w.least[b] = last[l] < w.least[b] ? last[l] : w.least[b];
            w.most[b] = last[l] > w.most[b] ? last[l] : w.most[b];
        }
    }
    return w;
}

/* The rows of block b that exist, and the lanes computed for them: whole vectors. */
static inline int64_t attn_block_rows(const attn_rows *w, int64_t b)
{
    const int64_t left = w->rows - b * W;
    return left < W ? left : W;
}
static inline int64_t attn_lanes(int64_t rows) { return (rows + VL - 1) / VL * VL; }

/* How many of the keys j0 .. j0+kn-1 are seen by a row whose last is `last`. */
static inline int64_t attn_seen(int32_t last, int32_t j0, int64_t kn)
{
    const int64_t seen = (int64_t)last + 1 - j0;
    return seen < 0 ? 0 : seen < kn ? seen : kn;
}

/* A tile's rows in the form across: to[block][c][lane], 0 in lanes without a row. */
static inline void attn_across(E *to, const attn *p, const attn_rows *w, const T *x)
{
    const int64_t e = p->e, ee = p->ee, pairs = e / PAIR;
    memset(to, 0, (size_t)(w->blocks * ee * W) * sizeof(E));
    for (int64_t r = 0; r < w->rows; r++) {
        const T *from = x + w->at[r];
        E *lane = to + r / W * ee * W + r % W;
        for (int64_t c = 0; c < pairs; c++) lane[c * W] = both(from + c * PAIR);
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

/* Asks for rows of keys or values that are soon to be read: they lie too far apart for the CPU to
   foresee (one query over 2,048 keys out of cache: about 1.2 times as fast). */
static inline void attn_fetch(const attn *p, const T *x, int64_t head, int64_t j, int64_t kn)
{
    for (int64_t i = 0; i < kn; i++) {
        const char *row = (const char *)(x + ((j + i) * p->g + head) * p->e);
        for (size_t c = 0; c < (size_t)p->e * sizeof(T); c += 64) __builtin_prefetch(row + c);
    }
}

/* A new largest score moves a row's top only where it is this much above it, in powers of two: what
   was summed before is seldom rescaled, and e^(score - top) stays small. A row decides alone. */
static const R SLACK = 8;

/* Functions of every lane. */
static inline vec attn_exp2(vec x)
{
    vec y;
#pragma omp simd
    for (int l = 0; l < VL; l++) y[l] = EXP2_NEG(x[l]);
    return y;
}
static inline vec attn_larger(vec a, vec b)
{
    vec y;
#pragma omp simd
    for (int l = 0; l < VL; l++) y[l] = a[l] > b[l] ? a[l] : b[l];
    return y;
}
static inline vec *attn_vec(R *s, int64_t key, int64_t lane) { return (vec *)(s + key * W + lane); }

/* Puts `value` in s[key][lane] where a row does not see the key, from `seen` on, which all rows see
   short of; and in rows of s up to a multiple of four keys. */
static inline void attn_hide(R *s, R value, const int32_t *last, int64_t lanes, int32_t least,
                             int32_t j0, int64_t kn)
{
    for (int32_t j = (int32_t)attn_seen(least, j0, kn); j < kn; j++)
#pragma omp simd
        for (int64_t l = 0; l < lanes; l++) s[j * W + l] = j0 + j <= last[l] ? s[j * W + l] : value;
    for (int64_t i = kn * W; i < (kn + 3) / 4 * 4 * W; i++) s[i] = value;
}

/* to[row][c] = [to +] sum over keys of s[key][row] * v[key][c], one key after the other. Where a
   row does not see a key s is 0, but v may be infinite there, and 0 times that is not 0: each row
   stops at its own last key. Only the keys that some of MR rows see and others do not are
   multiplied with care. */
static inline void attn_gather(R *to, const attn *p, const E *v, const E *s, const int32_t *last,
                               int64_t rows, int32_t least, int32_t j0, int64_t kn, bool add)
{
    const int64_t ep = p->ep, pairs = (kn + PAIR - 1) / PAIR;
    if (attn_seen(least, j0, kn) == kn) {
        outer(to, ep, rows, ep, s, 1, W, v, ep, pairs, add);
        return;
    }
    for (int64_t r = 0; r < rows; r += MR) {
        const int64_t some = rows - r < MR ? rows - r : MR;
        int64_t own[MR], all = kn, any = 0;
        for (int64_t i = 0; i < MR; i++) {
            own[i] = attn_seen(last[r + (i < some ? i : some - 1)], j0, kn);
            all = own[i] < all ? own[i] : all;
            any = own[i] > any ? own[i] : any;
        }
        all /= PAIR;
        outer(to + r * ep, ep, some, ep, s + r, 1, W, v, ep, all, add);
        for (int64_t k = all; k * PAIR < any; k++)
            outer_seen(to + r * ep, ep, some, ep, s + k * W + r, v + k * ep, own, k * PAIR);
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
