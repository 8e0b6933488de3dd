#include "autograd/cpu/quant.h"

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
