#include "autograd/cpu/quant.h"
#include "base/err.h"
#include <stdbool.h>

/* Below 2^-14 a half's step is 2^-24: adding 0.5 in f32, whose step there is 2^-24, rounds to it.
   Above, the exponent is rebased and 13 bits are rounded off, a carry running into the exponent as
   it should. */
uint16_t qp_to_f16(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    uint32_t sign = u >> 16 & 0x8000, magnitude = u & 0x7fffffff, h;
    if (magnitude > 0x7f800000) {
        h = 0x7e00 | (magnitude >> 13 & 0x1ff);
    } else if (magnitude >= 0x477ff000) { /* 65520: rounds to 2^16 */
        h = 0x7c00;
    } else if (magnitude < 0x38800000) { /* 2^-14 */
        float t;
        memcpy(&t, &magnitude, sizeof t);
        t += 0.5f;
        memcpy(&h, &t, sizeof h);
        h -= 0x3f000000;
    } else {
        h = (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13;
    }
    return (uint16_t)(sign | h);
}

enum { BLOCK = 32, HALF = BLOCK / 2 };

static float half_at(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return qp_from_f16(h);
}

/* d * (nibble - 8): the low nibbles are the block's first half, the high ones the second. */
static void from_q4_0(float *y, const uint8_t *x, int64_t n)
{
    for (int64_t i = 0; i < n; i += BLOCK, x += 2 + HALF) {
        float d = half_at(x);
        for (int j = 0; j < HALF; j++) {
            y[i + j] = (float)((x[2 + j] & 15) - 8) * d;
            y[i + j + HALF] = (float)((x[2 + j] >> 4) - 8) * d;
        }
    }
}

/* d * nibble + m; the product is exact in f32 (4 x 11 bits), so a fused multiply-add gives the
 * same. */
static void from_q4_1(float *y, const uint8_t *x, int64_t n)
{
    for (int64_t i = 0; i < n; i += BLOCK, x += 4 + HALF) {
        float d = half_at(x), m = half_at(x + 2);
        for (int j = 0; j < HALF; j++) {
            y[i + j] = (float)(x[4 + j] & 15) * d + m;
            y[i + j + HALF] = (float)(x[4 + j] >> 4) * d + m;
        }
    }
}

static void from_q8_0(float *y, const uint8_t *x, int64_t n)
{
    for (int64_t i = 0; i < n; i += BLOCK, x += 2 + BLOCK) {
        float d = half_at(x);
        for (int j = 0; j < BLOCK; j++) y[i + j] = (float)(int8_t)x[2 + j] * d;
    }
}

void qp_dequant(float *y, qp_storage from, const void *x, int64_t n)
{
    const uint16_t *half = x;
    switch (from) {
    case QP_F32:
        memcpy(y, x, (size_t)n * sizeof *y);
        return;
    case QP_BF16:
        for (int64_t i = 0; i < n; i++) y[i] = qp_from_bf16(half[i]);
        return;
    case QP_F16:
        for (int64_t i = 0; i < n; i++) y[i] = qp_from_f16(half[i]);
        return;
    case QP_Q4_0:
        from_q4_0(y, x, n);
        return;
    case QP_Q4_1:
        from_q4_1(y, x, n);
        return;
    case QP_Q8_0:
        from_q8_0(y, x, n);
        return;
    default:
        QP_ASSERT(false, "no values in storage %s", qp_storages[from].name);
    }
}
