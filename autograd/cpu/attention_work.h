/* How attention is cut, and what its scratch takes, in elements of the type sums are made in. It
   works on rows: queries of one document times the query heads that share a key head. */
#ifndef QP_AUTOGRAD_CPU_ATTENTION_WORK_H
#define QP_AUTOGRAD_CPU_ATTENTION_WORK_H
#include <omp.h>
#include <stdint.h>

enum {
    QP_ATTN_ROWS = 256,  /* rows of a tile, if a query's heads are fewer */
    QP_ATTN_KEYS = 64,   /* keys of a tile */
    QP_ATTN_LANES = 32,  /* rows that the widest build computes at once; tiles are padded to this */
    QP_ATTN_PLACES = 4,  /* numbers that say where a row is and what it sees */
    QP_ATTN_PAD = 16,    /* rows of dk and dv sums are padded to this: the widest vector */
    QP_ATTN_UNITS = 16,  /* backward: parallel pieces wanted of one long document */
    QP_ATTN_SLICE = 256, /* queries that are worth a piece */
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

/* Threads that may run at once: each has a slot of scratch. */
static inline int64_t qp_attn_slots(int64_t n, int64_t g)
{
    const int64_t threads = omp_get_max_threads();
    return n * g < threads ? n * g : threads;
}

static inline int64_t qp_attn_pad(int64_t e)
{
    return (e + QP_ATTN_PAD - 1) / QP_ATTN_PAD * QP_ATTN_PAD;
}

/* A thread's scratch: matrices of rows, numbers a row, tiles of keys, blocks of scores; enough for
   every build. */
static inline int64_t qp_attn_fwd_slot(int64_t h, int64_t g, int64_t e)
{
    const int64_t ep = qp_attn_pad(e);
    return qp_attn_rows(h, g) * (2 * ep + 2 + QP_ATTN_PLACES) +
           QP_ATTN_KEYS * (2 * ep + 2 * QP_ATTN_LANES);
}
static inline int64_t qp_attn_bwd_slot(int64_t h, int64_t g, int64_t e)
{
    const int64_t ep = qp_attn_pad(e);
    return qp_attn_rows(h, g) * (5 * ep + 2 + QP_ATTN_PLACES + 2 * QP_ATTN_KEYS) +
           QP_ATTN_KEYS * (3 * ep + 4 * QP_ATTN_LANES);
}
#endif
