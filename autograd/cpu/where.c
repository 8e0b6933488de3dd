/* A choice, never a product with the mask: what was not chosen may be NaN. */
#include "autograd/cpu/each.h"

static void where_row(const row *r)
{
    T *y = r->at[0];
    const T *m = r->at[1], *a = r->at[2], *b = r->at[3];
    const int64_t n = r->len, sm = r->step[1], sa = r->step[2], sb = r->step[3];
    if (sm == 1 && sa == 1 && sb == 1) {
        SIMD_FOR (i) {
            const T va = a[i], vb = b[i];
            y[i] = LD(m[i]) != 0 ? va : vb;
        }
    } else if (sm == 1 && sa == 1 && sb == 0) {
        const T vb = *b;
        SIMD_FOR (i) {
            const T va = a[i];
            y[i] = LD(m[i]) != 0 ? va : vb;
        }
    } else if (sm == 1 && sa == 0 && sb == 1) {
        const T va = *a;
        SIMD_FOR (i) {
            const T vb = b[i];
            y[i] = LD(m[i]) != 0 ? va : vb;
        }
    } else {
        for (int64_t i = 0; i < n; i++) y[i] = LD(m[i * sm]) != 0 ? a[i * sa] : b[i * sb];
    }
}

void K(where_fwd)(void *y, const void *mask, const void *a, const void *b, const qp_loops *l)
{
    each(l, (row){ .at = { y, (T *)mask, (T *)a, (T *)b } }, where_row);
}

/* alpha 1: where the mask is not 0, alpha 0: where it is. */
static void where_row_bwd(const row *r)
{
    T *d = r->at[0];
    const T *m = r->at[1], *dy = r->at[2];
    const int64_t n = r->len, sm = r->step[1];
    const bool chosen = r->alpha != 0;
    if (sm == 1) {
        SIMD_FOR (i) {
            const R v = LD(dy[i]);
            d[i] = ACC(d[i], r->beta, (LD(m[i]) != 0) == chosen ? v : 0);
        }
    } else {
        for (int64_t i = 0; i < n; i++)
            d[i] = ACC(d[i], r->beta, (LD(m[i * sm]) != 0) == chosen ? LD(dy[i]) : 0);
    }
}

void K(where_bwd)(void *d, double beta, const void *dy, const void *mask, bool chosen,
                  const qp_loops *l)
{
    qp_loops with_dy = *l;
    memcpy(with_dy.stride[2], l->stride[0], sizeof l->stride[0]);
    each(&with_dy, (row){ .at = { d, (T *)mask, (T *)dy }, .beta = beta, .alpha = chosen },
         where_row_bwd);
}
