#include "autograd/cpu/lanes.h"
#include "autograd/cpu/piece.h"
#include "autograd/cpu/weight.h"

/* How far above `top` a logit may be: e^40 times the largest vocabulary and weight is no trouble
   for a float. So top is the largest logit of the first chunk, which is near enough to the largest
   of all, and what was summed up before is hardly ever scaled again. */
#define FAR 40

enum { COLUMNS = 512 };

/* e^v, v at most FAR. */
static inline R exp_of(R v) { return EXP2_NEG(v * (R)M_LOG2E); }

/* The sum of e^(z - m) over a row; p, where wanted, receives the terms. Summed piece by piece while
   they are in registers: a pass over whole rows for each took 1.2 times as long. */
static R terms(T *p, const R *z, R m, int64_t n)
{
    R total = 0, room[PIECE], part;
    for (int64_t i = 0; i < n; i += PIECE) {
        const int64_t len = piece_at(i, n);
        R *v = p ? unrounded(room, p + i, 0) : room;
        SUM(R, part, len, j, v[j] = exp_of(z[i + j] - m));
        if (p) rounded(p + i, 0, v, len);
        total += part;
    }
    return total;
}

/* Softmax over chunks of the vocabulary, one pass each (Milakov & Gimelshein 2018,
   arXiv:1805.02867). A NaN never becomes `top` but always reaches the sum. */
void K(xent_chunk)(void *top_, void *sum_, void *hit_, void *p_, void *dx_, void *logits_,
                   const int32_t *targets, int64_t v0, int64_t n, int64_t c, int64_t d)
{
    R *top = top_, *sum = sum_, *hit = hit_, *dx = dx_, *logits = logits_;
    T *p = p_;
#pragma omp parallel for schedule(static) if (n * c > QP_GRAIN)
    for (int64_t i = 0; i < n; i++) {
        R *z = logits + i * c;
        const R before = v0 ? top[i] : -INFINITY;
        R most = -INFINITY;
        LARGEST(R, most, c, j, z[j]);
        const R m = most > before + FAR ? most : before, smaller = EXP(before - m);
        if (m > before && v0 && dx)
            for (int64_t j = 0; j < d; j++) dx[i * d + j] *= smaller;
        const int64_t t = targets[i] - v0;
        if (t >= 0 && t < c) {
            hit[i] = z[t];
            z[t] = -INFINITY; /* e^z is 0: neither in the sum nor in p */
        }
        const R s = terms(p ? p + i * c : NULL, z, m, c);
        sum[i] = v0 ? sum[i] * smaller + s : s;
        top[i] = m;
    }
}

void K(xent_finish)(void *p_, const void *then_, const void *top_, const void *sum_,
                    const int32_t *targets, int64_t v0, int64_t n, int64_t c)
{
    T *p = p_;
    const R *then = then_, *top = top_, *sum = sum_;
#pragma omp parallel for schedule(static) if (n * c > QP_GRAIN)
    for (int64_t i = 0; i < n; i++) {
        const int64_t t = targets[i] - v0;
        if (then[i] != top[i]) {
            const R smaller = EXP(then[i] - top[i]);
            for (int64_t j = 0; j < c; j++) p[i * c + j] = ST(LD(p[i * c + j]) * smaller);
        }
        if (t >= 0 && t < c) p[i * c + t] = ST(-sum[i]);
    }
}

void K(xent_dx)(void *dx_, const void *sums_, const qp_tensor *w, const int32_t *rows,
                const int32_t *targets, const void *over_, const void *less_, int64_t n, int64_t d)
{
    T *dx = dx_;
    const R *sums = sums_, *over = over_, *less = less_;
#pragma omp parallel for schedule(static) if (n * d > QP_GRAIN)
    for (int64_t i = 0; i < n; i++) {
        T wt[COLUMNS]; /* rounded as the products had it */
        for (int64_t j0 = 0; j0 < d; j0 += COLUMNS) {
            const int64_t cols = d - j0 < COLUMNS ? d - j0 : COLUMNS;
            const R *s = sums + i * d + j0, a = over[i], b = less[i];
            T *to = dx + rows[i] * d + j0;
            qp_weight_panel(wt, QP_T, cols, w, targets[i], 1, j0, cols);
#pragma omp simd
            for (int64_t j = 0; j < cols; j++) to[j] = ACC(to[j], 1, a * s[j] + b * LD(wt[j]));
        }
    }
}
