/* Sixteen rows to sixteen lanes, in registers. For files built with AVX-512. */
#ifndef QP_AUTOGRAD_CPU_TURN_H
#define QP_AUTOGRAD_CPU_TURN_H
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))
enum { TURNED = 16 };

/* out[step] lane = in[lane] step, for sixteen 4-byte steps. */
INLINE void turn16(__m512i r[TURNED])
{
    __m512i t[TURNED];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 4; i++)
        for (int h = 0; h < 16; h += 8) {
            t[i + h] = _mm512_shuffle_i32x4(r[i + h], r[i + h + 4], 0x88);
            t[i + h + 4] = _mm512_shuffle_i32x4(r[i + h], r[i + h + 4], 0xdd);
        }
    for (int i = 0; i < 8; i++) {
        r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    }
}
#endif
