/* The loops of a product of few rows, which is decoding's: C (rows, cols) = A W^T, with W read
   once, in the order it lies in memory, and unpacked in registers. For files built with AVX-512.

   Sixteen of W's rows are sixteen lanes: of each a register full is loaded, and the sixteen
   registers are turned, so that a register holds one step of the depth for all rows. So every
   element is the same chain in the order of the depth as in gemm_strips.h, and has its bits.
   Against packing strips in L1 and multiplying those, as for many rows: one row by a bf16 weight
   37 to 87 GFLOP/s (as many GB/s), by an f32 one 12 to 45.

   The includer defines: A, a value of x; STEPS of a register full, each of PER values of a row;
   multiply_add(sum, x, w): a step for all lanes, x being one row's PER values. */
#ifndef QP_AUTOGRAD_CPU_GEMM_FEW_H
#define QP_AUTOGRAD_CPU_GEMM_FEW_H
#include "autograd/cpu/product.h"
#include "autograd/cpu/turn.h"
#include <string.h>

enum { LANES = TURNED, WIDE = STEPS * PER, ROW_BYTES = 128 /* of WIDE values of any storage */ };

INLINE __m512 multiply_add(__m512 sum, const A *x, __m512i w);

/* WIDE values from depth k on of a row, in the product's type; k is a multiple of WIDE. */
typedef __m512i load_fn(const uint8_t *row, int64_t k);
/* The same of sixteen rows, turned: r[step] lane is a row. */
typedef void turned_fn(__m512i r[LANES], const uint8_t *w, int64_t ld, int64_t k);

/* `steps` of the depth: each row of x, from x[i] on, with sixteen turned rows of W. */
INLINE void multiply_steps(__m512 *sum, const int rows, const A *const *x, int64_t k,
                           const __m512i *w, const int steps)
{
    for (int s = 0; s < steps; s++)
        for (int i = 0; i < rows; i++) sum[i] = multiply_add(sum[i], x[i] + k + s * PER, w[s]);
}

/* The last values of a depth that is no multiple of WIDE: zeros behind them. */
INLINE void multiply_rest(__m512 *sum, const int rows, const A *const *x, const qp_few *f,
                          const uint8_t *w, int64_t ld, turned_fn *turned)
{
    const int64_t k = f->depth / WIDE * WIDE, rest = f->depth - k;
    const size_t value = (size_t)qp_storages[f->w->storage].bytes;
    A end[QP_FEW_ROWS][WIDE] = { 0 };
    const A *ends[QP_FEW_ROWS];
    uint8_t row[LANES][ROW_BYTES] = { 0 };
    __m512i r[LANES];
    for (int i = 0; i < rows; i++) ends[i] = memcpy(end[i], x[i] + k, (size_t)rest * sizeof(A));
    for (int i = 0; i < LANES; i++)
        memcpy(row[i], w + i * ld + (size_t)k * value, (size_t)rest * value);
    turned(r, row[0], ROW_BYTES, 0);
    multiply_steps(sum, rows, ends, 0, r, (int)((rest + PER - 1) / PER));
}

/* `groups` of sixteen rows from w0+col on. The rows that come next lie behind these: they are
   fetched at the pace at which these are read. */
INLINE void block(__m512 *sum, const int rows, const int groups, const A *const *x, const qp_few *f,
                  int64_t col, turned_fn *turned)
{
    const int64_t ld = (int64_t)qp_storage_bytes(f->w->storage, f->depth);
    const int64_t pace = (int64_t)qp_storage_bytes(f->w->storage, LANES * WIDE);
    const uint8_t *w = (const uint8_t *)f->w->data + (f->w0 + col) * ld,
                  *ahead = w + groups * LANES * ld;
    for (int i = 0; i < groups * rows; i++) sum[i] = _mm512_setzero_ps();
    int64_t k = 0;
    for (; k + WIDE <= f->depth; k += WIDE)
#pragma GCC unroll 2 /* or the sums go through memory */
        for (int g = 0; g < groups; g++, ahead += pace) {
            __m512i r[LANES];
            turned(r, w + g * LANES * ld, ld, k);
            for (int64_t b = 0; b < pace; b += 64)
                _mm_prefetch((const char *)ahead + b, _MM_HINT_T0);
            multiply_steps(sum + g * rows, rows, x, k, r, STEPS);
        }
    for (int g = 0; k < f->depth && g < groups; g++)
        multiply_rest(sum + g * rows, rows, x, f, w + g * LANES * ld, ld, turned);
}

/* sum[group][row of x] of `groups` of sixteen rows from w0+col on. */
typedef void sums_fn(__m512 *sum, const int rows, const int groups, const A *const *x,
                     const qp_few *f, int64_t col);

/* The last sixteen end with W's last row: they may begin with rows that were done before. */
INLINE void columns(const qp_few *f, const int rows, const int groups, sums_fn *sums)
{
    __m512 sum[2 * QP_FEW_ROWS];
    const A *x[QP_FEW_ROWS]; /* the last row of x stands for what is missing */
    for (int i = 0; i < rows; i++)
        x[i] = (const A *)f->a + (i < f->rows ? i : f->rows - 1) * f->lda;
    int64_t j = 0;
    for (; j + groups * LANES <= f->cols; j += groups * LANES) {
        sums(sum, rows, groups, x, f, j);
        for (int g = 0; g < groups; g++)
            for (int i = 0; i < rows && i < f->rows; i++)
                _mm512_storeu_ps(f->c + i * f->ldc + j + g * LANES, sum[g * rows + i]);
    }
    for (; j < f->cols; j += LANES) {
        const int64_t left = f->cols - j, skip = left < LANES ? LANES - left : 0;
        sums(sum, rows, 1, x, f, j - skip);
        for (int i = 0; i < rows && i < f->rows; i++) {
            float lane[LANES];
            _mm512_storeu_ps(lane, sum[i]);
            memcpy(f->c + i * f->ldc + j, lane + skip, (size_t)(LANES - skip) * sizeof *lane);
        }
    }
}

/* A row count in between costs what the next does. */
INLINE void few(const qp_few *f, const int groups, sums_fn *sums)
{
    if (f->rows == 1)
        columns(f, 1, groups, sums);
    else if (f->rows == 2)
        columns(f, 2, groups, sums);
    else if (f->rows <= 4)
        columns(f, 4, groups, sums);
    else
        columns(f, 8, groups, sums);
}
#define FEW(storage, groups)                                                                       \
    static void few_##storage(const qp_few *f) { few(f, groups, sums_##storage); }
/* For a storage that has turned_storage. */
#define FEW_BY_TURNS(storage, groups)                                                              \
    INLINE void sums_##storage(__m512 *sum, const int rows, const int some, const A *const *x,     \
                               const qp_few *f, int64_t col)                                       \
    {                                                                                              \
        block(sum, rows, some, x, f, col, turned_##storage);                                       \
    }                                                                                              \
    FEW(storage, groups)
/* For a storage that has load_storage. One group: two would not stay in L1 beside what is fetched.
 */
#define FEW_BY_ROWS(storage)                                                                       \
    INLINE void turned_##storage(__m512i r[LANES], const uint8_t *w, int64_t ld, int64_t k)        \
    {                                                                                              \
        for (int i = 0; i < LANES; i++) r[i] = load_##storage(w + i * ld, k);                      \
        turn16(r);                                                                                 \
    }                                                                                              \
    FEW_BY_TURNS(storage, 1)
#endif
