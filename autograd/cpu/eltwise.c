/* Loops over values that know nothing of their neighbours. */
#include "autograd/cpu/piece.h"

void K(zero)(void *y_, int64_t n)
{
    T *y = y_;
#pragma omp parallel for simd schedule(static) if (parallel : n > QP_GRAIN)
    for (int64_t i = 0; i < n; i++) y[i] = 0;
}

void K(axpy)(void *y_, double beta, const void *x_, double alpha, int64_t n)
{
    T *y = y_;
    const T *x = x_;
    const R a = (R)alpha;
#pragma omp parallel for simd schedule(static) if (parallel : n > QP_GRAIN)
    for (int64_t i = 0; i < n; i++) y[i] = ACC(y[i], beta, a * LD(x[i]));
}

/* e^-g = inf gives 0, which is right. */
static inline R gate(R g) { return 1 / (1 + EXP(-g)); }

/* silu(g) u = g s u with s = 1 / (1 + e^-g). */
void K(swiglu_fwd)(void *y_, const void *g_, const void *u_, int64_t n)
{
    T *y = y_;
    const T *g = g_, *u = u_;
#pragma omp parallel for schedule(static) if (n > QP_GRAIN)
    for (int64_t i = 0; i < n; i += PIECE) {
        const int64_t len = piece_at(i, n);
        R room[3][PIECE], *v = unrounded(room[2], y + i, 0);
        const R *gi = widened(room[0], g + i, len), *ui = widened(room[1], u + i, len);
#pragma omp simd
        for (int64_t j = 0; j < len; j++) v[j] = gi[j] * gate(gi[j]) * ui[j];
        rounded(y + i, 0, v, len);
    }
}

/* With s = 1 / (1 + e^-g):  du = dy g s,  dg = dy u s (1 + g (1 - s)). */
static inline R gate_grad(R dy, R g, R u, R s) { return dy * s * u * (1 + g * (1 - s)); }
static inline R up_grad(R dy, R g, R s) { return dy * s * g; }

void K(swiglu_bwd)(void *dg_, double bg, void *du_, double bu, const void *dy_, const void *g_,
                   const void *u_, int64_t n)
{
    T *dg = dg_, *du = du_;
    const T *dy = dy_, *g = g_, *u = u_;
#pragma omp parallel for schedule(static) if (n > QP_GRAIN)
    for (int64_t i = 0; i < n; i += PIECE) {
        const int64_t len = piece_at(i, n);
        R room[5][PIECE], *a = dg ? unrounded(room[3], dg + i, bg) : room[3];
        R *b = du ? unrounded(room[4], du + i, bu) : room[4];
        const R *gi = widened(room[0], g + i, len), *ui = widened(room[1], u + i, len);
        const R *e = widened(room[2], dy + i, len);
#pragma omp simd
        for (int64_t j = 0; j < len; j++) {
            const R s = gate(gi[j]);
            a[j] = gate_grad(e[j], gi[j], ui[j], s);
            b[j] = up_grad(e[j], gi[j], s);
        }
        if (dg) rounded(dg + i, bg, a, len);
        if (du) rounded(du + i, bu, b, len);
    }
}
