/* Elements chosen along an axis, and added there. */
#include "autograd/cpu/kernel.h"

enum { TASK = 4096 };

void K(gather)(void *y_, double beta, const void *x_, const int32_t *index, int64_t step,
               const qp_loops *l)
{
    T *y = y_;
    const T *x = x_;
    qp_loops outer = *l;
    if (l->ndim) outer.ndim--;
    const int64_t total = qp_loops_count(l), len = l->ndim ? l->shape[outer.ndim] : 1;
    const int64_t sx = l->ndim ? l->stride[1][outer.ndim] : 0;
#pragma omp parallel for schedule(static) if (total > QP_GRAIN)
    for (int64_t lo = 0; lo < total; lo += TASK) {
        const int64_t hi = lo + TASK < total ? lo + TASK : total;
        for (int64_t i = lo, next; i < hi; i = next) {
            const T *row = x + qp_loops_at(&outer, 1, i / len) + i % len * sx;
            next = i + len - i % len < hi ? i + len - i % len : hi;
            for (int64_t j = i; j < next; j++, row += sx)
                y[j] = ACC(y[j], beta, LD(row[(int64_t)index[j] * step]));
        }
    }
}

/* Lines side by side, in the index too: their sums are cleared where the index points, made in the
   index's order, and added to y. What was added is cleared again, so that an index that comes twice
   adds once. */
static void scatter_lines(T *y, double *sum, const T *src, const int32_t *index, const qp_lines *s,
                          int64_t lines, int64_t y_beside)
{
    for (int64_t i = 0; i < s->count; i++)
        for (int64_t b = 0; b < lines; b++) sum[index[i * s->index_step + b] * lines + b] = 0;
    for (int64_t i = 0; i < s->count; i++)
        for (int64_t b = 0; b < lines; b++) {
            const int64_t from = i * s->index_step + b;
            sum[index[from] * lines + b] += (double)LD(src[from]);
        }
    for (int64_t i = 0; i < s->count; i++)
        for (int64_t b = 0; b < lines; b++) {
            const int64_t at = index[i * s->index_step + b];
            T *to = y + at * s->step + b * y_beside;
            *to = ST((R)((double)LD(*to) + sum[at * lines + b]));
            sum[at * lines + b] = 0;
        }
}

void K(scatter)(void *y_, void *work, const void *src_, const int32_t *index, const qp_lines *s)
{
    T *y = y_;
    const T *src = src_;
    const qp_loops *l = &s->across;
    const int last = l->ndim - 1;
    const int64_t all = qp_loops_count(l), wide = last < 0 ? 1 : l->shape[last];
    if (all == 0) return;
    const int64_t y_beside = last < 0 ? 0 : l->stride[1][last];
    const int64_t block = qp_scatter_lines(s), blocks = (wide + block - 1) / block,
                  parts = all / wide * blocks;
    const int64_t tasks = parts < QP_SCATTER_TASKS ? parts : QP_SCATTER_TASKS;
#pragma omp parallel for schedule(static) if (all * s->count > QP_GRAIN)
    for (int64_t t = 0; t < tasks; t++) {
        double *sum = (double *)work + t * block * s->length;
        for (int64_t p = parts * t / tasks; p < parts * (t + 1) / tasks; p++) {
            const int64_t skip = p % blocks * block, left = wide - skip,
                          first = p / blocks * wide + skip, at = qp_loops_at(l, 0, first);
            scatter_lines(y + qp_loops_at(l, 1, first), sum, src + at, index + at, s,
                          left < block ? left : block, y_beside);
        }
    }
}
