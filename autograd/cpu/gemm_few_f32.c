/* Few rows in f32 with AVX-512: chains of multiply-adds, as gemm_loop.c's are. For bf16 compute on
   CPUs without its instructions what a weight holds is rounded to bf16 first, as panels are. */
#include "autograd/cpu/quant.h"
#include <stdint.h>
typedef float A;
enum { STEPS = 16, PER = 1 };
#include "autograd/cpu/gemm_few.h"

INLINE __m512 multiply_add(__m512 sum, const A *x, __m512i w)
{
    return _mm512_fmadd_ps(_mm512_set1_ps(*x), _mm512_castsi512_ps(w), sum);
}

/* Value k's place in blocks of 32; a register full is one half of a block. */
INLINE const uint8_t *block_at(const uint8_t *row, int64_t k, int bytes)
{
    return row + k / 32 * bytes;
}

INLINE __m512 scale(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return _mm512_set1_ps(qp_from_f16(h));
}

/* The low nibbles are a block's first half. */
INLINE __m512 nibbles(const uint8_t *p, int64_t k)
{
    const __m512i b = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
    const __m512i at = _mm512_srl_epi32(b, _mm_cvtsi32_si128((int)(k % 32 / 4)));
    return _mm512_cvtepi32_ps(_mm512_and_si512(at, _mm512_set1_epi32(15)));
}

INLINE __m512 values_f32(const uint8_t *row, int64_t k) { return _mm512_loadu_ps(row + 4 * k); }

INLINE __m512 values_bf16(const uint8_t *row, int64_t k)
{
    const __m512i v = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(row + 2 * k)));
    return _mm512_castsi512_ps(_mm512_slli_epi32(v, 16));
}

INLINE __m512 values_f16(const uint8_t *row, int64_t k)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(row + 2 * k)));
}

INLINE __m512 values_q8_0(const uint8_t *row, int64_t k)
{
    const uint8_t *b = block_at(row, k, 34);
    const __m128i q = _mm_loadu_si128((const __m128i *)(b + 2 + k % 32));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q)), scale(b));
}

INLINE __m512 values_q4_0(const uint8_t *row, int64_t k)
{
    const uint8_t *b = block_at(row, k, 18);
    return _mm512_mul_ps(_mm512_sub_ps(nibbles(b + 2, k), _mm512_set1_ps(8)), scale(b));
}

INLINE __m512 values_q4_1(const uint8_t *row, int64_t k)
{
    const uint8_t *b = block_at(row, k, 20);
    return _mm512_fmadd_ps(nibbles(b + 4, k), scale(b), scale(b + 2));
}

/* qp_to_bf16 and back. */
INLINE __m512 rounded(__m512 v)
{
    const __m512i u = _mm512_castps_si512(v);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __m512i quiet = _mm512_or_si512(u, _mm512_set1_epi32(0x400000));
    const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_mask_mov_epi32(up, nan, quiet),
                                                _mm512_set1_epi32((int)0xffff0000u)));
}

#define LOAD(name, value)                                                                          \
    INLINE __m512i load_##name(const uint8_t *row, int64_t k)                                      \
    {                                                                                              \
        return _mm512_castps_si512(value);                                                         \
    }                                                                                              \
    FEW_BY_ROWS(name)
#define BOTH(storage)                                                                              \
    LOAD(storage, values_##storage(row, k))                                                        \
    LOAD(storage##_rounded, rounded(values_##storage(row, k)))
LOAD(bf16, values_bf16(row, k))
BOTH(f32)
BOTH(f16)
BOTH(q8_0)
BOTH(q4_0)
BOTH(q4_1)

qp_few_fn *qp_few_f32(qp_storage weight, qp_storage compute)
{
    static qp_few_fn *const whole[QP_NSTORAGE] = {
        [QP_F32] = few_f32,   [QP_BF16] = few_bf16, [QP_F16] = few_f16,
        [QP_Q8_0] = few_q8_0, [QP_Q4_0] = few_q4_0, [QP_Q4_1] = few_q4_1,
    };
    static qp_few_fn *const halved[QP_NSTORAGE] = {
        [QP_F32] = few_f32_rounded,   [QP_BF16] = few_bf16,         [QP_F16] = few_f16_rounded,
        [QP_Q8_0] = few_q8_0_rounded, [QP_Q4_0] = few_q4_0_rounded, [QP_Q4_1] = few_q4_1_rounded,
    };
    return compute == QP_BF16 ? halved[weight] : whole[weight];
}
