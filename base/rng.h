/* Counter-based random numbers: a value is a pure function of (key, stream, index), so a recomputed forward
   repeats them, threads may split them, and a checkpoint stores two integers. Philox 4x32-10, Salmon et al.
   2011 (Random123). */
#ifndef QP_BASE_RNG_H
#define QP_BASE_RNG_H
#include <stdint.h>

typedef struct {
    uint64_t key;  /* from the seed and the purpose */
    uint64_t next; /* the next stream to hand out */
} qp_rng;

/* A key for one purpose of one seed; purposes are short names such as "init", "dropout", "shuffle". */
uint64_t qp_rng_key(uint64_t seed, const char *purpose);
static inline uint64_t qp_rng_stream(qp_rng *r) { return r->next++; }
uint64_t qp_rng_u64(uint64_t key, uint64_t stream, uint64_t index);
double qp_rng_uniform(uint64_t key, uint64_t stream, uint64_t index); /* [0, 1) with 53 bits */
double qp_rng_normal(uint64_t key, uint64_t stream, uint64_t index);  /* N(0, 1), Box-Muller */
/* 0 .. n-1 without bias that matters (multiply-shift of 64 bits); n > 0. */
uint64_t qp_rng_below(uint64_t key, uint64_t stream, uint64_t index, uint64_t n);
#endif
