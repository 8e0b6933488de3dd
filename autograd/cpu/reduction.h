/* What reductions over any dimensions share: how the work is cut. The innermost dimension is either
   reduced, then an output's elements lie in rows, or kept, then outputs lie side by side and their
   elements in columns; a block of outputs is done together, so that memory is read in its own
   order and loops vectorise. Where there are few outputs, the longest reduced dimension is cut into
   slices, whose results are folded in order. All cuts follow from the shapes: the thread count
   changes no bit. */
#ifndef QP_AUTOGRAD_CPU_REDUCTION_H
#define QP_AUTOGRAD_CPU_REDUCTION_H
#include "autograd/cpu/kernel.h"
#include "autograd/cpu/lanes.h"

enum {
    WIDE = 2 * LANES,
    BLOCK = 128,
    SLICES = 32,
    TASK = 4096 /* elements worth a turn of their own */
};

/* The arguments of a reduction's kernel, as far as it has them. */
typedef struct {
    const T *x;
    const qp_reduction *r;
    void *y; /* forward's result, in T but for sums */
    const T *dy;
    T *dx;
    double beta, alpha;
    qp_storage ys; /* sums: T or R */
    void *extra;   /* logsumexp: in R, or NULL; argmax: the indices */
} job;

/* A block of outputs, or a slice of it. */
typedef struct {
    const job *of;
    const qp_loops *over;           /* the reduced dimensions */
    bool rows;                      /* the innermost of them is contiguous */
    int64_t first, count;           /* outputs */
    int64_t at, step;               /* where the first one's elements begin, where the next one's */
    int slices;                     /* into which the block is to be cut */
    double given[BLOCK], dy[BLOCK]; /* of each output, as the functions below want them */
} part;

/* Elements of one output. */
static inline int64_t reduced_count(const job *b) { return qp_loops_count(&b->r->reduced); }

/* Runs fn on every block of outputs. */
static inline void each_part(const job *b, void (*fn)(part *))
{
    const qp_loops *kept = &b->r->kept, *in = &b->r->reduced;
    const int last = kept->ndim - 1;
    const int64_t outputs = qp_loops_count(kept), n = qp_loops_count(in);
    if (outputs == 0) return;
    const bool rows = in->ndim && in->stride[0][in->ndim - 1] == 1;
    const int64_t wide = last < 0 ? 1 : kept->shape[last], fitting = TASK / (n + 1) + 1;
    const int64_t most = rows && fitting < BLOCK ? fitting : BLOCK;
    const int64_t block = wide < most ? wide : most, blocks = (wide + block - 1) / block;
    const int64_t parts = outputs / wide * blocks;
    const bool large = outputs * n > QP_GRAIN, cut = large && parts < SLICES / 2;
#pragma omp parallel for schedule(static) if (large && !cut)
    for (int64_t t = 0; t < parts; t++) {
        const int64_t skip = t % blocks * block, left = wide - skip;
        part p;
        p.of = b;
        p.over = in;
        p.rows = rows;
        p.first = t / blocks * wide + skip;
        p.count = left < block ? left : block;
        p.at = qp_loops_at(kept, 0, p.first);
        p.step = last < 0 ? 0 : kept->stride[0][last];
        p.slices = cut ? SLICES : 1;
        fn(&p);
    }
}

/* Slice s of a block: its share of the longest dimension. */
static inline void take_slice(const part *whole, int s, qp_loops *over, part *p)
{
    int longest = 0;
    *over = *whole->over;
    for (int d = 1; d < over->ndim; d++)
        if (over->shape[d] > over->shape[longest]) longest = d;
    const int64_t n = over->shape[longest], lo = n * s / whole->slices,
                  hi = n * (s + 1) / whole->slices;
    over->shape[longest] = hi - lo;
    *p = *whole;
    p->over = over;
    p->at += lo * over->stride[0][longest];
}

typedef void fold_fn(double *to, const part *p);
typedef double both_fn(double a, double b);

/* to[j] = fn's result for each output of a block; both folds the results of slices. */
static inline void fold(double *to, const part *p, fold_fn *fn, both_fn *both)
{
    if (p->slices == 1) {
        fn(to, p);
        return;
    }
    double result[SLICES][BLOCK];
#pragma omp parallel for schedule(static)
    for (int s = 0; s < p->slices; s++) {
        qp_loops over;
        part slice;
        take_slice(p, s, &over, &slice);
        fn(result[s], &slice);
    }
    for (int64_t j = 0; j < p->count; j++) {
        to[j] = result[0][j];
        for (int s = 1; s < p->slices; s++) to[j] = both(to[j], result[s][j]);
    }
}

/* A NaN is larger than all. */
static inline double larger(double a, double b) { return ((b > a) | (b != b)) ? b : a; }
static inline double plus(double a, double b) { return a + b; }
static inline double element(double v, double g)
{
    (void)g;
    return v;
}

/* Runs fn, which writes to a block's elements. */
static inline void spread(const part *p, void (*fn)(const part *))
{
    if (p->slices == 1) {
        fn(p);
        return;
    }
#pragma omp parallel for schedule(static)
    for (int s = 0; s < p->slices; s++) {
        qp_loops over;
        part slice;
        take_slice(p, s, &over, &slice);
        fn(&slice);
    }
}

#define INLINE static inline __attribute__((always_inline))

/* The rest is inlined into its callers with the functions it is given, and vectorises.

   A fold_fn: from start, folds value(v, g) of every element v by both; g is p->given of its output.
 */
INLINE double fold_row(const T *x, int64_t n, double g, double start,
                       double (*value)(double v, double g), both_fn *both)
{
    double total = start;
    if (n < WIDE)
        for (int64_t j = 0; j < n; j++) total = both(total, value((double)LD(x[j]), g));
    else
        FOLD(double, WIDE, total, start, n, j, value((double)LD(x[j]), g), both);
    return total;
}

INLINE void fold_elements(double *to, const part *p, double start,
                          double (*value)(double v, double g), both_fn *both)
{
    qp_loops outer = *p->over;
    if (p->rows) outer.ndim--;
    const int64_t rows = qp_loops_count(&outer),
                  n = p->rows ? p->over->shape[outer.ndim] : p->count;
    const T *x = p->of->x + p->at;
    for (int64_t o = 0; o < p->count; o++) to[o] = start;
    if (p->rows) {
        for (int64_t o = 0; o < p->count; o++)
            for (int64_t i = 0; i < rows; i++) {
                const T *row = x + o * p->step + qp_loops_at(&outer, 0, i);
                to[o] = both(to[o], fold_row(row, n, p->given[o], start, value, both));
            }
    } else {
        for (int64_t i = 0; i < rows; i++) {
            const T *row = x + qp_loops_at(&outer, 0, i);
            SIMD_FOR (o) {
                to[o] = both(to[o], value((double)LD(row[o]), p->given[o]));
            }
        }
    }
}

/* dx = beta*dx + slope(v, g, dy) for every element v, with g and dy of its output. */
INLINE void spread_elements(const part *p, double (*slope)(double v, double g, double dy))
{
    qp_loops outer = *p->over;
    if (p->rows) outer.ndim--;
    const int64_t rows = qp_loops_count(&outer),
                  n = p->rows ? p->over->shape[outer.ndim] : p->count;
    const double beta = p->of->beta;
    for (int64_t o = 0; o < (p->rows ? p->count : 1); o++) {
        const double g = p->given[o], dy = p->dy[o];
        for (int64_t i = 0; i < rows; i++) {
            const int64_t at = p->at + o * p->step + qp_loops_at(&outer, 0, i);
            const T *x = p->of->x + at;
            T *dx = p->of->dx + at;
            if (p->rows) {
                SIMD_FOR (j) {
                    dx[j] = ACC(dx[j], beta, (R)slope((double)LD(x[j]), g, dy));
                }
            } else {
                SIMD_FOR (j) {
                    dx[j] = ACC(dx[j], beta, (R)slope((double)LD(x[j]), p->given[j], p->dy[j]));
                }
            }
        }
    }
}
static inline void sum_of(double *to, const part *p) { fold_elements(to, p, 0, element, plus); }
static inline void largest(double *to, const part *p)
{
    fold_elements(to, p, -INFINITY, element, larger);
}
#endif
