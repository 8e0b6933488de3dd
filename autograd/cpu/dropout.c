#include "autograd/cpu/kernel.h"
#include "base/rng.h"

/* A coin is 16 bits of the counter-based generator, a function of (key, stream, element) alone: it
   is thrown again in backward, and threads share nothing. p is met to 1/65536. Sixteen counters at
   a time, which vectorises, give a block of 128 elements its coins: the low halves of their 64
   words, then the high halves. */
/* Seven rounds are the least that pass all of BigCrush (Salmon et al.); a mask needs no margin
 * above. */
enum { ROUNDS = 7, LANES = 16, WORDS = 4 * LANES, BLOCK = 2 * WORDS };

static void throw_coins(uint32_t word[WORDS], uint64_t key, uint64_t stream, int64_t block)
{
    uint32_t *c0 = word, *c1 = c0 + LANES, *c2 = c1 + LANES, *c3 = c2 + LANES;
    const uint64_t first = (uint64_t)block * LANES;
    for (int l = 0; l < LANES; l++) {
        c0[l] = (uint32_t)(first + (uint64_t)l);
        c1[l] = (uint32_t)((first + (uint64_t)l) >> 32);
        c2[l] = (uint32_t)stream;
        c3[l] = (uint32_t)(stream >> 32);
    }
#pragma GCC unroll 7
    for (int round = 0; round < ROUNDS; round++, key = qp_philox_step(key)) {
#pragma omp simd
        for (int l = 0; l < LANES; l++) qp_philox_round(&c0[l], &c1[l], &c2[l], &c3[l], key);
    }
}

/* y = beta y + (coin says keep ? scale x : 0) for up to WORDS elements; a coin starts at bit
 * `shift` of its word. */
static inline void keep_or_drop(T *y, double beta, const T *x, R scale, uint32_t drop_below,
                                const uint32_t *word, int shift, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const bool drop = (word[i] >> shift & 0xffff) < drop_below;
        y[i] = ACC(y[i], beta, drop ? 0 : scale * LD(x[i]));
    }
}

void K(dropout)(void *y_, double beta, const void *x_, double p, uint64_t key, uint64_t stream,
                int64_t n)
{
    T *y = y_;
    const T *x = x_;
    const uint32_t drop_below = (uint32_t)lrint(p * 0x1p16);
    const R scale = (R)(1 / (1 - p));
#pragma omp parallel for schedule(static) if (n > QP_GRAIN)
    for (int64_t b = 0; b < (n + BLOCK - 1) / BLOCK; b++) {
        uint32_t word[WORDS];
        throw_coins(word, key, stream, b);
        for (int half = 0; half < 2; half++) {
            const int64_t lo = b * BLOCK + half * WORDS, len = n - lo < WORDS ? n - lo : WORDS;
            keep_or_drop(y + lo, beta, x + lo, scale, drop_below, word, 16 * half, len);
        }
    }
}
