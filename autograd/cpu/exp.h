/* e^x in f32 without branches or tables, so that loops over it vectorise on every build.
   x = n ln 2 + r with |r| <= ln 2 / 2; then e^x = 2^n (1 + r + r^2 p(r)), p of degree 4 fitted for
   the least relative error (3e-9, a twentieth of half an ulp). Below 2 ulp of libm everywhere,
   subnormal results included; NaN stays NaN, +inf gives +inf, -inf gives 0, 0 gives 1 exactly. */
#ifndef QP_AUTOGRAD_CPU_EXP_H
#define QP_AUTOGRAD_CPU_EXP_H
#include <stdint.h>
#include <string.h>

static inline uint32_t qp_f32_bits(float v)
{
    uint32_t u;
    memcpy(&u, &v, sizeof u);
    return u;
}

static inline float qp_f32_from_bits(uint32_t u)
{
    float v;
    memcpy(&v, &u, sizeof v);
    return v;
}

static inline float qp_expf(float x)
{
    /* e^89 overflows and e^-105 is 0: n stays in range. A NaN passes both. */
    x = 89.0f < x ? 89.0f : x;
    x = -105.0f > x ? -105.0f : x;
    /* Adding 1.5 * 2^23 rounds and leaves the integer in the low bits: no conversion that a NaN
       would make undefined. */
    const float shift = 0x1.8p23f;
    float z = x * 0x1.715476p0f + shift, whole = z - shift;
    /* ln 2 in two parts: the first has 10 bits, so that n times it is exact. */
    float r = (x - whole * 0x1.63p-1f) + whole * 0x1.bd0106p-13f;
    float p = 0x1.6a23d0p-10f;
    p = p * r + 0x1.123a20p-7f;
    p = p * r + 0x1.5558f2p-5f;
    p = p * r + 0x1.555492p-3f;
    p = p * r + 0x1.fffffcp-2f;
    float y = 1.0f + (r + r * r * p);
    uint32_t n = qp_f32_bits(z) - qp_f32_bits(shift);
    /* 2^n in two halves, since n reaches from -151 to 128. */
    uint32_t k = n + 512, half = k >> 1;
    float a = qp_f32_from_bits((half - 256 + 127) << 23);
    float b = qp_f32_from_bits((k - half - 256 + 127) << 23);
    return y * a * b;
}

/* 2^x for softmax: half the work. x below 128; NaN stays NaN, and where 2^x is below 2^-126.5,
   -inf included, the result is 0. x = n + r with |r| <= 1/2; then 2^x = 2^n (1 + r p(r)), p of
   degree 5 fitted for the least relative error (2e-9). */
static inline float qp_exp2f_neg(float x)
{
    /* As above, but the integer left in the low bits is n + 127: the exponent of 2^n, or at n =
       -127 that of 0. */
    const float shift = 0x1.8p23f + 127;
    x = -127.0f > x ? -127.0f : x;
    float z = x + shift, r = x - (z - shift);
    float p = 0x1.41fbbcp-13f;
    p = p * r + 0x1.5f3e54p-10f;
    p = p * r + 0x1.3b2d4cp-7f;
    p = p * r + 0x1.c6aee8p-5f;
    p = p * r + 0x1.ebfbdcp-3f;
    p = p * r + 0x1.62e430p-1f;
    p = p * r + 1.0f;
    return p * qp_f32_from_bits(qp_f32_bits(z) << 23);
}
#endif
