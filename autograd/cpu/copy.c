/* Values moved between layouts: permute, slice, concat, broadcast, and their gradients. */
#include "autograd/cpu/each.h"

static void copy_row(const row *r)
{
    T *y = r->at[0];
    const T *x = r->at[1];
    const int64_t n = r->len, sy = r->step[0], sx = r->step[1];
    const R alpha = (R)r->alpha;
    if (sy == 1 && sx == 1) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) y[i] = ACC(y[i], r->beta, alpha * LD(x[i]));
    } else if (sy == 1 && sx == 0) {
        const R v = alpha * LD(*x);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) y[i] = ACC(y[i], r->beta, v);
    } else {
        for (int64_t i = 0; i < n; i++) y[i * sy] = ACC(y[i * sy], r->beta, alpha * LD(x[i * sx]));
    }
}

void K(copy)(void *y, double beta, double alpha, const void *x, const qp_loops *l)
{
    each(l, (row){ .at = { y, (T *)x }, .beta = beta, .alpha = alpha }, copy_row);
}
