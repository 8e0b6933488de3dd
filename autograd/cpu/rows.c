/* Whole rows of a matrix. */
#include "autograd/cpu/kernel.h"

void K(rows_take)(void *y_, const void *x_, const int32_t *rows, int64_t n, int64_t d)
{
    T *y = y_;
    const T *x = x_;
#pragma omp parallel for schedule(static) if (n * d > QP_GRAIN)
    for (int64_t i = 0; i < n; i++)
        memcpy(y + i * d, x + (int64_t)rows[i] * d, (size_t)d * sizeof *y);
}

void K(rows_scale)(void *y_, const void *x_, const void *factor_, int64_t n, int64_t d)
{
    T *y = y_;
    const T *x = x_;
    const R *factor = factor_;
#pragma omp parallel for schedule(static) if (n * d > QP_GRAIN)
    for (int64_t i = 0; i < n; i++) {
        const R f = factor[i];
#pragma omp simd
        for (int64_t j = 0; j < d; j++) y[i * d + j] = ST(f * LD(x[i * d + j]));
    }
}
