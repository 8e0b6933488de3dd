/* Bytes of the work areas that ops take from the arena for their kernels. A size is a function of
   shapes alone: the null backend's plan depends on it. */
#ifndef QP_AUTOGRAD_WORK_H
#define QP_AUTOGRAD_WORK_H
#include "base/dtype.h"

enum {
    QP_NORM_BLOCK = 64,  /* rows whose part of dw is summed together */
    QP_SUM_BLOCK = 4096, /* elements of one partial sum of squares */
};

/* One row of sums a block. */
static inline size_t qp_rmsnorm_work(qp_storage compute, int64_t n, int64_t d)
{
    size_t sum_bytes = compute == QP_F64 ? sizeof(double) : sizeof(float);
    return (size_t)((n + QP_NORM_BLOCK - 1) / QP_NORM_BLOCK * d) * sum_bytes;
}

static inline size_t qp_sumsq_work(int64_t n)
{
    return (size_t)((n + QP_SUM_BLOCK - 1) / QP_SUM_BLOCK) * sizeof(double);
}

/* Attention: one f32 or f64 sum for every output row; backward the same for dq, dk and dv. */
static inline size_t qp_attn_fwd_work(qp_storage compute, int64_t n, int64_t m, int64_t h,
                                      int64_t g, int64_t e)
{
    (void)m, (void)g;
    return (size_t)(n * h * e) * (compute == QP_F64 ? sizeof(double) : sizeof(float));
}

static inline size_t qp_attn_bwd_work(qp_storage compute, int64_t n, int64_t m, int64_t h,
                                      int64_t g, int64_t e)
{
    return (size_t)(n * h * e + 2 * m * g * e) *
           (compute == QP_F64 ? sizeof(double) : sizeof(float));
}
#endif
