/* Our own tile product, in R. Every element is one chain of multiply-adds in the order of the
   depth, so its bits depend on its row and column alone: no row count is special and nothing is
   padded. OpenBLAS's Haswell sgemm, by contrast, sums a row differently by its place. */
#include "autograd/cpu/kernel.h"

/* MR x NV registers of sums, of 32 (AVX-512) or 16. 12x2 was the fastest of 8x3, 12x2, 13x2, 14x2.
 */
#if defined __AVX512F__
#    define FEW qp_few_f32
enum { VECTOR = 64, MR = 12, NV = 2 };
#elif defined __AVX2__
#    define FEW NULL
enum { VECTOR = 32, MR = 6, NV = 2 };
#else
#    define FEW NULL
enum { VECTOR = 16, MR = 6, NV = 2 };
#endif
enum { LANES = VECTOR / sizeof(R), NR = NV * LANES, PER = 1, STEPS = 1024 / sizeof(R) };
typedef R V, E, S;
typedef R vec __attribute__((vector_size(VECTOR)));
typedef R loose __attribute__((vector_size(VECTOR), aligned(sizeof(R)), may_alias));

static inline __attribute__((always_inline)) void
block(const int h, const int nv, int64_t steps, const E *a, const E *b, S *c, int64_t ldc, bool add)
{
    vec sum[MR][NV];
    for (int i = 0; i < h; i++)
        for (int v = 0; v < nv; v++)
            sum[i][v] = add ? (vec) * (const loose *)(c + i * ldc + v * LANES) : (vec){ 0 };
    for (int64_t k = 0; k < steps; k++, a += MR, b += NR) {
        vec bv[NV];
        for (int v = 0; v < nv; v++) bv[v] = *(const vec *)(b + v * LANES);
        for (int i = 0; i < h; i++)
            for (int v = 0; v < nv; v++) sum[i][v] += a[i] * bv[v];
    }
    for (int i = 0; i < h; i++)
        for (int v = 0; v < nv; v++) *(loose *)(c + i * ldc + v * LANES) = sum[i][v];
}

static inline void turn(E *out, const V *in, int64_t ld, int64_t values, int64_t lines)
{
    (void)ld, (void)values;
    memcpy(out, in, (size_t)lines * sizeof(E));
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
                             .tile_rows = tile_rows,
                             .multiply = multiply,
                             .few = sizeof(R) == sizeof(float) ? FEW : NULL };
