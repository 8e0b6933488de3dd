/* Sums of squared distances from the mean over any dimensions, in two passes in f64: no digits
   cancel. */
#include "autograd/cpu/reduction.h"

static double square(double v, double g) { return (v - g) * (v - g); }
static void squares(double *to, const part *p) { fold_elements(to, p, 0, square, plus); }

static void find_means(part *p)
{
    const double n = (double)qp_loops_count(&p->of->r->reduced);
    fold(p->given, p, sum_of, plus);
    for (int64_t j = 0; j < p->count; j++) p->given[j] /= n;
}

static void var_part(part *p)
{
    T *y = p->of->y;
    double sum[BLOCK];
    find_means(p);
    fold(sum, p, squares, plus);
    for (int64_t j = 0; j < p->count; j++) y[p->first + j] = ST((R)(p->of->alpha * sum[j]));
}

void K(var_fwd)(void *y, double alpha, const void *x, const qp_reduction *r)
{
    each_part(&(job){ .x = x, .r = r, .y = y, .alpha = alpha }, var_part);
}

/* The mean's own gradient vanishes: the distances from it add up to 0. */
static double slope(double v, double g, double dy) { return dy * (v - g); }
static void slopes(const part *p) { spread_elements(p, slope); }

static void var_part_bwd(part *p)
{
    const T *dy = p->of->dy;
    find_means(p);
    for (int64_t j = 0; j < p->count; j++) p->dy[j] = p->of->alpha * (double)LD(dy[p->first + j]);
    spread(p, slopes);
}

void K(var_bwd)(void *dx, double beta, double alpha, const void *dy, const void *x,
                const qp_reduction *r)
{
    each_part(&(job){ .x = x, .r = r, .dy = dy, .dx = dx, .beta = beta, .alpha = alpha },
              var_part_bwd);
}
