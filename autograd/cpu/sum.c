/* Sums over any dimensions, made in f64. */
#include "autograd/cpu/reduction.h"

static void put(void *y, qp_storage ys, int64_t i, double beta, double v)
{
    if (ys == QP_T)
        ((T *)y)[i] = ACC(((T *)y)[i], beta, (R)v);
    else
        ((R *)y)[i] = (beta != 0 ? ((R *)y)[i] : 0) + (R)v;
}

static void sum_part(part *p)
{
    const job *b = p->of;
    double sum[BLOCK];
    fold(sum, p, sum_of, plus);
    for (int64_t j = 0; j < p->count; j++)
        put(b->y, b->ys, p->first + j, b->beta, b->alpha * sum[j]);
}

void K(sum)(void *y, qp_storage ys, double beta, double alpha, const void *x, const qp_reduction *r)
{
    each_part(&(job){ .x = x, .r = r, .y = y, .ys = ys, .beta = beta, .alpha = alpha }, sum_part);
}
