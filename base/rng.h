/* Counter-based random numbers: a value is a pure function of (key, stream, index), so a recomputed
   forward repeats them, threads may split them, and a checkpoint stores two integers. Philox
   4x32-10, Salmon et al. 2011 (Random123). */
#ifndef QP_BASE_RNG_H
#define QP_BASE_RNG_H
#include <stdint.h>

typedef struct {
    uint64_t key;  /* from the seed and the purpose */
    uint64_t next; /* the next stream to hand out */
} qp_rng;

/* A key for one purpose of one seed; purposes are short names: "init", "dropout", "shuffle". */
uint64_t qp_rng_key(uint64_t seed, const char *purpose);
static inline uint64_t qp_rng_stream(qp_rng *r) { return r->next++; }
#endif
