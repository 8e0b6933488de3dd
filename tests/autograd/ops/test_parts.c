/* slice, concat, stack, expand. */
#include "autograd/general.h"
#include "tests/suites.h"
#include "tests/support/gradcheck.h"
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

static qp_tensor *slices(qp_ctx *c, qp_tensor **in)
{
    qp_tensor *x = in[0]; /* overlapping windows: their gradients add up */
    return qp_add(c, qp_slice(c, x, 1, 1, 4), qp_slice(c, x, -2, -3, 5));
}
static qp_tensor *concat_of_one_twice(qp_ctx *c, qp_tensor **in)
{
    qp_tensor *x[] = { in[0], in[1], in[0] };
    return qp_concat(c, 3, x, 1);
}
static qp_tensor *stack_in_the_middle(qp_ctx *c, qp_tensor **in)
{
    qp_tensor *x[] = { in[0], qp_square(c, in[0]), in[0] };
    return qp_stack(c, 3, x, 1);
}
static qp_tensor *stack_last(qp_ctx *c, qp_tensor **in)
{
    qp_tensor *x[] = { in[0], qp_square(c, in[0]) };
    return qp_stack(c, 2, x, -1);
}
static qp_tensor *expand(qp_ctx *c, qp_tensor **in)
{
    return qp_expand(c, in[0], 4, (int64_t[]){ 2, 3, 5, 4 });
}

START_TEST(gradients_match_differences)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[] = { test_leaf(&c, QP_F64, 3, (int64_t[]){ 3, 5, 4 }, 1),
                        test_leaf(&c, QP_F64, 3, (int64_t[]){ 3, 2, 4 }, 2) };
    qp_tensor *narrow = test_leaf(&c, QP_F64, 3, (int64_t[]){ 3, 1, 4 }, 3);
    ck_assert_double_lt(gradcheck(&c, slices, 1, in), 1e-9);
    ck_assert_double_lt(gradcheck(&c, concat_of_one_twice, 2, in), 1e-9);
    ck_assert_double_lt(gradcheck(&c, stack_in_the_middle, 1, in), 1e-9);
    ck_assert_double_lt(gradcheck(&c, stack_last, 1, in), 1e-9);
    ck_assert_double_lt(gradcheck(&c, expand, 1, &narrow), 1e-9);
    qp_ctx_release(&c);
}
END_TEST

Suite *suite_parts(void)
{
    Suite *s = suite_create("parts");
    TCase *t = tcase_create("parts");
    tcase_add_test(t, gradients_match_differences);
    suite_add_tcase(s, t);
    return s;
}
