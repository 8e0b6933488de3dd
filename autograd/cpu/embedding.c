#include "autograd/cpu/kernel.h"
#include "autograd/cpu/weight.h"

void K(embedding_fwd)(void *y_, const qp_tensor *w, const int32_t *ids, int64_t n, int64_t d)
{
    T *y = y_;
#pragma omp parallel for schedule(static) if (n * d > QP_GRAIN)
    for (int64_t i = 0; i < n; i++) qp_weight_row(y + i * d, QP_T, w, ids[i]);
}

/* An id may come many times, so threads own columns, not rows: each sum runs in row order. */
void K(embedding_bwd)(void *dw_, double beta, const void *dy_, const int32_t *ids, int64_t n,
                      int64_t d, int64_t v)
{
    R *dw = dw_;
    const T *dy = dy_;
    enum { COLUMNS = 64 };
#pragma omp parallel if (n * d > QP_GRAIN)
    {
        if (beta == 0) {
#pragma omp for simd schedule(static)
            for (int64_t i = 0; i < v * d; i++) dw[i] = 0;
        }
#pragma omp for schedule(static)
        for (int64_t j0 = 0; j0 < d; j0 += COLUMNS) {
            const int64_t j1 = j0 + COLUMNS < d ? j0 + COLUMNS : d;
            for (int64_t i = 0; i < n; i++) {
                R *to = dw + (int64_t)ids[i] * d;
#pragma omp simd
                for (int64_t j = j0; j < j1; j++) to[j] += LD(dy[i * d + j]);
            }
        }
    }
}
