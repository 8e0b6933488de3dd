/* Bytes of the work areas that ops take from the arena for their kernels. A size is a function of
   shapes and the thread setting alone: the null backend's plan depends on it. */
#ifndef QP_AUTOGRAD_WORK_H
#define QP_AUTOGRAD_WORK_H
#include "autograd/loops.h"

enum {
    QP_NORM_BLOCK = 64,  /* rows whose part of dw is summed together */
    QP_SUM_BLOCK = 4096, /* elements of one partial sum of squares */
    QP_SCATTER_TASKS = 16,
    QP_SCATTER_LINES = 8, /* at most, together */
    QP_NT_ALL = 8,        /* weights that matmul_nt_all takes at most */
};

/* One row of sums a block. */
static inline size_t qp_rmsnorm_work(qp_storage compute, int64_t n, int64_t d)
{
    size_t sum_bytes = compute == QP_F64 ? sizeof(double) : sizeof(float);
    return (size_t)((n + QP_NORM_BLOCK - 1) / QP_NORM_BLOCK * d) * sum_bytes;
}

/* Two rows of sums a block, of dw and db. */
static inline size_t qp_layernorm_work(int64_t n, int64_t d)
{
    return (size_t)((n + QP_NORM_BLOCK - 1) / QP_NORM_BLOCK * 2 * d) * sizeof(double);
}

static inline size_t qp_sumsq_work(int64_t n)
{
    return (size_t)((n + QP_SUM_BLOCK - 1) / QP_SUM_BLOCK) * sizeof(double);
}

/* Lines done together: where they lie side by side. */
static inline int64_t qp_scatter_lines(const qp_lines *s)
{
    const int last = s->across.ndim - 1;
    const int64_t wide = last < 0 ? 1 : s->across.shape[last];
    const int64_t most = s->index_step == 1 ? 1 : QP_SCATTER_LINES;
    return wide < most ? wide : most;
}
/* A sum for each element of such lines, for every task; each task has at least one line. */
static inline size_t qp_scatter_work(const qp_lines *s)
{
    const int64_t lines = qp_loops_count(&s->across);
    const int64_t tasks = lines < QP_SCATTER_TASKS ? lines : QP_SCATTER_TASKS;
    return (size_t)(tasks * qp_scatter_lines(s) * s->length) * sizeof(double);
}

/* Attention: scratch for every thread that may run; backward also sums of dk and dv. */
size_t qp_attn_fwd_work(qp_storage compute, int64_t n, int64_t m, int64_t h, int64_t g, int64_t e);
size_t qp_attn_bwd_work(qp_storage compute, int64_t n, int64_t m, int64_t h, int64_t g, int64_t e);

/* All three products, any shape and weight: panels of one tile for every thread that may run. */
size_t qp_matmul_work(void);
#endif
