#include "autograd/cpu/kernel.h"

/* Blocks of fixed length, then the blocks in order: neither the thread count nor a range's
   neighbours change the sum. In f64, where no square of an f32 overflows. */
void K(sumsq)(double *out, void *work, const void *g_, int64_t n)
{
    const R *g = g_;
    double *part = work, total = 0;
    const int64_t blocks = (n + QP_SUM_BLOCK - 1) / QP_SUM_BLOCK;
#pragma omp parallel for schedule(static) if (n > QP_GRAIN)
    for (int64_t b = 0; b < blocks; b++) {
        const int64_t lo = b * QP_SUM_BLOCK, hi = lo + QP_SUM_BLOCK < n ? lo + QP_SUM_BLOCK : n;
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = lo; i < hi; i++) sum += (double)g[i] * (double)g[i];
        part[b] = sum;
    }
    for (int64_t b = 0; b < blocks; b++) total += part[b];
    *out = total;
}
