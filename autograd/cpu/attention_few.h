/* Attention of few rows over many keys, which is decoding's: keys and values are read once, where
   they lie. Scores have sixteen keys across the lanes (their rows are turned in registers), values
   have columns; every score, sum and value is the same chain as in attention.c and has its bits.
   One query over 512 to 8,192 keys: 9 heads on 3 in bf16 8 to 11 GB/s in whole blocks of rows, 13
   to 14 here; 32 on 8 heads 12 to 13, 15 to 16. */
#ifndef QP_AUTOGRAD_CPU_ATTENTION_FEW_H
#define QP_AUTOGRAD_CPU_ATTENTION_FEW_H
#include "autograd/cpu/attention.h"

#if defined __AVX512BW__ && !defined QP_T_F64
#    include "autograd/cpu/turn.h"

enum {
    FEW_ROWS = 8,     /* more are as fast by whole blocks of rows */
    HOLD = VL * PAIR, /* values that a register holds */
    BLOCK = 4 * VL,   /* columns of values at a time */
    PAIRS = KEYS / PAIR,
};

/* A thread's scratch. Columns of acc are padded to BLOCK; those of a register's values lie in the
   order in which few_meet() leaves them. */
typedef struct {
    E *q;              /* [row][c] */
    R *acc;            /* [row][c] */
    R *s;              /* [row][key] */
    E *p;              /* [row][pair of keys] */
    R *top, *sum;      /* [row] */
    R *places;         /* for attn_rows_of */
    int64_t ee, width; /* rows of q and of acc */
} few_scratch;

static few_scratch few_scratch_of(const attn *p, R *slot)
{
    few_scratch x = { .ee = (p->e + HOLD - 1) / HOLD * VL,
                      .width = (p->e + BLOCK - 1) / BLOCK * BLOCK };
    x.s = slot;
    x.p = (E *)(x.s + FEW_ROWS * KEYS);
    x.top = (R *)x.p + FEW_ROWS * KEYS;
    x.sum = x.top + VL;
    x.q = (E *)(x.sum + VL);
    x.acc = (R *)x.q + FEW_ROWS * x.ee;
    x.places = x.acc + FEW_ROWS * x.width;
    return x;
}

/* The first `left` of the HOLD values at x, as elements; 0 behind them. */
INLINE evec few_load(const T *x, int64_t left)
{
    const uint32_t have = left >= HOLD ? UINT32_MAX >> (32 - HOLD) : (1u << left) - 1;
#    if defined QP_T_F32
    return (evec)_mm512_maskz_loadu_ps((__mmask16)have, x);
#    elif defined __AVX512BF16__
    return _mm512_maskz_loadu_epi16(have, x);
#    else
    const __m256i half = _mm256_maskz_loadu_epi16((__mmask16)have, x);
    return (evec)_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
#    endif
}

/* Rows a and b of values meet in elements: even quarters of each half in v[0], odd ones in v[1].
   With PAIR 1 there is only a. few_part() puts sums over such elements back in order. */
#    if defined QP_T_BF16 && defined __AVX512BF16__
INLINE void few_meet(evec v[PAIR], evec a, evec b)
{
    v[0] = _mm512_unpacklo_epi16(a, b);
    v[1] = _mm512_unpackhi_epi16(a, b);
}
INLINE void few_part(R *acc)
{
    const __m512i low = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23),
                  high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    const __m512 even = _mm512_loadu_ps(acc), odd = _mm512_loadu_ps(acc + VL);
    _mm512_storeu_ps(acc, _mm512_permutex2var_ps(even, low, odd));
    _mm512_storeu_ps(acc + VL, _mm512_permutex2var_ps(even, high, odd));
}
#    else
INLINE void few_meet(evec v[PAIR], evec a, evec b) { (void)b, v[0] = a; }
INLINE void few_part(R *acc) { (void)acc; }
#    endif

/* s[row][key] of sixteen keys from k on, of which `keys` are there: the last stands for the rest.
   The rows `ahead` are asked for meanwhile. */
INLINE void few_scores(R *s, const int rows, const few_scratch *x, const attn *p, const T *k,
                       const int64_t keys, const T *ahead)
{
    const int64_t ld = p->g * p->e;
    vec sum[FEW_ROWS];
    for (int i = 0; i < rows; i++) sum[i] = (vec){ 0 };
    for (int64_t c = 0; c < p->e; c += HOLD) {
        const E *q = x->q + c / PAIR;
        const int64_t steps = p->ee - c / PAIR;
        __m512i r[VL];
        for (int i = 0; i < VL; i++)
            r[i] = (__m512i)few_load(k + (i < keys ? i : keys - 1) * ld + c, p->e - c);
        for (int i = 0; i < VL; i++) __builtin_prefetch(ahead + i * ld + c);
        turn16(r);
        if (steps >= VL) {
            for (int t = 0; t < VL; t++)
                for (int i = 0; i < rows; i++) sum[i] = madd(sum[i], q[i * x->ee + t], (evec)r[t]);
        } else {
            evec rest[VL];
            memcpy(rest, r, sizeof rest);
            for (int t = 0; t < steps; t++)
                for (int i = 0; i < rows; i++) sum[i] = madd(sum[i], q[i * x->ee + t], rest[t]);
        }
    }
    for (int i = 0; i < rows; i++) *(vec *)(s + i * KEYS) = sum[i];
}

/* soften() of one row, which sees `own` keys: the sum in its order, four keys after four. Returns
   the factor of what was summed before. */
INLINE R few_soften(const attn *p, const R *s, E *to, R *top, R *sum, int64_t own)
{
    enum { PARTS = KEYS / VL };
    vec x[PARTS];
    R quads[KEYS], total = 0;
    for (int i = 0; i < PARTS; i++) {
        const int64_t left = own - i * VL;
        const __mmask16 seen = left >= VL ? 0xffff : left > 0 ? (__mmask16)((1u << left) - 1) : 0;
        x[i] = (vec)_mm512_mask_loadu_ps(_mm512_set1_ps(-INFINITY), seen, s + i * VL);
    }
    const vec larger = attn_larger(attn_larger(x[0], x[1]), attn_larger(x[2], x[3]));
    const R most = _mm512_reduce_max_ps((__m512)(larger * p->steep)); /* rounded before keep */
    const R now = most > *top + SLACK ? most : *top;
    const R keep = now == *top ? 1 : EXP2_NEG(*top - now);
    const vec all = (vec)_mm512_set1_ps(now);
    for (int i = 0; i < PARTS; i++) {
        const vec y = attn_exp2(x[i] * p->steep - all);
        cut((H *)to + i * VL, y);
        const __m512 two_ = _mm512_add_ps((__m512)y, _mm512_shuffle_ps((__m512)y, (__m512)y, 0xb1));
        _mm512_storeu_ps(quads + i * VL, _mm512_add_ps(two_, _mm512_shuffle_ps(two_, two_, 0x4e)));
    }
    for (int i = 0; i < KEYS; i += 4) total += quads[i];
    *top = now;
    *sum = *sum * keep + total;
    return keep;
}

/* acc[row][c] += p[row][key] v[key][c] over kn keys, for `vecs` registers of columns from c on;
   where a row sees fewer keys, with care. */
INLINE void few_values(const int rows, const int vecs, const few_scratch *x, const attn *p,
                       const T *v, int64_t c, int64_t kn, const int64_t *own, const T *ahead)
{
    const int64_t ld = p->g * p->e, left = p->e - c;
    vec sum[FEW_ROWS][4];
    int64_t all = kn;
    for (int i = 0; i < rows; i++) all = own[i] < all ? own[i] : all;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vecs; j++) sum[i][j] = ((const vec *)(x->acc + i * x->width + c))[j];
    for (int64_t k = 0; k < kn; k += PAIR) {
        const T *a = v + k * ld + c, *b = k + 1 < kn ? a + ld : a;
        evec e[4];
#    pragma GCC unroll 4
        for (int j = 0; j < vecs; j += PAIR) {
            const int64_t here = left - j * VL > 0 ? left - j * VL : 0;
            few_meet(e + j, few_load(a + j * VL, here), few_load(b + j * VL, here));
        }
        for (int i = 0; i < PAIR; i++)
            for (int j = 0; j < vecs * VL; j += 64 / (int)sizeof(T))
                __builtin_prefetch(ahead + (k + i) * ld + c + j);
        if (k + PAIR <= all) {
#    pragma GCC unroll 8
            for (int i = 0; i < rows; i++)
#    pragma GCC unroll 4
                for (int j = 0; j < vecs; j++)
                    sum[i][j] = madd(sum[i][j], x->p[i * PAIRS + k / PAIR], e[j]);
        } else {
#    pragma GCC unroll 8
            for (int i = 0; i < rows; i++)
#    pragma GCC unroll 4
                for (int j = 0; j < vecs; j++)
                    sum[i][j] = madd_seen(sum[i][j], x->p[i * PAIRS + k / PAIR], e[j], own[i] - k);
        }
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vecs; j++) ((vec *)(x->acc + i * x->width + c))[j] = sum[i][j];
}

INLINE void few_keys(const int rows, const attn *p, const attn_rows *w, const few_scratch *x,
                     int32_t j, int64_t kn)
{
    const int64_t ld = p->g * p->e, at = (j * p->g + w->head) * p->e;
    const T *k = p->k + at, *v = p->v + at;
    int64_t i = 0, own[FEW_ROWS];
    for (; i + VL <= kn; i += VL)
        few_scores(x->s + i, rows, x, p, k + i * ld, VL, k + (i + KEYS) * ld);
    if (i < kn) few_scores(x->s + i, rows, x, p, k + i * ld, kn - i, k + i * ld);
    for (int r = 0; r < rows; r++) {
        own[r] = attn_seen(w->last[r], j, kn);
        const R keep =
            few_soften(p, x->s + r * KEYS, x->p + r * PAIRS, x->top + r, x->sum + r, own[r]);
        if (keep != 1)
            for (int64_t c = 0; c < x->width; c += VL) *(vec *)(x->acc + r * x->width + c) *= keep;
    }
    const T *ahead = v + (w->t.k1 - j > 2 * KEYS ? KEYS * ld : 0);
    for (int64_t c = 0; c < p->e;)
        if (rows <= 4 && p->e - c > BLOCK / 2) {
            few_values(rows, 4, x, p, v, c, kn, own, ahead);
            c += BLOCK;
        } else {
            few_values(rows, 2, x, p, v, c, kn, own, ahead);
            c += BLOCK / 2;
        }
}

INLINE void few_all_keys(const int rows, const attn *p, const attn_rows *w, const few_scratch *x)
{
    for (int32_t j = w->t.k0; j < w->t.k1; j += KEYS)
        few_keys(rows, p, w, x, j, w->t.k1 - j < KEYS ? w->t.k1 - j : KEYS);
}

/* A row count in between costs what the next does. */
static bool few_tile(const attn *p, attn_tile t, int64_t head, T *y, R *lse, R *slot)
{
    if ((t.q1 - t.q0) * p->rep > FEW_ROWS) return false;
    const few_scratch x = few_scratch_of(p, slot);
    const attn_rows w = attn_rows_of(p, t, head, x.places);
    memset(x.q, 0, (size_t)(FEW_ROWS * x.ee) * sizeof(E));
    memset(x.acc, 0, (size_t)(FEW_ROWS * x.width) * sizeof(R));
    for (int64_t r = 0; r < FEW_ROWS; r++) x.top[r] = -INFINITY, x.sum[r] = 0;
    for (int64_t r = 0; r < w.rows; r++)
        for (int64_t c = 0; c < p->e; c++) ((H *)(x.q + r * x.ee))[c] = take(p->q[w.at[r] + c]);
    if (w.rows == 1)
        few_all_keys(1, p, &w, &x);
    else if (w.rows <= 3)
        few_all_keys(3, p, &w, &x);
    else if (w.rows == 4)
        few_all_keys(4, p, &w, &x);
    else
        few_all_keys(8, p, &w, &x);
    for (int64_t r = 0; r < w.rows; r++) {
        R *acc = x.acc + r * x.width;
        const R sum = x.sum[r];
        T *to = y + w.at[r];
        for (int64_t c = 0; c < x.width; c += HOLD) few_part(acc + c);
        for (int64_t c = 0; c < p->e; c++) to[c] = ST(acc[c] / sum);
        if (lse) lse[w.at[r] / p->e] = x.top[r] + LOG2(sum);
    }
    return true;
}
#else
static bool few_tile(const attn *p, attn_tile t, int64_t head, T *y, R *lse, R *slot)
{
    (void)p, (void)t, (void)head, (void)y, (void)lse, (void)slot;
    return false;
}
#endif
#endif
