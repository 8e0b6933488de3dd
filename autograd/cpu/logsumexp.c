/* y = top + log sum e^(x - top), top the largest x; dx = dy e^(x - y). */
#include "autograd/cpu/reduction.h"

static double power(double v, double g) { return (double)EXP((R)(v - g)); }
static void powers(double *to, const part *p) { fold_elements(to, p, 0, power, plus); }

static void logsumexp_part(part *p)
{
    T *y = p->of->y;
    R *lse = p->of->extra;
    double sum[BLOCK];
    fold(p->given, p, largest, larger);
    /* From an infinite top no distance is defined; e^x itself is right then. */
    for (int64_t j = 0; j < p->count; j++)
        if (isinf(p->given[j])) p->given[j] = 0;
    fold(sum, p, powers, plus);
    for (int64_t j = 0; j < p->count; j++) {
        const R v = (R)(p->given[j] + log(sum[j]));
        y[p->first + j] = ST(v);
        if (lse) lse[p->first + j] = v;
    }
}

void K(logsumexp_fwd)(void *y, void *lse, const void *x, const qp_reduction *r)
{
    each_part(&(job){ .x = x, .r = r, .y = y, .extra = lse }, logsumexp_part);
}

static double slope(double v, double g, double dy) { return dy * power(v, g); }
static void slopes(const part *p) { spread_elements(p, slope); }

static void logsumexp_part_bwd(part *p)
{
    const T *dy = p->of->dy;
    const R *lse = p->of->extra;
    for (int64_t j = 0; j < p->count; j++) {
        p->given[j] = (double)lse[p->first + j];
        p->dy[j] = (double)LD(dy[p->first + j]);
    }
    spread(p, slopes);
}

void K(logsumexp_bwd)(void *dx, double beta, const void *dy, const void *x, const void *lse,
                      const qp_reduction *r)
{
    each_part(&(job){ .x = x, .r = r, .dy = dy, .dx = dx, .beta = beta, .extra = (void *)lse },
              logsumexp_part_bwd);
}
