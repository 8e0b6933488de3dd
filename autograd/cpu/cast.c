/* Between the table's type and any plain floating storage. */
#include "autograd/cpu/kernel.h"
#include "base/err.h"

/* One value to R and from it; f64 reaches bf16 and f16 by way of f32. */
static inline R from_f64(double v) { return (R)v; }
static inline R from_f32(float v) { return (R)v; }
static inline R from_bf16(uint16_t v) { return (R)qp_from_bf16(v); }
static inline R from_f16(uint16_t v) { return (R)qp_from_f16(v); }
static inline double to_f64(double v) { return v; }
static inline double as_f64(double v) { return v; } /* what is there is not rounded to R */
static inline float to_f32(R v) { return (float)v; }
static inline uint16_t to_bf16(R v) { return qp_to_bf16((float)v); }
static inline uint16_t to_f16(R v) { return qp_to_f16((float)v); }

#define LOOP(type, from, to, as)                                                                   \
    static void in_##from(T *y, double beta, const type *x, int64_t n)                             \
    {                                                                                              \
        _Pragma("omp parallel for schedule(static) if (n > QP_GRAIN)") for (int64_t i = 0; i < n;  \
                                                                            i++) y[i] =            \
            ACC(y[i], beta, from(x[i]));                                                           \
    }                                                                                              \
    static void out_##to(type *y, double beta, const T *x, int64_t n)                              \
    {                                                                                              \
        _Pragma("omp parallel for schedule(static) if (n > QP_GRAIN)") for (int64_t i = 0; i < n;  \
                                                                            i++) y[i] =            \
            to(beta != 0 ? as(y[i]) + LD(x[i]) : LD(x[i]));                                        \
    }
LOOP(double, from_f64, to_f64, as_f64)
LOOP(float, from_f32, to_f32, from_f32)
LOOP(uint16_t, from_bf16, to_bf16, from_bf16)
LOOP(uint16_t, from_f16, to_f16, from_f16)

void K(cast_in)(void *y, double beta, const void *x, qp_storage xs, int64_t n)
{
    QP_ASSERT(xs <= QP_F16, "cast from %s", qp_storages[xs].name);
    if (xs == QP_F64) in_from_f64(y, beta, x, n);
    if (xs == QP_F32) in_from_f32(y, beta, x, n);
    if (xs == QP_BF16) in_from_bf16(y, beta, x, n);
    if (xs == QP_F16) in_from_f16(y, beta, x, n);
}

void K(cast_out)(void *y, qp_storage ys, double beta, const void *x, int64_t n)
{
    QP_ASSERT(ys <= QP_F16, "cast to %s", qp_storages[ys].name);
    if (ys == QP_F64) out_to_f64(y, beta, x, n);
    if (ys == QP_F32) out_to_f32(y, beta, x, n);
    if (ys == QP_BF16) out_to_bf16(y, beta, x, n);
    if (ys == QP_F16) out_to_f16(y, beta, x, n);
}
