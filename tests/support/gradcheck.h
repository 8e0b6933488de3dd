/* For suites of ops: tensors to try them on, and their gradients against differences. */
#ifndef QP_TESTS_SUPPORT_GRADCHECK_H
#define QP_TESTS_SUPPORT_GRADCHECK_H
#include "autograd/gradcheck.h"
#include "autograd/ops.h"

/* A context on a backend (NULL: this CPU's), or a failed test. Release it with qp_ctx_release. */
void test_ctx(qp_ctx *c, const qp_backend *be);

/* Tensors of the context with normal values, rounded to bf16 so that every type holds the same
   ones; they need a gradient, whose place outlives every scope. An activation, or a parameter. */
qp_tensor *test_leaf(qp_ctx *c, qp_storage storage, int ndim, const int64_t *shape, uint64_t seed);
qp_tensor *test_param(qp_ctx *c, qp_storage storage, int ndim, const int64_t *shape, uint64_t seed);

/* Element i of an array of any compute type. */
double test_get(const void *data, qp_storage storage, int64_t i);
void test_set(void *data, qp_storage storage, int64_t i, double v);

/* Largest |a - b| over n elements, relative to the largest |b|, or to 1e-3 when all of b is
   smaller. A NaN gives infinity. */
double test_difference(const void *a, qp_storage as, const void *b, qp_storage bs, int64_t n);

/* Loop tests over every build of the kernels: index counts types (f64 only once) and builds, and
   the test's own environment is set so that qp_cpu_backend gives that build. False: not on this
   machine, said on stderr. */
enum { TEST_BUILDS = 4 * QP_NCOMPUTE };
bool test_build(int index, qp_storage *type);
bool test_build_here(int index, qp_storage *type); /* says nothing: suite kernels does */

typedef qp_tensor *(*test_op)(qp_ctx *c, qp_tensor **in);
/* y = op(in), and the gradients of sum(dy * y), dy normal, in in[..]->grad: NULL where nothing was
   written. Always from the same RNG state. */
qp_tensor *test_run(qp_ctx *c, test_op op, int count, qp_tensor **in);

/* qp_gradcheck's largest difference to sixth order, always from the same RNG state; above 1e-7 of
   either order, the test fails. Right gradients stay below 1e-9. */
double gradcheck(qp_ctx *c, test_op op, int count, qp_tensor **in);
#endif
