#include "autograd/cpu/kernel.h"

/* Loshchilov & Hutter 2019, arXiv:1711.05101, in torch's order of operations:
     p -= lr wd p;  m += (1 - b1)(g - m);  v = b2 v + (1 - b2) g^2;
     p -= lr / c1 * m / (sqrt(v) / sqrt(c2) + eps)
   One pass: five arrays are read and written once, which is all the time there is to save. */
void K(adamw)(void *p_, void *m_, void *v_, void *value_, const void *g_, const qp_adamw_args *a,
              int64_t n)
{
    R *p = p_, *m = m_, *v = v_;
    T *value = value_;
    const R *g = g_;
    const R keep = (R)(1 - a->lr * a->weight_decay), rate = (R)(a->lr / a->correction1);
    const R new1 = (R)(1 - a->beta1), old2 = (R)a->beta2, new2 = (R)(1 - a->beta2);
    const R root = (R)(1 / sqrt(a->correction2)), eps = (R)a->eps, scale = (R)a->grad_scale;
#pragma omp parallel for simd schedule(static) if (parallel : n > QP_GRAIN)
    for (int64_t i = 0; i < n; i++) {
        const R gi = g[i] * scale;
        const R mi = m[i] + new1 * (gi - m[i]);
        const R vi = old2 * v[i] + new2 * gi * gi;
        const R pi = keep * p[i] - rate * mi / (SQRT(vi) * root + eps);
        m[i] = mi;
        v[i] = vi;
        p[i] = pi;
        value[i] = ST(pi);
    }
}
