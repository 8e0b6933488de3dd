/* Sixteen-bit floats and GGUF's block types, to and from f32, bit for bit as ggml and PyTorch
 * define them. */
#ifndef QP_AUTOGRAD_CPU_QUANT_H
#define QP_AUTOGRAD_CPU_QUANT_H
#include "base/dtype.h"
#include <string.h>

static inline float qp_from_bf16(uint16_t v)
{
    uint32_t u = (uint32_t)v << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* Round to nearest, ties to even; NaN stays NaN (rounding up could carry it into zero) and becomes
 * quiet. */
static inline uint16_t qp_to_bf16(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    uint32_t rounded = u + 0x7fff + ((u >> 16) & 1);
    uint32_t nan = u | 0x400000;
    return (uint16_t)(((u & 0x7fffffff) > 0x7f800000 ? nan : rounded) >> 16);
}

/* IEEE binary16, subnormals, infinities and NaN included. The magnitude is shifted into f32's
   fields and scaled by 2^112, the difference of the two exponent biases: that also makes normal
   numbers of subnormal ones. */
static inline float qp_from_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, magnitude = (uint32_t)(h & 0x7fff) << 13, u;
    float f;
    memcpy(&f, &magnitude, sizeof f);
    f *= 0x1p112f;
    memcpy(&u, &f, sizeof u);
    u = magnitude >= 0x0f800000 ? magnitude | 0x7f800000 : u; /* infinity, NaN */
    u |= sign;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* Round to nearest, ties to even; beyond 65504 + half a step to infinity; NaN quiet. */
uint16_t qp_to_f16(float f);
#endif
