/* A projection y = x W^T. Blocks hold slots, `qp_proj *`; what adapts one (LoRA) takes the slot's
   projection in and puts itself there, and the block never hears of it. */
#ifndef QP_MODEL_LINEAR_H
#define QP_MODEL_LINEAR_H
#include "autograd/ops.h"
QP_C_BEGIN

typedef struct qp_proj qp_proj;
typedef struct {
    qp_tensor *(*forward)(qp_ctx *c, qp_proj *p, qp_tensor *x); /* x (N, in) to a fresh (N, out) */
    void (*free)(qp_proj *p);
} qp_proj_type;
struct qp_proj { /* first member of every kind */
    const qp_proj_type *type;
    int64_t in, out;
    qp_tensor *w; /* what is nothing but x w^T says so: another op may do it in the same product */
};

static inline qp_tensor *qp_proj_forward(qp_ctx *c, qp_proj *p, qp_tensor *x)
{
    return p->type->forward(c, p, x);
}
/* y[i] = p[i](x) for up to 8 projections of one x: faster than one by one where x has few rows and
   none is adapted. */
void qp_proj_forward_all(qp_ctx *c, int count, qp_proj *const *p, qp_tensor *x, qp_tensor **y);
void qp_proj_free(qp_proj *p); /* NULL: nothing */

/* w (out, in) is borrowed. */
qp_proj *qp_dense_new(qp_tensor *w);
QP_C_END
#endif
