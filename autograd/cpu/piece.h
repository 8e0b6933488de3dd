/* Loops that compute on stored values, piece by piece: widened, computed on and rounded in loops of
   their own over pieces that stay in L1. A loop that does all three for bf16 mixes lanes of two
   widths, which compilers vectorise badly: swiglu's took 1.25 times as long, softmax's 1.7 times.
 */
#ifndef QP_AUTOGRAD_CPU_PIECE_H
#define QP_AUTOGRAD_CPU_PIECE_H
#include "autograd/cpu/kernel.h"

enum { PIECE = 512 };

static inline int64_t piece_at(int64_t i, int64_t n) { return n - i < PIECE ? n - i : PIECE; }

/* n values of x in R: x itself where it is stored so, else in room. */
static inline const R *widened(R *room, const T *x, int64_t n)
{
    if (QP_T == QP_R) return (const R *)(const void *)x;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) room[i] = LD(x[i]);
    return room;
}

/* Where to compute what `rounded` then writes: y itself where nothing is left to do. */
static inline R *unrounded(R *room, T *y, double beta)
{
    return QP_T == QP_R && beta == 0 ? (R *)(void *)y : room;
}

/* y = beta y + v, rounded; beta 0 or 1. */
static inline void rounded(T *y, double beta, const R *v, int64_t n)
{
    if ((const void *)y == (const void *)v) return;
    if (beta != 0) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) y[i] = ST(LD(y[i]) + v[i]);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) y[i] = ST(v[i]);
    }
}
#endif
