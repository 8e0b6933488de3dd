/* Runs a function over every row of loops of up to four operands (autograd/loops.h), blocks of rows
   across the threads. A row's function writes out the innermost strides that broadcasting gives, so
   that they vectorise. */
#ifndef QP_AUTOGRAD_CPU_EACH_H
#define QP_AUTOGRAD_CPU_EACH_H
#include "autograd/cpu/kernel.h"

typedef struct {
    int64_t len, step[QP_MAX_OPERANDS]; /* the innermost dimension, and each operand's stride */
    T *at[QP_MAX_OPERANDS];             /* where each operand begins */
    double beta, alpha;
} row;

/* A task's elements: enough to be worth it, few enough to stay in cache. */
enum { QP_EACH_BLOCK = 4096 };

/* Moves every operand from row i of the outer loops to the next. */
static inline void next_row(const qp_loops *l, int outer, int64_t *index, row *r)
{
    for (int d = outer - 1; d >= 0; d--) {
        const bool wraps = ++index[d] == l->shape[d];
        const int64_t back = wraps ? l->shape[d] : 0;
        for (int k = 0; k < QP_MAX_OPERANDS; k++)
            if (r->at[k]) r->at[k] += (1 - back) * l->stride[k][d];
        if (!wraps) return;
        index[d] = 0;
    }
}

/* Rows lo .. hi-1. */
static inline void some_rows(const qp_loops *l, int outer, int64_t lo, int64_t hi, row r,
                             void (*fn)(const row *))
{
    int64_t index[QP_MAX_DIMS], left = lo;
    for (int d = outer - 1; d >= 0; d--) {
        index[d] = left % l->shape[d];
        left /= l->shape[d];
        for (int k = 0; k < QP_MAX_OPERANDS; k++)
            if (r.at[k]) r.at[k] += index[d] * l->stride[k][d];
    }
    for (int64_t i = lo; i < hi; i++) {
        fn(&r);
        next_row(l, outer, index, &r);
    }
}

/* Elements lo .. hi-1 of the only row. */
static inline void some_elements(int64_t lo, int64_t hi, row r, void (*fn)(const row *))
{
    r.len = hi - lo;
    for (int k = 0; k < QP_MAX_OPERANDS; k++)
        if (r.at[k]) r.at[k] += lo * r.step[k];
    fn(&r);
}

/* all.at: where the operands begin, NULL for those there are not; all.beta, all.alpha as fn wants
   them. */
static inline void each(const qp_loops *l, row all, void (*fn)(const row *))
{
    const int outer = l->ndim ? l->ndim - 1 : 0;
    int64_t rows = 1;
    for (int d = 0; d < outer; d++) rows *= l->shape[d];
    all.len = l->ndim ? l->shape[outer] : 1;
    for (int k = 0; k < QP_MAX_OPERANDS; k++) all.step[k] = l->ndim ? l->stride[k][outer] : 0;
    if (rows == 0 || all.len == 0) return;

    const bool flat = rows == 1;
    const int64_t n = flat ? all.len : rows, row_block = QP_EACH_BLOCK / all.len;
    const int64_t block = flat ? QP_EACH_BLOCK : row_block ? row_block : 1;
#pragma omp parallel for schedule(static) if (rows * all.len > QP_GRAIN)
    for (int64_t lo = 0; lo < n; lo += block) {
        const int64_t hi = lo + block < n ? lo + block : n;
        if (flat)
            some_elements(lo, hi, all, fn);
        else
            some_rows(l, outer, lo, hi, all, fn);
    }
}
#endif
