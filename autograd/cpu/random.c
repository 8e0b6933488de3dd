/* Each element is a function of (key, stream, element) alone. */
#include "autograd/cpu/kernel.h"
#include "base/rng.h"

void K(normal)(void *y_, double std, uint64_t key, uint64_t stream, int64_t n)
{
    T *y = y_;
#pragma omp parallel for schedule(static) if (n > QP_GRAIN)
    for (int64_t i = 0; i < n; i++) y[i] = ST((R)(std * qp_rng_normal(key, stream, (uint64_t)i)));
}

/* What rounding would lift to high belongs to low: the interval is open there. */
void K(uniform)(void *y_, double low, double high, uint64_t key, uint64_t stream, int64_t n)
{
    T *y = y_;
#pragma omp parallel for schedule(static) if (n > QP_GRAIN)
    for (int64_t i = 0; i < n; i++) {
        const double u = low + (high - low) * qp_rng_uniform(key, stream, (uint64_t)i);
        const T v = ST((R)u);
        y[i] = (double)LD(v) < high ? v : ST((R)low);
    }
}
