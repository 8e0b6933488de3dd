/* Every loop file in autograd/cpu is compiled once per storage type and instruction set: -DQP_T_F32
   -DQP_ISA=v4 make rmsnorm_fwd_f32_v4 of K(rmsnorm_fwd). LD widens a stored T to R, ST rounds an R;
   all arithmetic is in R. Combined loops say `if (parallel : ...)`: a bare `if` would switch off
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
static inline R EXP_NEG(R v) { return exp(v); }
static inline R SQRT(R v) { return sqrt(v); }
#elif defined QP_T_F32
#    define QP_TNAME f32
#    define QP_T QP_F32
#    define QP_R QP_F32
typedef float T;
typedef float R;
static inline R LD(T v) { return v; }
static inline T ST(R v) { return v; }
static inline R EXP(R v) { return qp_expf(v); }
static inline R EXP_NEG(R v) { return qp_expf_neg(v); }
static inline R SQRT(R v) { return sqrtf(v); }
#elif defined QP_T_BF16
#    define QP_TNAME bf16
#    define QP_T QP_BF16
#    define QP_R QP_F32
typedef uint16_t T;
typedef float R;
static inline R LD(T v) { return qp_from_bf16(v); }
static inline T ST(R v) { return qp_to_bf16(v); }
static inline R EXP(R v) { return qp_expf(v); }
static inline R EXP_NEG(R v) { return qp_expf_neg(v); }
static inline R SQRT(R v) { return sqrtf(v); }
#else
#    error "build with -DQP_T_F64, -DQP_T_F32 or -DQP_T_BF16"
#endif

/* beta*y + v where beta is 0 or 1; with 0, y is not read: fresh memory may hold NaN. */
static inline T ACC(T y, double beta, R v) { return ST(beta != 0 ? LD(y) + v : v); }

#define QP_CAT_(a, b, c) a##_##b##_##c
#define QP_CAT(a, b, c) QP_CAT_(a, b, c)
#define K(name) QP_CAT(name, QP_TNAME, QP_ISA)
#define QP_KERNEL(name, args) void K(name) args;
#include "autograd/kernels.def"
#undef QP_KERNEL
#endif
