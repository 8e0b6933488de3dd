/* Every loop file in autograd/cpu is compiled once per storage type and instruction set: -DQP_T_F32
   -DQP_ISA=v4 make qp_rmsnorm_fwd_f32_v4 of K(rmsnorm_fwd). LD widens a stored T to R, ST rounds an
   R; all arithmetic is in R. Combined loops say `if (parallel : ...)`: a bare `if` would switch off
   simd as well. */
#ifndef QP_AUTOGRAD_CPU_KERNEL_H
#define QP_AUTOGRAD_CPU_KERNEL_H
#include "autograd/backend.h"
#include "autograd/cpu/exp.h"
#include "autograd/cpu/quant.h"
#include "autograd/work.h"
#include <math.h>
#include <stdint.h>
#include <string.h>

/* Below this many values a parallel region costs more than it saves. */
enum { QP_GRAIN = 1 << 15 };

#if defined QP_T_F64
#    define QP_TNAME f64
#    define QP_T QP_F64
#    define QP_R QP_F64
typedef double T;
typedef double R;
static inline R LD(T v) { return v; }
static inline T ST(R v) { return v; }
static inline R EXP(R v) { return exp(v); }
static inline R EXP2_NEG(R v) { return exp2(v); }
static inline R SQRT(R v) { return sqrt(v); }
#    define QP_LIBM(name) name
#elif defined QP_T_F32
#    define QP_TNAME f32
#    define QP_T QP_F32
#    define QP_R QP_F32
typedef float T;
typedef float R;
static inline R LD(T v) { return v; }
static inline T ST(R v) { return v; }
static inline R EXP(R v) { return qp_expf(v); }
static inline R EXP2_NEG(R v) { return qp_exp2f_neg(v); }
static inline R SQRT(R v) { return sqrtf(v); }
#    define QP_LIBM(name) name##f
#elif defined QP_T_BF16
#    define QP_TNAME bf16
#    define QP_T QP_BF16
#    define QP_R QP_F32
typedef uint16_t T;
typedef float R;
static inline R LD(T v) { return qp_from_bf16(v); }
static inline T ST(R v) { return qp_to_bf16(v); }
static inline R EXP(R v) { return qp_expf(v); }
static inline R EXP2_NEG(R v) { return qp_exp2f_neg(v); }
static inline R SQRT(R v) { return sqrtf(v); }
#    define QP_LIBM(name) name##f
#else
#    error "build with -DQP_T_F64, -DQP_T_F32 or -DQP_T_BF16"
#endif

/* The other functions are the C library's: not vectorised, within 2 ulp. */
static inline R ABS(R v) { return QP_LIBM(fabs)(v); }
static inline R LOG(R v) { return QP_LIBM(log)(v); }
static inline R LOG2(R v) { return QP_LIBM(log2)(v); }
static inline R LOG1P(R v) { return QP_LIBM(log1p)(v); }
static inline R TANH(R v) { return QP_LIBM(tanh)(v); }
static inline R ERF(R v) { return QP_LIBM(erf)(v); }
static inline R SIN(R v) { return QP_LIBM(sin)(v); }
static inline R COS(R v) { return QP_LIBM(cos)(v); }
static inline R POW(R v, R power) { return QP_LIBM(pow)(v, power); }
static inline bool ISNAN(R v) { return v != v; }

/* beta*y + v where beta is 0 or 1; with 0, y is not read: fresh memory may hold NaN. */
static inline T ACC(T y, double beta, R v) { return ST(beta != 0 ? LD(y) + v : v); }

/* Loops over i = 0 .. n-1: across lanes, and across threads and lanes. */
// clang-format off
#define SIMD_FOR(i) _Pragma("omp simd") for (int64_t i = 0; i < n; i++)
#define FOR_ALL(i)                                                                                 \
    _Pragma("omp parallel for simd schedule(static) if (parallel : n > QP_GRAIN)")                 \
    for (int64_t i = 0; i < n; i++)
// clang-format on

#define QP_CAT_(a, b, c) qp_##a##_##b##_##c
#define QP_CAT(a, b, c) QP_CAT_(a, b, c)
#define K(name) QP_CAT(name, QP_TNAME, QP_ISA)
#define QP_KERNEL(name, args) __attribute__((visibility("hidden"))) void K(name) args;
#include "autograd/kernels.def"
#undef QP_KERNEL
#endif
