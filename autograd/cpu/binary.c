/* The rows of binary.def, and sums of two. */
#include "autograd/cpu/each.h"

/* `set`, a statement in i, a and b, for every i of a row, written out for the strides that
   broadcasting gives. */
#define FOR_A_B(set)                                                                               \
    const T *pa = r->at[1], *pb = r->at[2];                                                        \
    const int64_t n = r->len, sa = r->step[1], sb = r->step[2];                                    \
    if (sa == 1 && sb == 1) {                                                                      \
        SIMD_FOR (i) {                                                                             \
            const R a = LD(pa[i]), b = LD(pb[i]);                                                  \
            set;                                                                                   \
        }                                                                                          \
    } else if (sa == 1 && sb == 0) {                                                               \
        SIMD_FOR (i) {                                                                             \
            const R a = LD(pa[i]), b = LD(*pb);                                                    \
            set;                                                                                   \
        }                                                                                          \
    } else {                                                                                       \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const R a = LD(pa[i * sa]), b = LD(pb[i * sb]);                                        \
            set;                                                                                   \
        }                                                                                          \
    }

static void add_row(const row *r)
{
    T *y = r->at[0];
    const R alpha = (R)r->alpha;
    FOR_A_B(y[i] = ST(a + alpha * b))
}

void K(add)(void *y, const void *a, const void *b, double alpha, const qp_loops *l)
{
    each(l, (row){ .at = { y, (T *)a, (T *)b }, .alpha = alpha }, add_row);
}

#define FORWARD(name, value)                                                                       \
    static void name##_row(const row *r)                                                           \
    {                                                                                              \
        T *y = r->at[0];                                                                           \
        FOR_A_B(y[i] = ST(value))                                                                  \
    }                                                                                              \
    void K(name##_fwd)(void *y, const void *a, const void *b, const qp_loops *l)                   \
    {                                                                                              \
        each(l, (row){ .at = { y, (T *)a, (T *)b } }, name##_row);                                 \
    }
/* The gradient of one side and dy have the output's shape. */
#define BACKWARD(name, side, value)                                                                \
    static void name##_row_##side(const row *r)                                                    \
    {                                                                                              \
        T *d = r->at[0];                                                                           \
        const T *pdy = r->at[3];                                                                   \
        const double beta = r->beta;                                                               \
        FOR_A_B((void)a; (void)b; const R dy = LD(pdy[i]); d[i] = ACC(d[i], beta, value))          \
    }                                                                                              \
    void K(name##_bwd_##side)(void *d, double beta, const void *dy, const void *a, const void *b,  \
                              const qp_loops *l)                                                   \
    {                                                                                              \
        qp_loops with_dy = *l;                                                                     \
        memcpy(with_dy.stride[3], l->stride[0], sizeof l->stride[0]);                              \
        each(&with_dy, (row){ .at = { d, (T *)a, (T *)b, (T *)dy }, .beta = beta },                \
             name##_row_##side);                                                                   \
    }
#define BINARY(name, value, da, db) FORWARD(name, value) BACKWARD(name, a, da) BACKWARD(name, b, db)
#define COMPARE(name, condition) FORWARD(name, (condition) ? 1 : 0)
#include "autograd/binary.def"
