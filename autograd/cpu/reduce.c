#include "autograd/cpu/kernel.h"
#include "autograd/cpu/lanes.h"

/* Blocks of fixed length, then the blocks in order: neither the thread count nor a range's
   neighbours change the sum. In f64, where no square of an f32 overflows. */
void K(sumsq)(double *out, void *work, const void *g_, int64_t n)
{
    const R *g = g_;
    double *part = work, total = 0;
    const int64_t blocks = (n + QP_SUM_BLOCK - 1) / QP_SUM_BLOCK;
#pragma omp parallel for schedule(static) if (n > QP_GRAIN)
    for (int64_t b = 0; b < blocks; b++) {
        const R *x = g + b * QP_SUM_BLOCK;
        const int64_t left = n - b * QP_SUM_BLOCK, len = left < QP_SUM_BLOCK ? left : QP_SUM_BLOCK;
        SUM(double, part[b], len, i, (double)x[i] * (double)x[i]);
    }
    for (int64_t b = 0; b < blocks; b++) total += part[b];
    *out = total;
}
