#include "autograd/cpu/piece.h"
#include "base/rng.h"

/* A coin is 16 bits of the counter-based generator, a function of (key, stream, element) alone: it
   is thrown again in backward, and threads share nothing. p is met to 1/65536. Sixteen counters at
   a time, which vectorises, give a block of 128 elements its coins: the low halves of their 64
   words, then the high halves. */
/* Seven rounds are the least that pass all of BigCrush (Salmon et al.); a mask needs no margin
   above. */
enum { ROUNDS = 7, LANES = 16, WORDS = 4 * LANES, BLOCK = 2 * WORDS, GROUP = 4 };

/* The coins of GROUP blocks: a round waits for the one before it, so several blocks take turns: in
   bf16 2.3 times as fast. The first of a block's counters is a multiple of LANES, so only its low
   half differs between them: said so, the start vectorises too. */
static void throw_coins(uint32_t word[GROUP][WORDS], const uint64_t key[ROUNDS], uint64_t stream,
                        int64_t block)
{
    for (int g = 0; g < GROUP; g++) {
        const uint64_t first = (uint64_t)(block + g) * LANES;
        for (uint32_t l = 0; l < LANES; l++) {
            word[g][l] = (uint32_t)first + l;
            word[g][LANES + l] = (uint32_t)(first >> 32);
            word[g][2 * LANES + l] = (uint32_t)stream;
            word[g][3 * LANES + l] = (uint32_t)(stream >> 32);
        }
    }
    for (int round = 0; round < ROUNDS; round++)
        for (int g = 0; g < GROUP; g++) {
            uint32_t *c0 = word[g], *c1 = c0 + LANES, *c2 = c1 + LANES, *c3 = c2 + LANES;
#pragma omp simd
            for (int l = 0; l < LANES; l++)
                qp_philox_round(&c0[l], &c1[l], &c2[l], &c3[l], key[round]);
        }
}

/* y = beta y + (coin says keep ? scale x : 0) for up to WORDS elements; a coin starts at bit
   `shift` of its word. */
static inline void keep_or_drop(T *y, double beta, const T *x, R scale, uint32_t drop_below,
                                const uint32_t *word, int shift, int64_t n)
{
    R room[2][WORDS], *v = unrounded(room[1], y, beta);
    const R *xs = widened(room[0], x, n);
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const bool drop = (word[i] >> shift & 0xffff) < drop_below;
        v[i] = drop ? 0 : scale * xs[i];
    }
    rounded(y, beta, v, n);
}

void K(dropout)(void *y_, double beta, const void *x_, double p, uint64_t key, uint64_t stream,
                int64_t n)
{
    T *y = y_;
    const T *x = x_;
    const uint32_t drop_below = (uint32_t)lrint(p * 0x1p16);
    const R scale = (R)(1 / (1 - p));
    uint64_t keys[ROUNDS];
    for (int round = 0; round < ROUNDS; round++, key = qp_philox_step(key)) keys[round] = key;
#pragma omp parallel for schedule(static) if (n > QP_GRAIN)
    for (int64_t b = 0; b < (n + BLOCK - 1) / BLOCK; b += GROUP) {
        uint32_t word[GROUP][WORDS];
        throw_coins(word, keys, stream, b);
        for (int half = 0; half < 2 * GROUP; half++) {
            const int64_t lo = b * BLOCK + half * WORDS, len = n - lo < WORDS ? n - lo : WORDS;
            if (len > 0)
                keep_or_drop(y + lo, beta, x + lo, scale, drop_below, word[half / 2],
                             16 * (half % 2), len);
        }
    }
}
