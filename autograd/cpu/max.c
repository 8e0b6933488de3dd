/* The largest over any dimensions, and where it lies. A NaN is larger than all. */
#include "autograd/cpu/reduction.h"

/* alpha is 1 for the largest, -1 for the smallest: the largest of -x, exactly. */
static double negated(double v, double g)
{
    (void)g;
    return -v;
}
static void largest_negated(double *to, const part *p)
{
    fold_elements(to, p, -INFINITY, negated, larger);
}

static void max_part(part *p)
{
    const job *b = p->of;
    T *y = b->y;
    double top[BLOCK];
    fold(top, p, b->alpha < 0 ? largest_negated : largest, larger);
    for (int64_t j = 0; j < p->count; j++) y[p->first + j] = ST((R)(b->alpha * top[j]));
}

void K(max_fwd)(void *y, const void *x, double sign, const qp_reduction *r)
{
    each_part(&(job){ .x = x, .r = r, .y = y, .alpha = sign }, max_part);
}

static double is_equal(double v, double g) { return v == g ? 1 : 0; }
static void count_equal(double *to, const part *p) { fold_elements(to, p, 0, is_equal, plus); }

/* A product as in PyTorch: where y is NaN nothing equals it, and 0 * dy / 0 is NaN. */
static double share(double v, double g, double dy) { return is_equal(v, g) * dy; }
static void share_out(const part *p) { spread_elements(p, share); }

static void max_part_bwd(part *p)
{
    const T *y = p->of->y, *dy = p->of->dy;
    double equal[BLOCK];
    for (int64_t j = 0; j < p->count; j++) p->given[j] = (double)LD(y[p->first + j]);
    fold(equal, p, count_equal, plus);
    for (int64_t j = 0; j < p->count; j++) p->dy[j] = (double)LD(dy[p->first + j]) / equal[j];
    spread(p, share_out);
}

void K(max_bwd)(void *dx, double beta, const void *dy, const void *x, const void *y,
                const qp_reduction *r)
{
    each_part(&(job){ .x = x, .r = r, .y = (void *)y, .dy = dy, .dx = dx, .beta = beta },
              max_part_bwd);
}

/* The first element of each output that is its largest, walking from the last to the first. */
static void first_largest(part *p)
{
    const T *x = p->of->x + p->at;
    int32_t *index = (int32_t *)p->of->extra + p->first;
    const int64_t n = qp_loops_count(p->over), across = p->over->ndim ? p->over->stride[0][0] : 0;
    double top[BLOCK];
    fold(top, p, largest, larger);
    for (int64_t i = n - 1; i >= 0; i--)
        for (int64_t o = 0; o < p->count; o++) {
            const double v = (double)LD(x[i * across + o * p->step]);
            index[o] = ((v == top[o]) | (v != v)) ? (int32_t)i : index[o];
        }
}

void K(argmax)(int32_t *index, const void *x, const qp_reduction *r)
{
    each_part(&(job){ .x = x, .r = r, .extra = index }, first_largest);
}
