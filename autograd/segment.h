#ifndef QP_AUTOGRAD_SEGMENT_H
#define QP_AUTOGRAD_SEGMENT_H
#include "autograd/tape.h"
QP_C_BEGIN

typedef qp_tensor *(*qp_segment_fn)(qp_ctx *c, void *module, const void *env, qp_tensor *x);

/* y = fn(x), of the given shape and x's type. Recording off: nothing inside outlives the call but
   y. Recording with c->recompute: the same, and backward runs fn again from the same RNG state.
   Otherwise fn records as if called directly. x is fn's only differentiable input besides
   parameters. env must live until backward. */
qp_tensor *qp_segment(qp_ctx *c, qp_segment_fn fn, void *module, const void *env, qp_tensor *x,
                      int ndim, const int64_t *shape);
QP_C_END
#endif
