/* bf16 tiles with f32 sums by AVX512-BF16's dot products of pairs. oneDNN's product is as fast only
   where all three matrices are dense (else 60 %), and its one-row case has other bits; this one
   takes any stride, and every element is one chain of pairs in the order of the depth. */
#include "autograd/cpu/product.h"
#include "autograd/cpu/quant.h"
#include <immintrin.h>
#include <string.h>

#define VECTOR 64
enum { LANES = 16, MR = 12, NV = 2, NR = NV * LANES, PER = 2, STEPS = 256, BLOCK_ROWS = 576 };
typedef uint16_t V;
typedef uint32_t E; /* two values, the earlier in the low half */
typedef float S;

static inline float widen(V v) { return qp_from_bf16(v); }
static inline V narrow(float s) { return qp_to_bf16(s); }

static inline __attribute__((always_inline)) void block(const int h, const int nv, int64_t steps,
                                                        const V *a, int64_t line, int64_t step,
                                                        const E *b, const S *from, int64_t ldf,
                                                        S *to, int64_t ldt)
{
    __m512 sum[MR][NV];
#pragma GCC unroll 12
    for (int i = 0; i < h; i++)
#pragma GCC unroll 2
        for (int v = 0; v < nv; v++)
            sum[i][v] = from ? _mm512_loadu_ps(from + i * ldf + v * LANES) : _mm512_setzero_ps();
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
#pragma GCC unroll 12
    for (int i = 0; i < h; i++)
#pragma GCC unroll 2
        for (int v = 0; v < nv; v++) _mm512_storeu_ps(to + i * ldt + v * LANES, sum[i][v]);
}

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
                                    .few = qp_few_bf16 };
