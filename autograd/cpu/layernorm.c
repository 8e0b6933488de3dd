/* Rows brought to mean 0 and variance 1. Statistics are made and kept in f64: of rows far from
   zero, f32 sums would leave nothing. */
#include "autograd/cpu/kernel.h"
#include "autograd/cpu/lanes.h"

enum { COLUMNS = 512 };

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

typedef struct {
    double mean, rstd;
} stat;

/* Two passes: the sum of squares less the square of the sum would cancel. */
static stat stat_of(const T *x, double eps, int64_t d)
{
    double sum, squares;
    SUM(double, sum, d, j, (double)LD(x[j]));
    const double mean = sum / (double)d;
    SUM(double, squares, d, j, ((double)LD(x[j]) - mean) * ((double)LD(x[j]) - mean));
    return (stat){ mean, 1 / sqrt(squares / (double)d + eps) };
}

static inline R normal(T x, stat s) { return (R)(((double)LD(x) - s.mean) * s.rstd); }

void K(layernorm_fwd)(void *y_, double *stats, const void *x_, const void *w_, const void *b_,
                      double eps, int64_t n, int64_t d)
{
    const T *all = x_, *w = w_, *b = b_;
#pragma omp parallel for schedule(static) if (n * d > QP_GRAIN)
    for (int64_t i = 0; i < n; i++) {
        const T *x = all + i * d;
        T *y = (T *)y_ + i * d;
        const stat s = stat_of(x, eps, d);
        if (stats) {
            stats[2 * i] = s.mean;
            stats[2 * i + 1] = s.rstd;
        }
#pragma omp simd
        for (int64_t j = 0; j < d; j++) {
            const R scaled = normal(x[j], s) * (w ? LD(w[j]) : 1);
            y[j] = ST(b ? scaled + LD(b[j]) : scaled);
        }
    }
}

/* One row: with g = dy w and xh the normal x,  dx = rstd (g - mean(g) - xh mean(g xh)). */
static void row_backward(T *dx, double beta, const T *dy, const T *x, const T *w, stat s, int64_t d)
{
    double sum, dot;
    SUM(double, sum, d, j, (double)(LD(dy[j]) * (w ? LD(w[j]) : 1)));
    SUM(double, dot, d, j, (double)(LD(dy[j]) * (w ? LD(w[j]) : 1)) * (double)normal(x[j], s));
    const double mean = sum / (double)d, mean_dot = dot / (double)d;
#pragma omp simd
    for (int64_t j = 0; j < d; j++) {
        const double g = (double)(LD(dy[j]) * (w ? LD(w[j]) : 1));
        const double v = s.rstd * (g - mean - (double)normal(x[j], s) * mean_dot);
        dx[j] = ACC(dx[j], beta, (R)v);
    }
}

/* A row's share of  dw = sum of dy xh,  db = sum of dy. */
static void row_sums(double *dw, double *db, const T *dy, const T *x, stat s, int64_t d)
{
#pragma omp simd
    for (int64_t j = 0; j < d; j++) {
        dw[j] += (double)LD(dy[j]) * (double)normal(x[j], s);
        db[j] += (double)LD(dy[j]);
    }
}

/* to = beta*to + the blocks' sums, in their order. */
static void fold(R *to, double beta, const double *part, int64_t blocks, int64_t d)
{
#pragma omp parallel for schedule(static) if (blocks * d > QP_GRAIN)
    for (int64_t j0 = 0; j0 < d; j0 += COLUMNS) {
        const int64_t cols = least(COLUMNS, d - j0);
        double sum[COLUMNS] = { 0 };
        for (int64_t b = 0; b < blocks; b++)
            for (int64_t j = 0; j < cols; j++) sum[j] += part[2 * b * d + j0 + j];
        for (int64_t j = 0; j < cols; j++) to[j0 + j] = (beta != 0 ? to[j0 + j] : 0) + (R)sum[j];
    }
}

/* dw and db are summed per block of 64 rows, then block by block: the thread count cannot change
   them. */
void K(layernorm_bwd)(void *dx, double beta_x, void *dw, double beta_w, void *db, double beta_b,
                      void *work, const void *dy_, const void *x_, const void *w,
                      const double *stats, int64_t n, int64_t d)
{
    const int64_t blocks = (n + QP_NORM_BLOCK - 1) / QP_NORM_BLOCK;
    const bool sums = dw || db;
#pragma omp parallel for schedule(static) if (n * d > QP_GRAIN)
    for (int64_t b = 0; b < blocks; b++) {
        double *part = (double *)work + 2 * b * d;
        if (sums) memset(part, 0, (size_t)(2 * d) * sizeof *part);
        for (int64_t i = b * QP_NORM_BLOCK; i < least((b + 1) * QP_NORM_BLOCK, n); i++) {
            const T *dy = (const T *)dy_ + i * d, *x = (const T *)x_ + i * d;
            const stat s = { stats[2 * i], stats[2 * i + 1] };
            if (sums) row_sums(part, part + d, dy, x, s, d);
            if (dx) row_backward((T *)dx + i * d, beta_x, dy, x, w, s, d);
        }
    }
    if (dw) fold(dw, beta_w, work, blocks, d);
    if (db) fold(db, beta_b, (double *)work + d, blocks, d);
}
