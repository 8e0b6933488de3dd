/* A product of blocks that lie in cache, MR x NR vectors of the result at a time in registers.
   Every element of c is one chain of additions over k, first to last, from zero or from what c
   held: its bits depend neither on its place nor on how many rows and columns are computed with it.
 */
#ifndef QP_AUTOGRAD_CPU_OUTER_H
#define QP_AUTOGRAD_CPU_OUTER_H
#include "autograd/cpu/kernel.h"
#include <stdbool.h>

/* The widest register of this build. */
typedef R vec __attribute__((vector_size(__BIGGEST_ALIGNMENT__), may_alias));
enum {
    VL = sizeof(vec) / sizeof(R),
    MR = __BIGGEST_ALIGNMENT__ == 64 ? 8 : 4, /* 32 registers, else 16 */
    NR = 2,
};

/* a is read element by element at any strides; b's and c's rows are whole aligned vectors. */
static inline __attribute__((always_inline)) void outer_block(int mr, int nr, R *c, int64_t c_row,
                                                              const R *a, int64_t a_row,
                                                              int64_t a_k, const R *b,
                                                              int64_t b_row, int64_t kn, bool add)
{
    vec sum[MR][NR];
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 8
        for (int j = 0; j < nr; j++)
            sum[i][j] = add ? ((const vec *)(c + i * c_row))[j] : (vec){ 0 };
    for (int64_t k = 0; k < kn; k++) {
        const vec *bk = (const vec *)(b + k * b_row);
#pragma GCC unroll 8
        for (int i = 0; i < mr; i++) {
            const R x = a[i * a_row + k * a_k];
#pragma GCC unroll 8
            for (int j = 0; j < nr; j++) sum[i][j] += x * bk[j];
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 8
        for (int j = 0; j < nr; j++) ((vec *)(c + i * c_row))[j] = sum[i][j];
}

/* c (rows, cols) = [c +] a (rows, kn) . b (kn, cols); cols is a multiple of VL. */
static inline void outer(R *c, int64_t c_row, int64_t rows, int64_t cols, const R *a, int64_t a_row,
                         int64_t a_k, const R *b, int64_t b_row, int64_t kn, bool add)
{
    for (int64_t j = 0; j < cols; j += NR * VL) {
        const bool wide = j + NR * VL <= cols;
        int64_t i = 0;
        for (; i + MR <= rows; i += MR) {
            R *ci = c + i * c_row + j;
            const R *ai = a + i * a_row;
            if (wide)
                outer_block(MR, NR, ci, c_row, ai, a_row, a_k, b + j, b_row, kn, add);
            else
                outer_block(MR, 1, ci, c_row, ai, a_row, a_k, b + j, b_row, kn, add);
        }
        for (; i < rows; i++) {
            R *ci = c + i * c_row + j;
            const R *ai = a + i * a_row;
            if (wide)
                outer_block(1, NR, ci, c_row, ai, a_row, a_k, b + j, b_row, kn, add);
            else
                outer_block(1, 1, ci, c_row, ai, a_row, a_k, b + j, b_row, kn, add);
        }
    }
}
#endif
