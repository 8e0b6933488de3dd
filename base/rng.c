#include "base/rng.h"
#include <math.h>

/* Philox 4x32 with ten rounds: a counter's four words as two of 64 bits. */
enum { ROUNDS = 10 };
typedef struct {
    uint64_t a, b;
} pair;

static pair philox(uint64_t key, uint64_t stream, uint64_t index)
{
    uint32_t c[4] = { (uint32_t)index, (uint32_t)(index >> 32), (uint32_t)stream,
                      (uint32_t)(stream >> 32) };
    for (int round = 0; round < ROUNDS; round++, key = qp_philox_step(key))
        qp_philox_round(&c[0], &c[1], &c[2], &c[3], key);
    return (pair){ (uint64_t)c[1] << 32 | c[0], (uint64_t)c[3] << 32 | c[2] };
}

uint64_t qp_rng_key(uint64_t seed, const char *purpose)
{
    uint64_t h = 0xCBF29CE484222325u; /* FNV-1a of the name, then mixed with the seed */
    for (const char *c = purpose; *c; c++) h = (h ^ (uint8_t)*c) * 0x100000001B3u;
    return philox(seed, 0, h).a;
}

uint64_t qp_rng_u64(uint64_t key, uint64_t stream, uint64_t index)
{
    return philox(key, stream, index).a;
}

double qp_rng_uniform(uint64_t key, uint64_t stream, uint64_t index)
{
    return (double)(philox(key, stream, index).a >> 11) * 0x1p-53;
}

double qp_rng_normal(uint64_t key, uint64_t stream, uint64_t index)
{
    pair p = philox(key, stream, index);
    double u = (double)((p.a >> 11) + 1) * 0x1p-53; /* (0, 1]: its logarithm is finite */
    double v = (double)(p.b >> 11) * 0x1p-53;
    return sqrt(-2 * log(u)) * cos(6.283185307179586477 * v);
}

uint64_t qp_rng_below(uint64_t key, uint64_t stream, uint64_t index, uint64_t n)
{
    return (uint64_t)((unsigned __int128)philox(key, stream, index).a * n >> 64);
}
