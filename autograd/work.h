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

/* Attention works on rows: queries of one document times the query heads that share a key head.
   Sizes of scratch are in elements of the type sums are made in. */
enum {
    QP_ATTN_ROWS = 128,  /* rows of a tile, if a query's heads are fewer */
    QP_ATTN_KEYS = 64,   /* keys of a tile */
    QP_ATTN_LANES = 64,  /* tiles are padded to this: at least what any build computes at once */
    QP_ATTN_PAD = 16,    /* rows of dk and dv sums are padded to this: the widest vector */
    QP_ATTN_SLOTS = 64,  /* threads that have scratch */
    QP_ATTN_UNITS = 16,  /* backward: parallel pieces wanted of one long document */
    QP_ATTN_SLICE = 128, /* queries that are worth a piece */
};

static inline int64_t qp_attn_queries(int64_t h, int64_t g)
{
    return g * QP_ATTN_ROWS > h ? g * QP_ATTN_ROWS / h : 1;
}

static inline int64_t qp_attn_rows(int64_t h, int64_t g)
{
    return (qp_attn_queries(h, g) * (h / g) + QP_ATTN_LANES - 1) / QP_ATTN_LANES * QP_ATTN_LANES;
}

/* Into how many sums of their own dk and dv of a document of n queries are cut: by shape alone. */
static inline int64_t qp_attn_slices(int64_t n, int64_t g)
{
    int64_t want = (QP_ATTN_UNITS + g - 1) / g, most = n / QP_ATTN_SLICE;
    if (want > most) want = most;
    return want < 1 ? 1 : want;
}

static inline int64_t qp_attn_slots(int64_t n, int64_t g)
{
    return n * g < QP_ATTN_SLOTS ? n * g : QP_ATTN_SLOTS;
}

static inline int64_t qp_attn_pad(int64_t e)
{
    return (e + QP_ATTN_PAD - 1) / QP_ATTN_PAD * QP_ATTN_PAD;
}

/* A thread's scratch: two matrices of rows and three numbers a row, a block of scores, a tile of
 * keys and values. */
static inline int64_t qp_attn_fwd_slot(int64_t h, int64_t g, int64_t e)
{
    const int64_t ep = qp_attn_pad(e);
    return qp_attn_pad(qp_attn_rows(h, g) * (e + ep + 3) + QP_ATTN_KEYS * (2 * ep + QP_ATTN_LANES));
}

/* Five matrices of rows, three numbers a row, the two tiles, two blocks. */
static inline int64_t qp_attn_bwd_slot(int64_t h, int64_t g, int64_t e)
{
    const int64_t ep = qp_attn_pad(e);
    return qp_attn_pad(qp_attn_rows(h, g) * (2 * e + 3 * ep + 3) +
                       QP_ATTN_KEYS * (2 * ep + 2 * QP_ATTN_LANES));
}

/* Scratch, and four ints for every tile. */
static inline size_t qp_attn_fwd_work(qp_storage compute, int64_t n, int64_t m, int64_t h,
                                      int64_t g, int64_t e)
{
    (void)m;
    size_t r = compute == QP_F64 ? sizeof(double) : sizeof(float);
    return (size_t)(qp_attn_slots(n, g) * qp_attn_fwd_slot(h, g, e)) * r +
           (size_t)n * 4 * sizeof(int32_t);
}

/* Scratch, sums of dk and dv for every slice, six ints twice for every unit and one for every key.
 */
static inline size_t qp_attn_bwd_work(qp_storage compute, int64_t n, int64_t m, int64_t h,
                                      int64_t g, int64_t e)
{
    size_t r = compute == QP_F64 ? sizeof(double) : sizeof(float);
    return (size_t)(qp_attn_slots(n, g) * qp_attn_bwd_slot(h, g, e) +
                    qp_attn_slices(n, g) * g * 2 * m * qp_attn_pad(e)) *
               r +
           (size_t)(12 * n + m) * sizeof(int32_t);
}

/* All three products, any shape and weight: panels of one tile for every thread that may run. */
size_t qp_matmul_work(void);
#endif
