/* bf16 tiles with f32 sums by AVX512-BF16's dot products of pairs. oneDNN's product is as fast only
   where all three matrices are dense (else 60 %), and its one-row case has other bits; this one
   takes any stride, and every element is one chain of pairs in the order of the depth. */
#include "autograd/cpu/product.h"
#include <immintrin.h>
#include <string.h>

enum { LANES = 16, MR = 12, NV = 2, NR = NV * LANES, PER = 2, STEPS = 256 };
typedef uint16_t V;
typedef uint32_t E; /* two values, the earlier in the low half */
typedef float S;

static inline __attribute__((always_inline)) void
block(const int h, const int nv, int64_t steps, const E *a, const E *b, S *c, int64_t ldc, bool add)
{
    __m512 sum[MR][NV];
    for (int i = 0; i < h; i++)
        for (int v = 0; v < nv; v++)
            sum[i][v] = add ? _mm512_loadu_ps(c + i * ldc + v * LANES) : _mm512_setzero_ps();
    for (int64_t k = 0; k < steps; k++, a += MR, b += NR) {
        __m512bh bv[NV];
        for (int v = 0; v < nv; v++) bv[v] = (__m512bh)_mm512_load_si512(b + v * LANES);
        for (int i = 0; i < h; i++) {
            __m512bh pair = (__m512bh)_mm512_set1_epi32((int)a[i]);
            for (int v = 0; v < nv; v++) sum[i][v] = _mm512_dpbf16_ps(sum[i][v], pair, bv[v]);
        }
    }
    for (int i = 0; i < h; i++)
        for (int v = 0; v < nv; v++) _mm512_storeu_ps(c + i * ldc + v * LANES, sum[i][v]);
}

static inline void turn(E *out, const V *in, int64_t ld, int64_t values, int64_t lines)
{
    const V *next = values == 2 ? in + ld : NULL;
    if (next)
        for (int64_t i = 0; i < lines; i++) out[i] = in[i] | (uint32_t)next[i] << 16;
    else
        for (int64_t i = 0; i < lines; i++) out[i] = in[i];
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
                                    .tile_rows = tile_rows,
                                    .multiply = multiply,
                                    .few = qp_few_bf16 };
