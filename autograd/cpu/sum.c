/* Sums over any dimensions, in f64 and in one order whatever the thread count: along rows in lanes
   where the innermost dimension is reduced, else down columns, a block of them at a time, so that
   memory is read in its own order. */
#include "autograd/cpu/kernel.h"
#include "autograd/cpu/lanes.h"

enum { COLUMNS = 64 };

/* Calls that walk the outer reduced dimensions; the innermost is the row's length where it is
   contiguous. */
static double sum_of_rows(const T *x, const qp_loops *l)
{
    const int64_t n = l->shape[l->ndim - 1];
    qp_loops outer = *l;
    outer.ndim--;
    const int64_t rows = qp_loops_count(&outer);
    double total = 0;
    for (int64_t i = 0; i < rows; i++) {
        const T *from = x + qp_loops_at(&outer, 0, i);
        double part;
        SUM(double, part, n, j, (double)LD(from[j]));
        total += part;
    }
    return total;
}

static void sum_of_columns(double *sum, int64_t columns, int64_t step, const T *x,
                           const qp_loops *l)
{
    const int64_t n = qp_loops_count(l);
    for (int64_t j = 0; j < columns; j++) sum[j] = 0;
    for (int64_t i = 0; i < n; i++) {
        const T *from = x + qp_loops_at(l, 0, i);
        for (int64_t j = 0; j < columns; j++) sum[j] += (double)LD(from[j * step]);
    }
}

static void put(void *y, qp_storage ys, int64_t i, double beta, double v)
{
    if (ys == QP_T)
        ((T *)y)[i] = ACC(((T *)y)[i], beta, (R)v);
    else
        ((R *)y)[i] = (beta != 0 ? ((R *)y)[i] : 0) + (R)v;
}

void K(sum)(void *y, qp_storage ys, double beta, double alpha, const void *x_,
            const qp_reduction *r)
{
    const T *x = x_;
    const qp_loops *in = &r->reduced, *kept = &r->kept;
    const int last = kept->ndim - 1;
    const bool rows = in->ndim && in->stride[0][in->ndim - 1] == 1;
    const int64_t outputs = qp_loops_count(kept), n = qp_loops_count(in);
    const int64_t wide = rows || last < 0 ? 1 : kept->shape[last];
    const int64_t step = last < 0 ? 0 : kept->stride[0][last],
                  block = wide < COLUMNS ? wide : COLUMNS;
    if (outputs == 0) return;
    const int64_t parts = (wide + block - 1) / block;
#pragma omp parallel for schedule(static) if (outputs * (n + 1) > QP_GRAIN)
    for (int64_t t = 0; t < outputs / wide * parts; t++) {
        const int64_t c0 = t % parts * block, left = wide - c0, o = t / parts * wide + c0;
        const int64_t columns = left < block ? left : block;
        const T *from = x + qp_loops_at(kept, 0, o);
        double sum[COLUMNS] = { 0 };
        if (rows)
            sum[0] = n ? sum_of_rows(from, in) : 0;
        else
            sum_of_columns(sum, columns, step, from, in);
        for (int64_t j = 0; j < columns; j++) put(y, ys, o + j, beta, alpha * sum[j]);
    }
}
