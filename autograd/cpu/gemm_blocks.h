/* Weights of blocks, Q4_0 and Q8_0, as AVX512-BF16's dot products of pairs take them. A block's
   whole numbers q are exact in bf16, where its values d*q are not. So a product with a block is
   d * (sum of x q): one chain from zero over its sixteen pairs, in the order of the depth, and then
   one multiply-add with the scale. Few rows (gemm_few_bf16.c) and many (gemm_bf16.c) both do this.

   Bytes are turned, sixteen rows to sixteen lanes, before they are unpacked: there are fewer of
   them, and the scales turn with them; picking those out one by one took a third of the time.

   Decoding SmolLM2 in Q4_0 got 1.5 times as fast as with values rounded to bf16, 16 rows 2.6 times,
   64 rows 1.3 times; 512 rows take 5 to 10 % longer, since a sixteenth more multiply-adds and the
   way of sums through L1 cost more than unpacking saves. */
#ifndef QP_AUTOGRAD_CPU_GEMM_BLOCKS_H
#define QP_AUTOGRAD_CPU_GEMM_BLOCKS_H
#include "autograd/cpu/turn.h"
#include <stdbool.h>
#include <stdint.h>

/* BLOCKS are turned at once: whole registers of bytes, and they stay in L1. */
enum {
    BLOCK_VALUES = 32,
    BLOCK_PAIRS = 16,
    BLOCKS = 32,
    BLOCK_BYTES = 34,
    BLOCK_COLUMNS = BLOCKS * BLOCK_BYTES / 4
};

/* Of a block that begins in column[0]: pair `step` of its whole numbers, a row a lane; and its
   scales. A block is an odd number of 2-byte words: every second one, `odd`, begins with a column's
   high half. */
typedef __m512i pair_fn(const __m512i *column, const bool odd, const int step);
typedef __m512 scale_fn(const __m512i *column, const bool odd);
typedef struct {
    int bytes;  /* of a block */
    bool mixed; /* wants columns that hold rows 0, 1, 8, 9, 2, 3, 10 ... */
    pair_fn *pair;
    scale_fn *scale;
} block_format;

/* column[i] = bytes 4i .. 4i+3 of each of sixteen rows, for a number of blocks. Where there are
   fewer rows the last stands for those that are missing. */
INLINE void turn_blocks(__m512i *column, const uint8_t *w, int64_t ld, int64_t rows, int64_t blocks,
                        const block_format f)
{
    for (int64_t left = blocks * f.bytes; left > 0; left -= 64, w += 64, column += TURNED) {
        const __mmask32 rest = left < 64 ? (UINT32_C(1) << left / 2) - 1 : ~UINT32_C(0);
        const uint8_t *row[TURNED];
        __m512i r[TURNED];
        for (int i = 0; i < TURNED; i++) {
            const int n = f.mixed ? (i & 1) | i / 4 * 2 | (i & 2) * 4 : i;
            row[i] = w + (n < rows ? n : rows - 1) * ld;
        }
        if (left >= 64)
            for (int i = 0; i < TURNED; i++) r[i] = _mm512_loadu_si512(row[i]);
        else
            for (int i = 0; i < TURNED; i++) r[i] = _mm512_maskz_loadu_epi16(rest, row[i]);
        turn16(r);
        for (int i = 0; i < TURNED; i++) column[i] = r[i];
    }
}

INLINE __m512 block_scale(const __m512i *column, const bool odd)
{
    const __m512i d = odd ? _mm512_srli_epi32(column[0], 16) : column[0];
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(d));
}

/* Bytes 4i .. 4i+3 behind the scale; unless `odd` their halves have changed places. */
INLINE __m512i block_bytes(const __m512i *column, int i, const bool odd)
{
    return odd ? column[i + 1] : _mm512_mask_blend_epi16(0xaaaaaaaa, column[i + 1], column[i]);
}

/* Low nibbles are the first half of a block. A look-up heeds five bits of a word, and the table
   holds everything twice, so the four that count need no mask: 0.54 ns for 32 values from L2, where
   values rounded to bf16 took 1.21. */
INLINE __m512i pair_q4_0(const __m512i *column, const bool odd, const int step)
{
    /* -8 .. 7 in bf16, twice */
    static const uint16_t whole[32] __attribute__((aligned(64))) = {
        0xc100, 0xc0e0, 0xc0c0, 0xc0a0, 0xc080, 0xc040, 0xc000, 0xbf80, /**/
        0x0000, 0x3f80, 0x4000, 0x4040, 0x4080, 0x40a0, 0x40c0, 0x40e0, /**/
        0xc100, 0xc0e0, 0xc0c0, 0xc0a0, 0xc080, 0xc040, 0xc000, 0xbf80, /**/
        0x0000, 0x3f80, 0x4000, 0x4040, 0x4080, 0x40a0, 0x40c0, 0x40e0,
    };
    /* bytes 0, 2, 1, 3: words then begin with 0 and 1, eight bits further up with 2 and 3 */
    const __m512i order = odd ? _mm512_set4_epi32(0x0f0d0e0c, 0x0b090a08, 0x07050604, 0x03010200)
                              : _mm512_set4_epi32(0x0d0f0c0e, 0x090b080a, 0x05070406, 0x01030002);
    const __m512i z = _mm512_shuffle_epi8(block_bytes(column, step % 8 / 2, odd), order);
    const int up = step / 8 * 4 + step % 2 * 8;
    return _mm512_permutexvar_epi16(up ? _mm512_srli_epi32(z, (unsigned)up) : z,
                                    _mm512_load_si512(whole));
}

/* A byte in the top of a lane is 2^24 times what it stands for; the scale makes up for it. (Sums
   overflow where |x| reaches 2^92.) Two lanes side by side get two bytes of a row, half of the rows
   at a time: that is why columns are mixed. 1.0 ns for 32 values from L2, where widening each row's
   values before turning them took 1.48. */
INLINE __m512i pair_q8_0(const __m512i *column, const bool odd, const int step)
{
    const __m512i z = block_bytes(column, step / 2, odd);
    const int first = step % 2 != odd ? 0 : 2; /* in a column's bytes */
    const __m512i top =
        _mm512_add_epi32(_mm512_set4_epi32(0x05808080, 0x04808080, 0x01808080, 0x00808080),
                         _mm512_set1_epi32(first << 24));
    const __m512i next = _mm512_add_epi32(top, _mm512_set1_epi32(8 << 24));
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_cvtepi32_ps(_mm512_shuffle_epi8(z, next)),
                                        _mm512_cvtepi32_ps(_mm512_shuffle_epi8(z, top)));
}

INLINE __m512 scale_q8_0(const __m512i *column, const bool odd)
{
    const __m512i rows = _mm512_setr_epi32(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
    const __m512 d = _mm512_permutexvar_ps(rows, block_scale(column, odd));
    return _mm512_mul_ps(d, _mm512_set1_ps(0x1p-24f));
}

#define Q4_0_FORMAT                                                                                \
    (block_format) { 18, false, pair_q4_0, block_scale }
#define Q8_0_FORMAT                                                                                \
    (block_format) { 34, true, pair_q8_0, scale_q8_0 }
#endif
