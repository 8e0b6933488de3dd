/* Our own tile product, in R. Every element is one chain of multiply-adds in the order of the
   depth, so its bits depend on its row and column alone: no row count is special and nothing is
   padded. OpenBLAS's Haswell sgemm, by contrast, sums a row differently by its place. */
#include "autograd/cpu/kernel.h"
#include "autograd/cpu/product.h"

/* MR x NV registers of sums, of 32 (AVX-512) or 16. 12x2 was the fastest of 8x3, 12x2, 13x2, 14x2.
 */
#if defined __AVX512F__
#    define FEW qp_few_f32
#    define VECTOR 64
enum { MR = 12, NV = 2, BLOCK_ROWS = 576 };
#elif defined __AVX2__
#    define FEW NULL
#    define VECTOR 32
enum { MR = 6, NV = 2, BLOCK_ROWS = 288 };
#else
#    define FEW NULL
#    define VECTOR 16
enum { MR = 6, NV = 2, BLOCK_ROWS = 288 };
#endif
enum { LANES = VECTOR / sizeof(R), NR = NV * LANES, PER = 1, STEPS = 1024 / sizeof(R), READS = 0 };
typedef R V, E, S;
typedef R vec __attribute__((vector_size(VECTOR)));
typedef R loose __attribute__((vector_size(VECTOR), aligned(sizeof(R)), may_alias));

static inline R widen(R v) { return v; }
static inline R narrow(R v) { return v; }

static inline __attribute__((always_inline)) void
block(const bool scaled, const int h, const int nv, int64_t steps, const V *a, int64_t line,
      int64_t step, const E *b, const S *from, int64_t ldf, S *to, int64_t ldt)
{
    (void)scaled; /* reads no weights */
    vec sum[MR][NV];
#pragma GCC unroll 12
    for (int i = 0; i < h; i++)
#pragma GCC unroll 2
        for (int v = 0; v < nv; v++)
            sum[i][v] = from ? (vec) * (const loose *)(from + i * ldf + v * LANES) : (vec){ 0 };
    for (int64_t k = 0; k < steps; k++, a += step, b += NR) {
        vec bv[NV];
        for (int v = 0; v < nv; v++) bv[v] = *(const vec *)(b + v * LANES);
        for (int i = 0; i < h; i++)
            for (int v = 0; v < nv; v++) sum[i][v] += a[i * line] * bv[v];
    }
#pragma GCC unroll 12
    for (int i = 0; i < h; i++)
#pragma GCC unroll 2
        for (int v = 0; v < nv; v++) *(loose *)(to + i * ldt + v * LANES) = sum[i][v];
}

static inline void turn(E *out, const V *in, int64_t ld, int64_t values, int64_t lines)
{
    (void)ld, (void)values;
    memcpy(out, in, (size_t)lines * sizeof(E));
}

static inline void strip_of_w(E *out, const qp_tile *t, int64_t first, int64_t lines, int64_t k,
                              int64_t depth)
{
    (void)out, (void)t, (void)first, (void)lines, (void)k, (void)depth;
}

#include "autograd/cpu/gemm_strips.h"

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
extern const qp_product K(loop);
const qp_product K(loop) = { .name = "loop " TEXT(QP_ISA),
                             .in = QP_R,
                             .out = QP_R,
                             .rows = 96 * (24 / sizeof(R)), /* C_BYTES / 512 columns */
                             .unit = 12,
                             .cols = 512,
                             .depth = 4096 / sizeof(R),
                             .any_block = true,
                             .chains = true,
                             .tile_rows = tile_rows,
                             .multiply = multiply,
                             .finish = finish,
                             .few = sizeof(R) == sizeof(float) ? FEW : NULL };
