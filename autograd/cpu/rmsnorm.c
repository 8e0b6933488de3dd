#include "autograd/cpu/kernel.h"
#include "autograd/cpu/lanes.h"
#include "autograd/cpu/weight.h"

/* The weight, of any storage, is widened once for a block of rows, in tiles that stay in L1. */
enum { ROWS = 16, COLUMNS = 512 };

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* w[j0 .. j0+cols-1] in R: the weight itself where it is stored so, else widened into buf. */
static const R *tile(R *buf, const qp_tensor *w, int64_t j0, int64_t cols)
{
    const R *all = qp_weight_direct(w, QP_R, 0);
    if (all) return all + j0;
    qp_weight_panel(buf, QP_R, cols, w, 0, 1, j0, cols);
    return buf;
}

static R inverse_rms(const T *x, double eps, int64_t d)
{
    R sum;
    SUM(R, sum, d, j, LD(x[j]) * LD(x[j]));
    return 1 / SQRT(sum / (R)d + (R)eps);
}

/* y = x r w with r = 1 / sqrt(mean(x^2) + eps). Rows are independent. */
void K(rmsnorm_fwd)(void *y_, void *rstd_, const void *x_, const qp_tensor *w, double eps,
                    int64_t n, int64_t d)
{
    const T *x = x_;
    T *y = y_;
    R *rstd = rstd_;
#pragma omp parallel for schedule(static) if (n * d > QP_GRAIN)
    for (int64_t i0 = 0; i0 < n; i0 += ROWS) {
        const int64_t i1 = least(i0 + ROWS, n);
        R r[ROWS], buf[COLUMNS];
        for (int64_t i = i0; i < i1; i++) {
            r[i - i0] = inverse_rms(x + i * d, eps, d);
            if (rstd) rstd[i] = r[i - i0];
        }
        for (int64_t j0 = 0; j0 < d; j0 += COLUMNS) {
            const int64_t cols = least(COLUMNS, d - j0);
            const R *wt = tile(buf, w, j0, cols);
            for (int64_t i = i0; i < i1; i++) {
                const T *xi = x + i * d + j0;
                T *yi = y + i * d + j0;
                const R ri = r[i - i0];
#pragma omp simd
                for (int64_t j = 0; j < cols; j++) yi[j] = ST(LD(xi[j]) * ri * wt[j]);
            }
        }
    }
}

/* One row's tile of columns: dx = r (dy w - x r mean), and dw's part grows by dy x r. */
static void tile_backward(T *dx, double beta_x, R *part, const T *dy, const T *x, const R *w, R r,
                          R mean, int64_t cols)
{
    if (dx) {
#pragma omp simd
        for (int64_t j = 0; j < cols; j++)
            dx[j] = ACC(dx[j], beta_x, r * (LD(dy[j]) * w[j] - LD(x[j]) * r * mean));
    }
    if (part) {
#pragma omp simd
        for (int64_t j = 0; j < cols; j++) part[j] += LD(dy[j]) * (LD(x[j]) * r);
    }
}

/* Rows i0 .. i1-1, at most QP_NORM_BLOCK; part: their share of dw, or NULL. */
static void block_backward(T *dx, double beta_x, R *part, const T *dy, const T *x,
                           const qp_tensor *w, const R *rstd, int64_t i0, int64_t i1, int64_t d)
{
    R mean[QP_NORM_BLOCK] = { 0 }, buf[COLUMNS]; /* mean(dy w x r) of each row */
    if (part) memset(part, 0, (size_t)d * sizeof *part);
    for (int64_t j0 = 0; dx && j0 < d; j0 += COLUMNS) {
        const int64_t cols = least(COLUMNS, d - j0);
        const R *wt = tile(buf, w, j0, cols);
        for (int64_t i = i0; i < i1; i++) {
            const T *dyi = dy + i * d + j0, *xi = x + i * d + j0;
            R dot;
            SUM(R, dot, cols, j, LD(dyi[j]) * wt[j] * LD(xi[j]));
            mean[i - i0] += dot;
        }
    }
    for (int64_t i = i0; i < i1; i++) mean[i - i0] *= rstd[i] / (R)d;
    for (int64_t j0 = 0; j0 < d; j0 += COLUMNS) {
        const int64_t cols = least(COLUMNS, d - j0);
        const R *wt = tile(buf, w, j0, cols);
        for (int64_t i = i0; i < i1; i++)
            tile_backward(dx ? dx + i * d + j0 : NULL, beta_x, part ? part + j0 : NULL,
                          dy + i * d + j0, x + i * d + j0, wt, rstd[i], mean[i - i0], cols);
    }
}

/* With xh = x r and g = dy w:  dx = r (g - xh mean(g xh)),  dw = sum over rows of dy xh.
   dw is summed per block of 64 rows, then block by block: the thread count cannot change it. */
void K(rmsnorm_bwd)(void *dx, double beta_x, void *dw_, double beta_w, void *work, const void *dy,
                    const void *x, const qp_tensor *w, const void *rstd, int64_t n, int64_t d)
{
    R *dw = dw_, *part = dw ? work : NULL;
    const int64_t blocks = (n + QP_NORM_BLOCK - 1) / QP_NORM_BLOCK;
#pragma omp parallel for schedule(static) if (n * d > QP_GRAIN)
    for (int64_t b = 0; b < blocks; b++)
        block_backward(dx, beta_x, part ? part + b * d : NULL, dy, x, w, rstd, b * QP_NORM_BLOCK,
                       least((b + 1) * QP_NORM_BLOCK, n), d);
    if (!dw) return;
#pragma omp parallel for schedule(static) if (blocks * d > QP_GRAIN)
    for (int64_t j0 = 0; j0 < d; j0 += COLUMNS) {
        const int64_t j1 = least(j0 + COLUMNS, d);
        for (int64_t j = j0; beta_w == 0 && j < j1; j++) dw[j] = 0;
        for (int64_t b = 0; b < blocks; b++) {
#pragma omp simd
            for (int64_t j = j0; j < j1; j++) dw[j] += part[b * d + j];
        }
    }
}
