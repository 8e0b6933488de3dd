#include "autograd/cpu/kernel.h"
#include "autograd/cpu/lanes.h"

/* Softmax's denominator over chunks of the vocabulary, one pass each: when a chunk raises the
   largest logit, the sum so far is rescaled (Milakov & Gimelshein 2018, arXiv:1805.02867). A NaN
   never becomes the largest but always reaches the sum. */
void K(xent_chunk)(void *top_, void *sum_, void *hit_, const void *logits_, const int32_t *targets,
                   int64_t v0, int64_t n, int64_t c)
{
    R *top = top_, *sum = sum_, *hit = hit_;
    const R *logits = logits_;
#pragma omp parallel for schedule(static) if (n * c > QP_GRAIN)
    for (int64_t i = 0; i < n; i++) {
        const R *z = logits + i * c;
        R m = top[i], s;
        LARGEST(R, m, c, j, z[j]);
        SUM(R, s, c, j, EXP(z[j] - m));
        sum[i] = sum[i] * EXP(top[i] - m) + s;
        top[i] = m;
        const int64_t t = targets[i] - v0;
        if (t >= 0 && t < c) hit[i] = z[t];
    }
}

void K(xent_grad)(void *d_, const void *logits_, const void *lse_, const int32_t *targets,
                  double scale, int64_t v0, int64_t n, int64_t c)
{
    T *d = d_;
    const R *logits = logits_, *lse = lse_, a = (R)scale;
#pragma omp parallel for schedule(static) if (n * c > QP_GRAIN)
    for (int64_t i = 0; i < n; i++) {
        const R *z = logits + i * c;
        T *di = d + i * c;
        const R l = lse[i];
#pragma omp simd
        for (int64_t j = 0; j < c; j++) di[j] = ST(a * EXP(z[j] - l));
        const int64_t t = targets[i] - v0;
        if (t >= 0 && t < c) di[t] = ST(a * (EXP(z[t] - l) - 1));
    }
}
