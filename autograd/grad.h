/* Where the backward of a general op writes an input's gradient. */
#ifndef QP_AUTOGRAD_GRAD_H
#define QP_AUTOGRAD_GRAD_H
#include "autograd/tape.h"
QP_C_BEGIN

typedef struct {
    void *to;    /* like's shape and compute type; NULL: not wanted */
    double beta; /* 0: overwrite, 1: add */
    qp_tensor *t;
    const qp_tensor *like;
    qp_storage storage; /* of `to` */
    size_t bytes;       /* of `to`, when it lies aside */
} qp_grad_part;

/* The gradient of t, which was broadcast to like's shape and has like's type. Where it is to be
   summed over repeated dimensions, or is f32 under bf16 (a parameter's), `to` lies aside until
   qp_grad_close. One part may be open at a time for one t. */
qp_grad_part qp_grad_open(qp_ctx *c, qp_tensor *t, const qp_tensor *like);
void qp_grad_close(qp_ctx *c, qp_grad_part *g);

/* The same for kernels that write sums: `to` has t's shape and this type. */
qp_grad_part qp_grad_open_sums(qp_ctx *c, qp_tensor *t, qp_storage sums);

/* t, or where it is `other` a copy that hands its gradient on: for ops whose backward writes the
   gradients of several arguments at once, and may be given one tensor for two of them. */
qp_tensor *qp_apart(qp_ctx *c, qp_tensor *t, const qp_tensor *other);

/* t's gradient += alpha times dy, of like's shape, summed over the dimensions that were repeated:
   open and close for ops that hand dy on. */
void qp_grad_pass(qp_ctx *c, qp_tensor *t, const qp_tensor *like, const void *dy, double alpha);
QP_C_END
#endif
