/* Counter-based random numbers: a value is a pure function of (key, stream, index), so a recomputed
   forward repeats them, threads may split them, and a checkpoint stores two integers. Philox
   4x32-10, Salmon et al. 2011 (Random123). */
#ifndef QP_BASE_RNG_H
#define QP_BASE_RNG_H
#include "base/c.h"
#include <stdint.h>
QP_C_BEGIN

typedef struct {
    uint64_t key;  /* from the seed and the purpose */
    uint64_t next; /* the next stream to hand out */
} qp_rng;

/* A key for one purpose of one seed; purposes are short names such as "init", "dropout", "shuffle".
 */
uint64_t qp_rng_key(uint64_t seed, const char *purpose);
static inline uint64_t qp_rng_stream(qp_rng *r) { return r->next++; }
uint64_t qp_rng_u64(uint64_t key, uint64_t stream, uint64_t index);
double qp_rng_uniform(uint64_t key, uint64_t stream, uint64_t index); /* [0, 1) with 53 bits */
double qp_rng_normal(uint64_t key, uint64_t stream, uint64_t index);  /* N(0, 1), Box-Muller */
/* 0 .. n-1 without bias that matters (multiply-shift of 64 bits); n > 0. */
uint64_t qp_rng_below(uint64_t key, uint64_t stream, uint64_t index, uint64_t n);

/* One round of the generator over the four words of a counter, and the step of the key between
   rounds; inline, so that loops over counters vectorise. */
static inline void qp_philox_round(uint32_t *c0, uint32_t *c1, uint32_t *c2, uint32_t *c3,
                                   uint64_t key)
{
    uint64_t p0 = (uint64_t)0xD2511F53u * *c0, p1 = (uint64_t)0xCD9E8D57u * *c2;
    *c0 = (uint32_t)(p1 >> 32) ^ *c1 ^ (uint32_t)key;
    *c1 = (uint32_t)p1;
    *c2 = (uint32_t)(p0 >> 32) ^ *c3 ^ (uint32_t)(key >> 32);
    *c3 = (uint32_t)p0;
}

/* Both halves by the paper's Weyl sequences: the golden ratio and sqrt(3) - 1. */
static inline uint64_t qp_philox_step(uint64_t key)
{
    return (uint64_t)((uint32_t)(key >> 32) + 0xBB67AE85u) << 32 | ((uint32_t)key + 0x9E3779B9u);
}
QP_C_END
#endif
