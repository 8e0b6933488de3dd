/* Which build of the kernels and which library's product serve this machine. */
#ifndef QP_AUTOGRAD_CPU_DISPATCH_H
#define QP_AUTOGRAD_CPU_DISPATCH_H
#include "autograd/backend.h"

/* Names of the builds that this CPU can run, best first, and NULL behind the last. In the
   environment QP_ISA=name chooses a build, QP_PRODUCT=name prefers products whose names begin so
   ("openblas", "onednn", "loop v3"); both are read on first use. After QP_PRODUCT and qp_cpu_prefer
   the file of tuned.h is asked. */
const char *qp_cpu_build(int i);

/* The fastest conversion to a compute type: y[i] = x[first + i] for i < n; first and n may cut
 * blocks. */
typedef void qp_convert_fn(void *y, const void *x, qp_storage from, int64_t first, int64_t n);
qp_convert_fn *qp_converter(qp_storage to);

/* The libraries behind the products; the caller frees. */
char *qp_blas_version(void);
char *qp_dnnl_version(void);
#endif
