/* y = softmax(q k^T / sqrt(e)) v without the matrix of scores: a tile of keys at a time, all that
   came before rescaled when a larger score appears. Dao et al. 2022, arXiv:2205.14135. */
#include "autograd/cpu/attention.h"

/* A thread's scratch for one tile of rows. */
typedef struct {
    E *q;          /* across: [block][c][lane] */
    R *acc;        /* [row][c] */
    H *k;          /* along: [key][c] */
    E *v, *half;   /* below: [key][c]; one such row */
    R *s;          /* [key][lane] */
    E *p;          /* the same; with PAIR 1 the same memory */
    R *top, *sum;  /* [row]: largest score so far, sum of exp(score - top) */
    int32_t *last; /* [row] */
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
    x.half = x.v + KEYS * p->ep;
    x.top = (R *)x.half + p->ep;
    x.sum = x.top + rows;
    x.last = (int32_t *)(x.sum + rows);
    x.k = (H *)((R *)x.last + rows);
    return x;
}

/* Scores of one block become exp(scale * s - top), what was summed before follows the new top.
   Keys go four at a time to shorten the chains of maxima and sums; s is filled up to that with
   -inf. */
static void soften(const attn *p, R *s, R *top, R *sum, R *acc, const int32_t *last, int64_t rows,
                   int32_t j0, int64_t kn)
{
    R now[W], keep[W], total[W];
    const R scale = p->scale;
    const int64_t lanes = attn_lanes(rows), kn4 = (kn + 3) / 4 * 4;
    for (int64_t i = kn * W; i < kn4 * W; i++) s[i] = -INFINITY;
    for (int32_t j = (int32_t)attn_seen_by_all(last, rows, j0, kn); j < kn; j++)
#pragma omp simd
        for (int64_t l = 0; l < lanes; l++)
            s[j * W + l] = j0 + j <= last[l] ? s[j * W + l] : -INFINITY;
    for (int64_t l = 0; l < lanes; l++) now[l] = -INFINITY, total[l] = 0;
    for (int64_t j = 0; j < kn4; j += 4) {
        const R *s0 = s + j * W, *s1 = s0 + W, *s2 = s1 + W, *s3 = s2 + W;
#pragma omp simd
        for (int64_t l = 0; l < lanes; l++) {
            R low = s0[l] > s1[l] ? s0[l] : s1[l], high = s2[l] > s3[l] ? s2[l] : s3[l];
            R most = low > high ? low : high;
            now[l] = now[l] > most ? now[l] : most;
        }
    }
#pragma omp simd
    for (int64_t l = 0; l < lanes; l++) {
        now[l] = now[l] * scale > top[l] ? now[l] * scale : top[l];
        keep[l] = EXP_NEG(top[l] - now[l]);
        top[l] = now[l];
    }
    for (int64_t j = 0; j < kn4; j += 4) {
        R *s0 = s + j * W, *s1 = s0 + W, *s2 = s1 + W, *s3 = s2 + W;
#pragma omp simd
        for (int64_t l = 0; l < lanes; l++) {
            s0[l] = EXP_NEG(s0[l] * scale - now[l]);
            s1[l] = EXP_NEG(s1[l] * scale - now[l]);
            s2[l] = EXP_NEG(s2[l] * scale - now[l]);
            s3[l] = EXP_NEG(s3[l] * scale - now[l]);
            total[l] += (s0[l] + s1[l]) + (s2[l] + s3[l]);
        }
    }
    for (int64_t l = 0; l < lanes; l++) sum[l] = sum[l] * keep[l] + total[l];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; keep[r] != 1 && c < p->ep; c++) acc[r * p->ep + c] *= keep[r];
}

static void finish(const attn *p, const attn_rows *w, const scratch *x, T *y, R *lse)
{
    for (int64_t r = 0; r < w->rows; r++) {
        const int64_t at = attn_at(p, w, r);
        const R *acc = x->acc + r * p->ep, sum = x->sum[r];
        for (int64_t c = 0; c < p->e; c++) y[at + c] = ST(acc[c] / sum);
        if (lse) lse[at / p->e] = x->top[r] + (R)log((double)sum);
    }
}

static void forward_tile(const attn *p, attn_tile t, int64_t head, T *y, R *lse, R *slot)
{
    const scratch x = scratch_of(p, slot);
    const attn_rows w = attn_rows_of(p, t, head);
    const int64_t ep = p->ep, ee = p->ee;
    attn_last(p, &w, x.last);
    attn_across(x.q, p, &w, p->q);
    memset(x.acc, 0, (size_t)(w.rows * ep) * sizeof(R));
    for (int64_t r = 0; r < w.blocks * W; r++) x.top[r] = -INFINITY, x.sum[r] = 0;
    for (int32_t j = t.k0; j < t.k1; j += KEYS) {
        const int64_t kn = t.k1 - j < KEYS ? t.k1 - j : KEYS;
        attn_keys_along(x.k, p, p->k, head, j, kn);
        attn_keys_below(x.v, p, p->v, head, j, kn);
        for (int64_t b = 0; b < w.blocks; b++) {
            const int64_t rows = attn_block_rows(&w, b), r0 = b * W;
            const int32_t *last = x.last + r0;
            const int64_t seen = attn_seen(last, rows, j, kn);
            R *acc = x.acc + r0 * ep;
            if (!seen) continue;
            outer(x.s, W, seen, attn_lanes(rows), (E *)x.k, ep / PAIR, 1, x.q + r0 * ee, W, ee,
                  false);
            soften(p, x.s, x.top + r0, x.sum + r0, acc, last, rows, j, seen);
            attn_pairs(x.p, x.s, attn_lanes(rows), seen);
            attn_gather(acc, p, x.v, x.p, last, rows, j, seen, x.half);
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
