/* y = softmax(q k^T / sqrt(e)) v without the matrix of scores: a tile of keys at a time, all that
   came before rescaled when a larger score appears. Dao et al. 2022, arXiv:2205.14135. */
#include "autograd/cpu/attention_few.h"

/* A thread's scratch for one tile of rows. */
typedef struct {
    E *q;         /* across: [block][c][lane] */
    R *acc;       /* [row][c] */
    H *k;         /* along: [key][c] */
    E *v;         /* below: [key][c] */
    R *s;         /* [key][lane] */
    E *p;         /* the same; with PAIR 1 the same memory */
    R *top, *sum; /* [row]: largest score so far, sum of exp(score - top) */
    R *places;    /* for attn_rows_of */
} scratch;

static scratch scratch_of(const attn *p, R *slot)
{
    const int64_t rows = qp_attn_rows(p->h, p->g);
    scratch x;
    x.q = (E *)slot;
    x.acc = slot + rows * p->ee;
    x.s = x.acc + rows * p->ep;
    x.p = (E *)(PAIR == 1 ? x.s : x.s + KEYS * W);
    x.v = x.p + KEYS * W;
    x.top = (R *)(x.v + KEYS * p->ep);
    x.sum = x.top + rows;
    x.places = x.sum + rows;
    x.k = (H *)(x.places + rows * QP_ATTN_PLACES);
    return x;
}

/* Scores of one block become 2^(steep * s - top). What was summed before follows the new top:
   `keep` is the factor of each lane; true where one is not 1. Keys go four at a time to shorten the
   chains of maxima and sums. */
static bool soften(const attn *p, R *s, E *to, R *top, R *sum, R *keep, int64_t lanes, int64_t kn)
{
    bool moved = false;
    for (int64_t l = 0; l < lanes; l += VL) {
        vec most = *attn_vec(s, 0, l), total = { 0 };
        for (int64_t j = 0; j < kn; j += 4)
            most = attn_larger(
                most, attn_larger(attn_larger(*attn_vec(s, j, l), *attn_vec(s, j + 1, l)),
                                  attn_larger(*attn_vec(s, j + 2, l), *attn_vec(s, j + 3, l))));
        most *= p->steep;
        for (int i = 0; i < VL; i++) {
            const R now = most[i] > top[l + i] + SLACK ? most[i] : top[l + i];
            keep[l + i] = now == top[l + i] ? 1 : EXP2_NEG(top[l + i] - now);
            moved |= now != top[l + i];
            top[l + i] = now;
        }
        const vec now = *(const vec *)(top + l);
        for (int64_t j = 0; j < kn; j += 4) {
            vec x[4];
            for (int i = 0; i < 4; i++) x[i] = attn_exp2(*attn_vec(s, j + i, l) * p->steep - now);
            for (int i = 0; i < 4; i += PAIR)
                *(evec *)(to + (j + i) / PAIR * W + l) = join(x[i], x[i + PAIR - 1]);
            total += (x[0] + x[1]) + (x[2] + x[3]);
        }
        vec *all = (vec *)(sum + l);
        *all = *all * *(const vec *)(keep + l) + total;
    }
    return moved;
}

static void rescale(R *acc, int64_t ep, const R *keep, int64_t rows)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < ep; c += VL) *(vec *)(acc + r * ep + c) *= keep[r];
}

static void finish(const attn *p, const attn_rows *w, const scratch *x, T *y, R *lse)
{
    for (int64_t r = 0; r < w->rows; r++) {
        const int64_t at = w->at[r];
        const R *acc = x->acc + r * p->ep, sum = x->sum[r];
        for (int64_t c = 0; c < p->e; c++) y[at + c] = ST(acc[c] / sum);
        if (lse) lse[at / p->e] = x->top[r] + LOG2(sum);
    }
}

static void forward_tile(const attn *p, attn_tile t, int64_t head, T *y, R *lse, R *slot)
{
    if (few_tile(p, t, head, y, lse, slot)) return;
    const scratch x = scratch_of(p, slot);
    const attn_rows w = attn_rows_of(p, t, head, x.places);
    const int64_t ep = p->ep, ee = p->ee;
    attn_across(x.q, p, &w, p->q);
    for (int64_t r = 0; r < w.blocks * W; r++) x.top[r] = -INFINITY, x.sum[r] = 0;
    for (int32_t j = t.k0; j < t.k1; j += KEYS) {
        const int64_t kn = t.k1 - j < KEYS ? t.k1 - j : KEYS;
        attn_keys_along(x.k, p, p->k, head, j, kn);
        attn_keys_below(x.v, p, p->v, head, j, kn);
        const int64_t next = t.k1 - j - kn < KEYS ? t.k1 - j - kn : KEYS;
        attn_fetch(p, p->k, head, j + kn, next);
        attn_fetch(p, p->v, head, j + kn, next);
        for (int64_t b = 0; b < w.blocks; b++) {
            const int64_t rows = attn_block_rows(&w, b), lanes = attn_lanes(rows), r0 = b * W;
            const int32_t *last = w.last + r0, least = w.least[b];
            const int64_t seen = attn_seen(w.most[b], j, kn);
            R *acc = x.acc + r0 * ep, keep[W];
            if (!seen) continue;
            outer(x.s, W, seen, lanes, (E *)x.k, ep / PAIR, 1, x.q + r0 * ee, W, ee, false);
            attn_hide(x.s, -INFINITY, last, lanes, least, j, seen);
            const bool moved = soften(p, x.s, x.p, x.top + r0, x.sum + r0, keep, lanes, seen);
            if (moved && j > t.k0) rescale(acc, ep, keep, rows);
            attn_gather(acc, p, x.v, x.p, last, rows, least, j, seen, j > t.k0);
        }
    }
    finish(p, &w, &x, y, lse);
}

void K(attn_fwd)(void *y, void *lse, void *work, const void *q, const void *k, const void *v,
                 const int32_t *first, const int32_t *last, int64_t n, int64_t m, int64_t h,
                 int64_t g, int64_t e)
{
    const attn p = attn_of(q, k, v, first, last, n, m, h, g, e);
    const int64_t slot = qp_attn_fwd_slot(h, g, e);
    attn_tile *tile = (attn_tile *)((R *)work + slot * qp_attn_slots(n, g));
    int64_t tiles = 0, pairs = 0;
    for (int32_t i = 0; i < n; i = tile[tiles++].q1) {
        tile[tiles] = attn_cut(&p, i, (int32_t)n);
        pairs += (int64_t)(tile[tiles].q1 - i) * (tile[tiles].k1 - tile[tiles].k0);
    }
    /* Late tiles see the most keys: they go first, so that no thread is left alone with one. */
    const int64_t tasks = tiles * g;
    const int threads = attn_threads(&p, tasks, pairs);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t i = tasks - 1; i >= 0; i--)
        forward_tile(&p, tile[i / g], i % g, y, lse, (R *)work + slot * omp_get_thread_num());
}
