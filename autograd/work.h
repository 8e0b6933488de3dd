/* Bytes of the work areas that ops take from the arena for their kernels. A size is a function of
   shapes and the thread setting alone: the null backend's plan depends on it. */
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

/* Attention: scratch for every thread that may run; backward also sums of dk and dv. */
size_t qp_attn_fwd_work(qp_storage compute, int64_t n, int64_t m, int64_t h, int64_t g, int64_t e);
size_t qp_attn_bwd_work(qp_storage compute, int64_t n, int64_t m, int64_t h, int64_t g, int64_t e);

/* All three products, any shape and weight: panels of one tile for every thread that may run. */
size_t qp_matmul_work(void);
#endif
