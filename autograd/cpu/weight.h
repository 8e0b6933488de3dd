/* The one way to read a weight, whatever its storage: rows or panels of a matrix as f64, f32 or
   bf16. Products, embedding look-up, merge, save and hash use it, so a new storage is a case here
   and nowhere else. */
#ifndef QP_AUTOGRAD_CPU_WEIGHT_H
#define QP_AUTOGRAD_CPU_WEIGHT_H
#include "autograd/tensor.h"

/* dst[i*ld + j] = w[r0 + i][k0 + j] for i < rows, j < cols, in the compute type `to`. w counts as a
   matrix of qp_rows x qp_cols; columns may start and end inside a block. bf16 is rounded to nearest
   even. One thread. */
void qp_weight_panel(void *dst, qp_storage to, int64_t ld, const qp_tensor *w, int64_t r0,
                     int64_t rows, int64_t k0, int64_t cols);

/* One whole row. */
static inline void qp_weight_row(void *dst, qp_storage to, const qp_tensor *w, int64_t row)
{
    qp_weight_panel(dst, to, qp_cols(w), w, row, 1, 0, qp_cols(w));
}

/* Row r0 of w in place if it is stored as `to`, else NULL: then it takes a panel. */
const void *qp_weight_direct(const qp_tensor *w, qp_storage to, int64_t r0);

/* n values from one storage to another: from any floating or block storage to F64, F32, BF16 or
   F16; n a multiple of the block. For loading and saving; threaded. */
void qp_weight_convert(void *dst, qp_storage to, const void *src, qp_storage from, int64_t n);
#endif
