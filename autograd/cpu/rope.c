#include "autograd/cpu/kernel.h"

/* Pair (a, b) = (x[i], x[i + e/2]) of each head turns by the angle of its row's position:
   (a cos - b sin, b cos + a sin). dir -1 turns back, which is the gradient: the matrix is
   orthogonal. */
void K(rope)(void *y_, double beta, const void *x_, const void *cos_, const void *sin_,
             const int32_t *pos, int dir, int64_t n, int64_t heads, int64_t e)
{
    T *y = y_;
    const T *x = x_;
    const R *cosines = cos_, *sines = sin_, sign = (R)dir;
    const int64_t half = e / 2;
#pragma omp parallel for schedule(static) if (n * heads * e > QP_GRAIN)
    for (int64_t i = 0; i < n; i++) {
        const R *c = cosines + pos[i] * half, *s = sines + pos[i] * half;
        for (int64_t h = 0; h < heads; h++) {
            const T *xa = x + (i * heads + h) * e, *xb = xa + half;
            T *ya = y + (i * heads + h) * e, *yb = ya + half;
#pragma omp simd
            for (int64_t j = 0; j < half; j++) {
                const R a = LD(xa[j]), b = LD(xb[j]), t = sign * s[j];
                ya[j] = ACC(ya[j], beta, a * c[j] - b * t);
                yb[j] = ACC(yb[j], beta, b * c[j] + a * t);
            }
        }
    }
}
