/* Loops over values that know nothing of their neighbours. */
#include "autograd/cpu/kernel.h"

void K(zero)(void *y_, int64_t n)
{
    T *y = y_;
#pragma omp parallel for simd schedule(static) if (parallel : n > QP_GRAIN)
    for (int64_t i = 0; i < n; i++) y[i] = 0;
}

void K(axpy)(void *y_, double beta, const void *x_, double alpha, int64_t n)
{
    T *y = y_;
    const T *x = x_;
    const R a = (R)alpha;
#pragma omp parallel for simd schedule(static) if (parallel : n > QP_GRAIN)
    for (int64_t i = 0; i < n; i++) y[i] = ACC(y[i], beta, a * LD(x[i]));
}

/* e^-g = inf gives 0, which is right. */
static inline R gate(R g) { return 1 / (1 + EXP(-g)); }

/* silu(g) u = g s u with s = 1 / (1 + e^-g). */
void K(swiglu_fwd)(void *y_, const void *g_, const void *u_, int64_t n)
{
    T *y = y_;
    const T *g = g_, *u = u_;
#pragma omp parallel for simd schedule(static) if (parallel : n > QP_GRAIN)
    for (int64_t i = 0; i < n; i++) {
        const R x = LD(g[i]);
        y[i] = ST(x * gate(x) * LD(u[i]));
    }
}

/* With s = 1 / (1 + e^-g):  du = dy g s,  dg = dy u s (1 + g (1 - s)). */
static inline R gate_grad(R dy, R g, R u, R s) { return dy * s * u * (1 + g * (1 - s)); }
static inline R up_grad(R dy, R g, R s) { return dy * s * g; }

void K(swiglu_bwd)(void *dg_, double bg, void *du_, double bu, const void *dy_, const void *g_,
                   const void *u_, int64_t n)
{
    T *dg = dg_, *du = du_;
    const T *dy = dy_, *g = g_, *u = u_;
    if (dg && du) {
#pragma omp parallel for simd schedule(static) if (parallel : n > QP_GRAIN)
        for (int64_t i = 0; i < n; i++) {
            const R x = LD(g[i]), s = gate(x), e = LD(dy[i]);
            dg[i] = ACC(dg[i], bg, gate_grad(e, x, LD(u[i]), s));
            du[i] = ACC(du[i], bu, up_grad(e, x, s));
        }
        return;
    }
    /* One side frozen, which is rare: a choice in the loop keeps it from vectorising. */
#pragma omp parallel for schedule(static) if (n > QP_GRAIN)
    for (int64_t i = 0; i < n; i++) {
        const R x = LD(g[i]), s = gate(x), e = LD(dy[i]);
        if (dg) dg[i] = ACC(dg[i], bg, gate_grad(e, x, LD(u[i]), s));
        if (du) du[i] = ACC(du[i], bu, up_grad(e, x, s));
    }
}
