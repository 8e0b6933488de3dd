/* Few rows by AVX512-BF16's dot products of pairs: blocks of Q4_0 and Q8_0 as gemm_blocks.h says,
   else values rounded to bf16, as panels hold them. */
#include "autograd/cpu/gemm_blocks.h"
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

INLINE __m512i load_bf16(const uint8_t *row, int64_t k) { return _mm512_loadu_si512(row + 2 * k); }

INLINE __m512i load_f16(const uint8_t *row, int64_t k)
{
    const __m256i *h = (const __m256i *)(row + 2 * k);
    return rounded(_mm512_cvtph_ps(_mm256_loadu_si256(h)),
                   _mm512_cvtph_ps(_mm256_loadu_si256(h + 1)));
}

/* One block of sixteen rows. */
INLINE void add_block(__m512 *sum, const int rows, const A *const *x, int64_t k,
                      const __m512i *column, const bool odd, const block_format form)
{
    __m512 t[QP_FEW_ROWS];
    const __m512 d = form.scale(column, odd);
    for (int i = 0; i < rows; i++) t[i] = _mm512_setzero_ps();
#pragma GCC unroll 16
    for (int s = 0; s < BLOCK_PAIRS; s++) {
        const __m512i pair = form.pair(column, odd, s);
        multiply_steps(t, rows, x, k + s * PER, &pair, 1);
    }
    for (int i = 0; i < rows; i++) sum[i] = _mm512_fmadd_ps(t[i], d, sum[i]);
}

/* Sixteen rows of W from w0+col on, two blocks at a time, which are whole columns. The rows that
   come next are fetched meanwhile. */
INLINE void sums_of_blocks(__m512 *sum, const int rows, const A *const *x, const qp_few *f,
                           int64_t col, const block_format form)
{
    const int64_t blocks = f->depth / BLOCK_VALUES, ld = blocks * form.bytes;
    const uint8_t *w = (const uint8_t *)f->w->data + (f->w0 + col) * ld, *ahead = w + LANES * ld;
    __m512i column[BLOCK_COLUMNS];
    for (int i = 0; i < rows; i++) sum[i] = _mm512_setzero_ps();
    for (int64_t b = 0; b < blocks; b += 2) {
        const int64_t at = b % BLOCKS, left = blocks - b, k = b * BLOCK_VALUES;
        if (at == 0)
            turn_blocks(column, w + b * form.bytes, ld, LANES, left < BLOCKS ? left : BLOCKS, form);
#pragma GCC unroll 17
        for (int p = 0; p < 2 * LANES * form.bytes; p += 64, ahead += 64)
            _mm_prefetch((const char *)ahead, _MM_HINT_T0);
        const __m512i *c = column + at * form.bytes / 4;
        add_block(sum, rows, x, k, c, false, form);
        if (left > 1) add_block(sum, rows, x, k + BLOCK_VALUES, c + form.bytes / 4, true, form);
    }
}

/* The 128 bits at p of rows 0, 2, 4 and 6. */
INLINE __m512i every_other(const uint8_t *p, int64_t ld)
{
    const __m512i r = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)p));
    const __m512i r2 = _mm512_inserti32x4(r, _mm_loadu_si128((const __m128i *)(p + 2 * ld)), 1);
    const __m512i r4 = _mm512_inserti32x4(r2, _mm_loadu_si128((const __m128i *)(p + 4 * ld)), 2);
    return _mm512_inserti32x4(r4, _mm_loadu_si128((const __m128i *)(p + 6 * ld)), 3);
}

/* The f16 at p of each row, in its lane. */
INLINE __m512 scales(const uint8_t *p, int64_t ld)
{
    short h[LANES];
    for (int i = 0; i < LANES; i++) memcpy(&h[i], p + i * ld, sizeof *h);
    return _mm512_cvtph_ps(_mm256_setr_epi16(h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7], h[8],
                                             h[9], h[10], h[11], h[12], h[13], h[14], h[15]));
}

/* A block of Q4_1 of sixteen rows. The bytes are turned while they are few, four of a row a
   lane; then two lanes side by side get two bytes of a row, which makes pairs of the rounded
   values, rows 0 to 7 and 8 to 15. Low nibbles are the first half of a block. With two groups at
   once 32 values take 1.2 ns, where a table looked up row by row took 1.4. */
INLINE void turned_q4_1(__m512i r[LANES], const uint8_t *w, int64_t ld, int64_t k)
{
    const uint8_t *b = w + k / 32 * 20, *q = b + 4;
    const __m512 values = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512 d = scales(b, ld), m = scales(b + 2, ld);
    const __m512i low = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7),
                  high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    const __m512 ds[] = { _mm512_permutexvar_ps(low, d), _mm512_permutexvar_ps(high, d) },
                 ms[] = { _mm512_permutexvar_ps(low, m), _mm512_permutexvar_ps(high, m) };
    __m512i z[4], t[4];
    for (int i = 0; i < 4; i++) z[i] = every_other(q + (i < 2 ? i : 6 + i) * ld, ld);
    for (int i = 0; i < 4; i += 2) {
        t[i] = _mm512_unpacklo_epi32(z[i], z[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(z[i], z[i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        z[2 * i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        z[2 * i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    }
    for (int i = 0; i < 4; i++)
        for (int pair = 0; pair < 2; pair++) {
            __m512 v[2][2]; /* of low and high nibbles, of both sides */
            for (int s = 0; s < 2; s++) {
                const int at = 8 * s + 2 * pair;
                const __m512i byte =
                    _mm512_shuffle_epi8(z[i], _mm512_set4_epi32(at + 5, at + 4, at + 1, at));
                v[0][s] = _mm512_fmadd_ps(_mm512_permutexvar_ps(byte, values), ds[s], ms[s]);
                v[1][s] = _mm512_fmadd_ps(_mm512_permutexvar_ps(_mm512_srli_epi32(byte, 4), values),
                                          ds[s], ms[s]);
            }
            r[2 * i + pair] = rounded(v[0][0], v[0][1]);
            r[8 + 2 * i + pair] = rounded(v[1][0], v[1][1]);
        }
}

FEW_BY_ROWS(bf16)
FEW_BY_ROWS(f16)
FEW_BY_TURNS(q4_1, 2)

#define FEW_OF_BLOCKS(storage, form)                                                               \
    INLINE void sums_##storage(__m512 *sum, const int rows, const int groups, const A *const *x,   \
                               const qp_few *f, int64_t col)                                       \
    {                                                                                              \
        (void)groups;                                                                              \
        sums_of_blocks(sum, rows, x, f, col, form);                                                \
    }                                                                                              \
    FEW(storage, 1)
FEW_OF_BLOCKS(q4_0, Q4_0_FORMAT)
FEW_OF_BLOCKS(q8_0, Q8_0_FORMAT)

qp_few_fn *qp_few_bf16(qp_storage weight, qp_storage compute)
{
    static qp_few_fn *const few_of[QP_NSTORAGE] = {
        [QP_BF16] = few_bf16, [QP_F16] = few_f16,   [QP_Q8_0] = few_q8_0,
        [QP_Q4_0] = few_q4_0, [QP_Q4_1] = few_q4_1,
    };
    return compute == QP_BF16 ? few_of[weight] : NULL;
}
