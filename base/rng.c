#include "base/rng.h"
#include <math.h>

/* Philox 4x32 with ten rounds: counter (index, stream), key. Two outputs of 64 bits. */
typedef struct {
    uint64_t a, b;
} pair;

static pair philox(uint64_t key, uint64_t stream, uint64_t index)
{
    uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32);
    uint32_t c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 +=
            0x9E3779B9u; /* the golden ratio, and sqrt(3) - 1: the paper's Weyl sequence of keys */
        k1 += 0xBB67AE85u;
    }
    return (pair){ (uint64_t)c1 << 32 | c0, (uint64_t)c3 << 32 | c2 };
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
