#include "autograd/backend.h"
#include "base/buf.h"
#include "base/rng.h"
#include "bench/bench.h"
#include <stdlib.h>

/* Of so many numbers copies are made; a prime, so that no two rows of a matrix are alike. */
enum { DRAWN = 65521 };

void *bench_values(qp_storage type, int64_t n, uint64_t seed)
{
    const qp_kernels *k = qp_cpu_backend()->k[type];
    float *x = qp_xmalloc(DRAWN * sizeof *x);
    char *y = qp_xaligned(64, qp_storage_bytes(type, n));
    for (int64_t i = 0; i < DRAWN; i++) x[i] = (float)qp_rng_uniform(seed, 0, (uint64_t)i) * 2 - 1;
    for (int64_t i = 0; i < n; i += DRAWN)
        k->cast_in(y + qp_storage_bytes(type, i), 0, x, QP_F32, n - i < DRAWN ? n - i : DRAWN);
    free(x);
    return y;
}
