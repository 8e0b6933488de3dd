/* Few rows by AVX512-BF16's dot products of pairs. Blocks are unpacked to what panels of them hold:
   values rounded to bf16. */
#include <stdint.h>
typedef uint16_t A;
enum { STEPS = 16, PER = 2 };
#include "autograd/cpu/gemm_few.h"

INLINE __m512 multiply_add(__m512 sum, const A *x, __m512i w)
{
    int pair;
    memcpy(&pair, x, sizeof pair);
    return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32(pair), (__m512bh)w);
}

/* Both halves rounded; neither holds numbers below f32's normal ones, which the instruction would
   take for 0. */
INLINE __m512i rounded(__m512 low, __m512 high) { return (__m512i)_mm512_cvtne2ps_pbh(high, low); }

/* The f16 at p in every lane. */
INLINE __m512 scale(const uint8_t *p)
{
    short h;
    memcpy(&h, p, sizeof h);
    return _mm512_cvtph_ps(_mm256_set1_epi16(h));
}

INLINE __m512i load_bf16(const uint8_t *row, int64_t k) { return _mm512_loadu_si512(row + 2 * k); }

INLINE __m512i load_f16(const uint8_t *row, int64_t k)
{
    const __m256i *h = (const __m256i *)(row + 2 * k);
    return rounded(_mm512_cvtph_ps(_mm256_loadu_si256(h)),
                   _mm512_cvtph_ps(_mm256_loadu_si256(h + 1)));
}

INLINE __m512i load_q8_0(const uint8_t *row, int64_t k)
{
    const uint8_t *b = row + k / 32 * 34;
    const __m128i *q = (const __m128i *)(b + 2);
    const __m512 d = scale(b);
    const __m512 low = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(q)));
    const __m512 high = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(q + 1)));
    return rounded(_mm512_mul_ps(low, d), _mm512_mul_ps(high, d));
}

/* A block of nibbles has sixteen values: they are rounded once and looked up. The low nibbles are
   the block's first half; what stands above the four bits picks one of two equal tables. */
INLINE __m512i look_up(__m512 values, const uint8_t *nibbles)
{
    const __m256i bytes = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)nibbles));
    const __m512i down = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(4), 1);
    const __m512i at = _mm512_srlv_epi16(_mm512_cvtepu8_epi16(bytes), down);
    return _mm512_permutexvar_epi16(at, rounded(values, values));
}

INLINE __m512i load_q4_0(const uint8_t *row, int64_t k)
{
    const uint8_t *b = row + k / 32 * 18;
    const __m512 q = _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
    return look_up(_mm512_mul_ps(q, scale(b)), b + 2);
}

INLINE __m512i load_q4_1(const uint8_t *row, int64_t k)
{
    const uint8_t *b = row + k / 32 * 20;
    const __m512 q = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return look_up(_mm512_fmadd_ps(q, scale(b), scale(b + 2)), b + 4);
}

FEW(bf16)
FEW(f16)
FEW(q8_0)
FEW(q4_0)
FEW(q4_1)

qp_few_fn *qp_few_bf16(qp_storage weight, qp_storage compute)
{
    static qp_few_fn *const few_of[QP_NSTORAGE] = {
        [QP_BF16] = few_bf16, [QP_F16] = few_f16,   [QP_Q8_0] = few_q8_0,
        [QP_Q4_0] = few_q4_0, [QP_Q4_1] = few_q4_1,
    };
    return compute == QP_BF16 ? few_of[weight] : NULL;
}
