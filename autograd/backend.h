/* The kernel table: one function a line of kernels.def, one table a compute type. */
#ifndef QP_AUTOGRAD_BACKEND_H
#define QP_AUTOGRAD_BACKEND_H
#include "autograd/loops.h"
QP_C_BEGIN

/* AdamW's scalars for one step; bias corrections are 1 - beta^t. */
typedef struct {
    double lr, beta1, beta2, eps, weight_decay, correction1, correction2;
    double grad_scale; /* clipping: multiplies every gradient first */
} qp_adamw_args;

typedef struct {
#define QP_KERNEL(name, args) void(*name) args;
#include "autograd/kernels.def"
#undef QP_KERNEL
} qp_kernels;

typedef struct {
    const char *name;                 /* "cpu-v4", "null" */
    const qp_kernels *k[QP_NCOMPUTE]; /* f64, f32, bf16 */
} qp_backend;

const qp_backend *qp_cpu_backend(void);  /* best build for this CPU, chosen and self-tested once */
const qp_backend *qp_null_backend(void); /* computes nothing; for planning */

/* Threads of every kernel that the calling thread starts from now on; 0 leaves OpenMP's number: all
   CPUs, or OMP_NUM_THREADS. */
void qp_cpu_threads(int threads);
int qp_cpu_thread_count(void); /* what the calling thread's kernels have now */

/* For main to call first, if it wants; nothing of the library does. OpenBLAS and OpenMP read their
   settings while a program is being loaded, so it runs itself once again with the right ones in its
   environment; what the user has set stays. Returns when nothing is to be changed. Without it f64
   may get a slower product. */
void qp_cpu_prepare(int argc, char **argv);

/* To be called before the first product of a type: has the one of this name serve it, where this
   CPU has it and it passes its self-test. For a run that goes on as it began; QP_PRODUCT in the
   environment still comes first. */
void qp_cpu_prefer(qp_storage compute, const char *name);

/* Which implementation serves kernel `name` for a compute type, e.g. "onednn avx512_bf16". */
const char *qp_kernel_origin(const qp_backend *be, const char *name, qp_storage compute);
QP_C_END
#endif
