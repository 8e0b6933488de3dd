/* Gradients against difference quotients, for an op, a loss or a network: yours included. */
#ifndef QP_AUTOGRAD_GRADCHECK_H
#define QP_AUTOGRAD_GRADCHECK_H
#include "autograd/tape.h"
QP_C_BEGIN

/* A function made of ops: in are the tensors given to qp_gradcheck, arg its last argument. The same
   values must give the same result; c->rng is put back before every call, so dropout may be in it.
   It is called once, then six times for every element of every input. */
typedef qp_tensor *(*qp_function)(qp_ctx *c, qp_tensor **in, void *arg);

/* The largest relative difference: |expected - got| over the largest |expected| of that input, or
   over 1e-3 when all are smaller. Infinity for a NaN. */
typedef struct {
    double worst;         /* against differences of sixth order */
    double worst_5_point; /* against those of fourth order; itself off by about 1e-9 */
    int input;            /* where `worst` was found, and the numbers there */
    int64_t element;      /* counted row-major */
    double expected, got; /* difference quotient, gradient */
    int64_t checked;      /* elements, all inputs together */
} qp_gradcheck_report;

/* Compares the gradients of sum(r * f(in)), r fixed normal numbers of f's shape, with differences
   over points at most 3e-3 away, for every element of every input that needs a gradient; f must be
   smooth so far. An input may be NULL, or stand in several places. All inputs that need a gradient
   are f64, and f's result too.

   QP_FAIL, naming input and element: the difference is more than `tolerance`, 1e-7 say; right
   gradients reach about 1e-10, a slip of 0.1 % in a formula 1e-3. QP_USAGE: an input or the result
   is not f64, or f gave another value for the same input. report, which may be NULL, is filled
   either way. Inputs, their gradients, c's tape and generator are left as they were. */
qp_status qp_gradcheck(qp_ctx *c, qp_function f, void *arg, int count, qp_tensor **in,
                       double tolerance, qp_gradcheck_report *report, qp_err *err) QP_MUST_CHECK;
QP_C_END
#endif
