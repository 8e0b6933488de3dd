/* bf16 tiles with f32 sums by AVX512-BF16's dot products of pairs. oneDNN's product is as fast only
   where all three matrices are dense (else 60 %), and its one-row case has other bits; this one
   takes any stride, and every element is one chain of pairs in the order of the depth. */
#include "autograd/cpu/gemm_blocks.h"
#include "autograd/cpu/product.h"
#include "autograd/cpu/quant.h"
#include <string.h>

#define VECTOR 64
enum {
    LANES = 16,
    MR = 12,
    NV = 2,
    NR = NV * LANES,
    PER = 2,
    STEPS = 256,
    BLOCK_ROWS = 576,
    READS = 1
};
typedef uint16_t V;
typedef uint32_t E; /* two values, the earlier in the low half */
typedef float S;

static inline float widen(V v) { return qp_from_bf16(v); }
static inline V narrow(float s) { return qp_to_bf16(s); }

INLINE void add_steps(__m512 sum[MR][NV], const int h, const int nv, int64_t steps, const V *a,
                      int64_t line, int64_t step, const E *b)
{
    for (int64_t k = 0; k < steps; k++, a += step, b += NR) {
        __m512bh bv[NV];
        for (int v = 0; v < nv; v++) bv[v] = (__m512bh)_mm512_load_si512(b + v * LANES);
        for (int i = 0; i < h; i++) {
            int32_t both;
            memcpy(&both, a + i * line, sizeof both);
            __m512bh pair = (__m512bh)_mm512_set1_epi32(both);
            for (int v = 0; v < nv; v++) sum[i][v] = _mm512_dpbf16_ps(sum[i][v], pair, bv[v]);
        }
    }
}

/* Blocks of whole numbers (gemm_blocks.h): sums wait in L1 while a block has the registers. */
INLINE void scaled_block(const int h, const int nv, int64_t steps, const V *a, int64_t line,
                         int64_t step, const E *b, const S *from, int64_t ldf, S *to, int64_t ldt)
{
    for (int64_t k = 0; k < steps; k += BLOCK_PAIRS, b += (BLOCK_PAIRS + 1) * NR) {
        __m512 sum[MR][NV];
#pragma GCC unroll 12
        for (int i = 0; i < h; i++)
#pragma GCC unroll 2
            for (int v = 0; v < nv; v++) sum[i][v] = _mm512_setzero_ps();
        add_steps(sum, h, nv, BLOCK_PAIRS, a + k * step, line, step, b);
        const float *scale = (const float *)(b + BLOCK_PAIRS * NR);
#pragma GCC unroll 12
        for (int i = 0; i < h; i++)
#pragma GCC unroll 2
            for (int v = 0; v < nv; v++) {
                const __m512 d = _mm512_load_ps(scale + v * LANES);
                const __m512 c =
                    from ? _mm512_loadu_ps(from + i * ldf + v * LANES) : _mm512_setzero_ps();
                _mm512_storeu_ps(to + i * ldt + v * LANES, _mm512_fmadd_ps(sum[i][v], d, c));
            }
        from = to, ldf = ldt;
    }
}

INLINE void block(const bool scaled, const int h, const int nv, int64_t steps, const V *a,
                  int64_t line, int64_t step, const E *b, const S *from, int64_t ldf, S *to,
                  int64_t ldt)
{
    if (scaled) {
        scaled_block(h, nv, steps, a, line, step, b, from, ldf, to, ldt);
        return;
    }
    __m512 sum[MR][NV];
#pragma GCC unroll 12
    for (int i = 0; i < h; i++)
#pragma GCC unroll 2
        for (int v = 0; v < nv; v++)
            sum[i][v] = from ? _mm512_loadu_ps(from + i * ldf + v * LANES) : _mm512_setzero_ps();
    add_steps(sum, h, nv, steps, a, line, step, b);
#pragma GCC unroll 12
    for (int i = 0; i < h; i++)
#pragma GCC unroll 2
        for (int v = 0; v < nv; v++) _mm512_storeu_ps(to + i * ldt + v * LANES, sum[i][v]);
}

/* One block of sixteen lines. */
INLINE void unpack_block(E *out, const __m512i *column, const bool odd, const block_format f)
{
#pragma GCC unroll 16
    for (int i = 0; i < BLOCK_PAIRS; i++) _mm512_store_si512(out + i * NR, f.pair(column, odd, i));
    _mm512_store_ps(out + BLOCK_PAIRS * NR, f.scale(column, odd));
}

INLINE void unpack_lines(E *out, const uint8_t *w, int64_t ld, int64_t lines, int64_t blocks,
                         const block_format f)
{
    __m512i column[BLOCK_COLUMNS];
    for (int64_t b = 0; b < blocks; b++, out += (BLOCK_PAIRS + 1) * NR) {
        const int64_t at = b % BLOCKS, left = blocks - b;
        if (at == 0)
            turn_blocks(column, w + b * f.bytes, ld, lines, left < BLOCKS ? left : BLOCKS, f);
        const __m512i *c = column + at * f.bytes / 4;
        if (at % 2)
            unpack_block(out, c, true, f);
        else
            unpack_block(out, c, false, f);
    }
}

static void strip_of_w(E *out, const qp_tile *t, int64_t first, int64_t lines, int64_t k,
                       int64_t depth)
{
    const qp_storage s = t->w->storage;
    const int64_t ld = (int64_t)qp_storage_bytes(s, qp_cols(t->w)), blocks = depth / BLOCK_VALUES;
    for (int64_t l = 0; l < lines; l += LANES) {
        const uint8_t *w =
            (const uint8_t *)t->w->data + (t->w0 + first + l) * ld + qp_storage_bytes(s, t->k0 + k);
        if (s == QP_Q4_0)
            unpack_lines(out + l, w, ld, lines - l, blocks, Q4_0_FORMAT);
        else
            unpack_lines(out + l, w, ld, lines - l, blocks, Q8_0_FORMAT);
    }
}

static bool reads(qp_storage weight) { return weight == QP_Q4_0 || weight == QP_Q8_0; }

/* The compiler makes single values of a loop over a strip's 12 lines: dy^T x of (512, 2048) and
   (512, 16) ran at 396 GFLOP/s with it, at 553 with this. */
static inline void turn(E *out, const V *in, int64_t ld, int64_t values, int64_t lines)
{
    for (int64_t l = 0; l < lines; l += 16) {
        const __mmask16 real = (__mmask16)(lines - l < 16 ? (1 << (lines - l)) - 1 : 0xffff);
        __m512i pair = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(real, in + l));
        if (values == 2) {
            const __m256i next = _mm256_maskz_loadu_epi16(real, in + ld + l);
            pair = _mm512_or_si512(pair, _mm512_slli_epi32(_mm512_cvtepu16_epi32(next), 16));
        }
        _mm512_mask_storeu_epi32(out + l, real, pair);
    }
}

#include "autograd/cpu/gemm_strips.h"

const qp_product qp_avx512_bf16 = { .name = "loop avx512_bf16",
                                    .in = QP_BF16,
                                    .out = QP_F32,
                                    .rows = 576,
                                    .unit = MR,
                                    .cols = 512,
                                    .depth = 2048,
                                    .any_block = true,
                                    .chains = true,
                                    .tile_rows = tile_rows,
                                    .multiply = multiply,
                                    .finish = finish,
                                    .reads = reads,
                                    .few = qp_few_bf16 };
