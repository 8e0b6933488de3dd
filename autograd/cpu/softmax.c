/* Softmax along rows, and cross-entropy on it. The largest value is taken off first, so nothing
   overflows; a NaN is never the largest but always reaches the sum, and a row of -inf alone gives
   NaN, as -inf less -inf does. */
#include "autograd/cpu/kernel.h"
#include "autograd/cpu/lanes.h"

/* The largest of a row, and the sum of e^(x - largest). */
static double denominator(const T *x, int64_t d, R *largest)
{
    R top = -(R)INFINITY;
    double sum;
    LARGEST(R, top, d, j, LD(x[j]));
    SUM(double, sum, d, j, (double)EXP(LD(x[j]) - top));
    *largest = top;
    return sum;
}

void K(softmax_fwd)(void *y_, const void *x_, bool log_too, int64_t n, int64_t d)
{
#pragma omp parallel for schedule(static) if (n * d > QP_GRAIN)
    for (int64_t i = 0; i < n; i++) {
        const T *x = (const T *)x_ + i * d;
        T *y = (T *)y_ + i * d;
        R top;
        const double sum = denominator(x, d, &top);
        const R by = (R)sum, log_sum = (R)log(sum);
        if (log_too) {
#pragma omp simd
            for (int64_t j = 0; j < d; j++) y[j] = ST(LD(x[j]) - top - log_sum);
        } else {
#pragma omp simd
            for (int64_t j = 0; j < d; j++) y[j] = ST(EXP(LD(x[j]) - top) / by);
        }
    }
}

/* dx = y (dy - sum(dy y));  of the logarithm  dx = dy - e^y sum(dy). */
void K(softmax_bwd)(void *dx_, double beta, const void *dy_, const void *y_, bool log_too,
                    int64_t n, int64_t d)
{
#pragma omp parallel for schedule(static) if (n * d > QP_GRAIN)
    for (int64_t i = 0; i < n; i++) {
        const T *dy = (const T *)dy_ + i * d, *y = (const T *)y_ + i * d;
        T *dx = (T *)dx_ + i * d;
        double sum;
        if (log_too) {
            SUM(double, sum, d, j, (double)LD(dy[j]));
            const R all = (R)sum;
#pragma omp simd
            for (int64_t j = 0; j < d; j++)
                dx[j] = ACC(dx[j], beta, LD(dy[j]) - EXP(LD(y[j])) * all);
        } else {
            SUM(double, sum, d, j, (double)LD(dy[j]) * (double)LD(y[j]));
            const R dot = (R)sum;
#pragma omp simd
            for (int64_t j = 0; j < d; j++) dx[j] = ACC(dx[j], beta, LD(y[j]) * (LD(dy[j]) - dot));
        }
    }
}

/* With z' = z - largest:  log(sum) - (1-s) z'[target] - s mean(z'). */
void K(cross_entropy_fwd)(double *loss, double *stats, const void *logits, const int32_t *targets,
                          double smoothing, int64_t n, int64_t v)
{
#pragma omp parallel for schedule(static) if (n * v > QP_GRAIN)
    for (int64_t i = 0; i < n; i++) {
        loss[i] = stats[2 * i] = stats[2 * i + 1] = 0;
        if (targets[i] < 0) continue;
        const T *z = (const T *)logits + i * v;
        R largest;
        const double sum = denominator(z, v, &largest), top = (double)largest;
        stats[2 * i] = top;
        stats[2 * i + 1] = sum;
        loss[i] = log(sum) - (1 - smoothing) * ((double)LD(z[targets[i]]) - top);
        if (smoothing == 0) continue; /* or a logit of -inf would give NaN */
        double all;
        SUM(double, all, v, j, (double)LD(z[j]) - top);
        loss[i] -= smoothing * all / (double)v;
    }
}

/* scale (softmax - target distribution). */
void K(cross_entropy_bwd)(void *dx_, double beta, const void *dy, int64_t step, double factor,
                          const double *stats, const void *logits, const int32_t *targets,
                          double smoothing, int64_t n, int64_t v)
{
#pragma omp parallel for schedule(static) if (n * v > QP_GRAIN)
    for (int64_t i = 0; i < n; i++) {
        const T *z = (const T *)logits + i * v;
        T *dx = (T *)dx_ + i * v;
        if (targets[i] < 0) {
            if (beta == 0) memset(dx, 0, (size_t)v * sizeof *dx);
            continue;
        }
        const R scale = (R)((double)((const R *)dy)[i * step] * factor);
        const R top = (R)stats[2 * i], sum = (R)stats[2 * i + 1];
        const R even = (R)(smoothing / (double)v), rest = (R)(1 - smoothing);
        const int64_t t = targets[i];
        const R at_t = EXP(LD(z[t]) - top) / sum - even - rest;
        const T target = ACC(dx[t], beta, scale * at_t);
#pragma omp simd
        for (int64_t j = 0; j < v; j++)
            dx[j] = ACC(dx[j], beta, scale * (EXP(LD(z[j]) - top) / sum - even));
        dx[t] = target;
    }
}
