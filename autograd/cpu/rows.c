/* Taking rows out of a matrix and putting their gradients back. */
#include "autograd/cpu/kernel.h"

void K(rows_take)(void *y_, const void *x_, const int32_t *rows, int64_t n, int64_t d)
{
    T *y = y_;
    const T *x = x_;
#pragma omp parallel for schedule(static) if (n * d > QP_GRAIN)
    for (int64_t i = 0; i < n; i++)
        memcpy(y + i * d, x + (int64_t)rows[i] * d, (size_t)d * sizeof *y);
}

void K(rows_put)(void *dx_, double beta, const void *dy_, const int32_t *rows, int64_t n,
                 int64_t total, int64_t d)
{
    T *dx = dx_;
    const T *dy = dy_;
    if (beta == 0) K(zero)(dx, total * d);
#pragma omp parallel for schedule(static) if (n * d > QP_GRAIN)
    for (int64_t i = 0; i < n; i++) {
        T *to = dx + (int64_t)rows[i] * d;
#pragma omp simd
        for (int64_t j = 0; j < d; j++) to[j] = ACC(to[j], beta, LD(dy[i * d + j]));
    }
}
