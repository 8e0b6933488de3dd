/* What general ops are compared with: numbers written down, other thread counts, plain loops. */
#ifndef QP_TESTS_SUPPORT_EXPECT_H
#define QP_TESTS_SUPPORT_EXPECT_H
#include "autograd/general.h"
#include "tests/support/gradcheck.h"

/* An input of the context that wants a gradient, of these values. */
qp_tensor *test_input(qp_ctx *c, qp_storage storage, int ndim, const int64_t *shape,
                      const double *values);
/* The same with distinct values, `gap` apart, in no order: what differences step over no kink of,
   and bf16 holds few of. */
qp_tensor *test_distinct(qp_ctx *c, qp_storage storage, int ndim, const int64_t *shape, double gap);

/* t's values, or its gradient's, are these; NaN equals NaN. `rounding` is relative. */
#define expect_values(t, want, rounding) test_expect("value", t, (t)->data, want, rounding)
#define expect_grad(t, want, rounding) test_expect("gradient", t, (t)->grad, want, rounding)
void test_expect(const char *what, const qp_tensor *t, const void *data, const double *want,
                 double rounding);
void test_expect_shape(const qp_tensor *t, int ndim, const int64_t *shape);

/* op's result and gradients have the same bits with 1, 2, 3 and 7 threads. */
void test_threads_change_no_bit(qp_ctx *c, test_op op, int count, qp_tensor **in);
#endif
