#include "autograd/cpu/kernel.h"
#include "base/rng.h"

/* A coin is a 32-bit word of the counter-based generator, a function of (key, stream, element)
   alone: it is thrown again in backward, and threads share nothing. Sixteen counters at a time,
   which vectorises: element i of a block of 64 gets word i / 16 of counter i % 16. */
enum { LANES = 16, BLOCK = 4 * LANES };

static void throw_coins(uint32_t coin[BLOCK], uint64_t key, uint64_t stream, int64_t block)
{
#pragma omp simd
    for (int l = 0; l < LANES; l++) {
        uint32_t word[4];
        qp_philox(word, key, stream, (uint64_t)(block * LANES + l));
        for (int k = 0; k < 4; k++) coin[k * LANES + l] = word[k];
    }
}

void K(dropout)(void *y_, double beta, const void *x_, double p, uint64_t key, uint64_t stream,
                int64_t n)
{
    T *y = y_;
    const T *x = x_;
    const uint32_t drop_below = (uint32_t)(p * 0x1p32);
    const R scale = (R)(1 / (1 - p));
#pragma omp parallel for schedule(static) if (n > QP_GRAIN)
    for (int64_t b = 0; b < (n + BLOCK - 1) / BLOCK; b++) {
        const int64_t lo = b * BLOCK, len = n - lo < BLOCK ? n - lo : BLOCK;
        uint32_t coin[BLOCK];
        throw_coins(coin, key, stream, b);
#pragma omp simd
        for (int64_t i = 0; i < len; i++)
            y[lo + i] = ACC(y[lo + i], beta, coin[i] < drop_below ? 0 : scale * LD(x[lo + i]));
    }
}
