/* Loops over tensors of different shapes: how far each operand moves from one element of the loop
   to the next. Broadcasting is a stride of 0, a permutation or a slice are other strides. */
#ifndef QP_AUTOGRAD_LOOPS_H
#define QP_AUTOGRAD_LOOPS_H
#include "autograd/tensor.h"
QP_C_BEGIN

enum { QP_MAX_OPERANDS = 4 };
typedef struct {
    int ndim;
    int64_t shape[QP_MAX_DIMS];
    int64_t stride[QP_MAX_OPERANDS][QP_MAX_DIMS]; /* elements */
} qp_loops;

/* Loops over a shape; every operand stands still. */
qp_loops qp_loops_over(int ndim, const int64_t *shape);
/* Operand k is a contiguous tensor of this shape, broadcast as NumPy does: aligned at the last
   dimension, sizes equal or 1. */
void qp_loops_operand(qp_loops *l, int k, int ndim, const int64_t *shape);
/* Operand 0 a contiguous output of this shape, 1 and 2 a and b broadcast to it; merged. */
qp_loops qp_loops_binary(int ndim, const int64_t *shape, const qp_tensor *a, const qp_tensor *b);
/* Leaves out dimensions of size 1 and joins those that all operands walk through in one go. */
void qp_loops_merge(qp_loops *l);

/* The strides of a contiguous tensor of this shape. */
void qp_strides(int ndim, const int64_t *shape, int64_t *stride);

/* A reduction's loops over x: the kept dimensions, which are y's, and for each the reduced ones.
   Operand 0 is x. */
typedef struct {
    qp_loops kept, reduced;
} qp_reduction;
/* Of a contiguous tensor of this shape; gone[i] says whether dimension i is reduced. */
qp_reduction qp_reduction_of(int ndim, const int64_t *shape, const bool *gone);

/* Lines along one axis of x and of an index into it (autograd/ops/gather.c). Operand 0 of across is
   the index, 1 is x. */
typedef struct {
    qp_loops across;
    int64_t length, step;      /* x's size along the axis, and its stride */
    int64_t count, index_step; /* the index's */
} qp_lines;

static inline int64_t qp_loops_count(const qp_loops *l)
{
    int64_t n = 1;
    for (int i = 0; i < l->ndim; i++) n *= l->shape[i];
    return n;
}

/* Where operand k is at element i of the loops, i counting row-major. */
static inline int64_t qp_loops_at(const qp_loops *l, int k, int64_t i)
{
    int64_t at = 0;
    for (int d = l->ndim - 1; d >= 0; d--) {
        at += i % l->shape[d] * l->stride[k][d];
        i /= l->shape[d];
    }
    return at;
}

/* Stop the program, naming the op, where x is of no compute type or its value is gone, w of none
   that a weight may have (for a gradient, a compute type), or a and b differ in type. */
void qp_assert_compute(const char *op, const qp_tensor *x);
void qp_assert_weight(const char *op, const qp_tensor *w);
void qp_assert_same_type(const char *op, const qp_tensor *a, const qp_tensor *b);
/* An axis counted from 0, whichever end it was counted from; stops the program where x lacks it. */
int qp_axis(const char *op, const qp_tensor *x, int axis);

/* "add: f32(3, 4) and f32(5)" must fit; the broadcast shape goes to shape and its rank is returned.
   Stops the program with the rule where they do not. */
int qp_broadcast(const char *op, const qp_tensor *a, const qp_tensor *b, int64_t *shape);
QP_C_END
#endif
