#include "autograd/general.h"
#include "tests/suites.h"
#include "tests/support/gradcheck.h"
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

static const int32_t index_first[] = { 4, 0, 0, 4, 4, 1, 0, 0 };   /* (4, 2) into axis 0 */
static const int32_t index_last[] = { 2, 2, 0, 1, 0, 0, 2, 2, 2 }; /* (3, 3) into axis 1 */

static qp_tensor *gathers(qp_ctx *c, qp_tensor **in)
{
    qp_tensor *first = qp_index(c, 2, (int64_t[]){ 4, 2 }, index_first),
              *last = qp_index(c, 2, (int64_t[]){ 3, 3 }, index_last);
    return qp_add(c, qp_sum(c, qp_square(c, qp_gather(c, in[0], 0, first)), QP_ALL, false),
                  qp_sum(c, qp_square(c, qp_gather(c, in[0], -1, last)), QP_AXES(0), false));
}
static qp_tensor *scatter_first(qp_ctx *c, qp_tensor **in)
{
    return qp_scatter_add(c, in[0], 0, qp_index(c, 2, (int64_t[]){ 4, 2 }, index_first), in[1]);
}
static qp_tensor *scatter_last(qp_ctx *c, qp_tensor **in)
{
    return qp_scatter_add(c, in[0], 1, qp_index(c, 2, (int64_t[]){ 3, 3 }, index_last), in[2]);
}

START_TEST(gradients_match_differences)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[] = { test_leaf(&c, QP_F64, 2, (int64_t[]){ 5, 3 }, 1),
                        test_leaf(&c, QP_F64, 2, (int64_t[]){ 4, 2 }, 2),
                        test_leaf(&c, QP_F64, 2, (int64_t[]){ 3, 3 }, 2) };
    ck_assert_double_lt(gradcheck(&c, gathers, 1, in), 1e-9);
    ck_assert_double_lt(gradcheck(&c, scatter_first, 2, in), 1e-9);
    in[1] = in[2];
    in[2] = in[1];
    ck_assert_double_lt(gradcheck(&c, scatter_last, 2, in), 1e-9);
    qp_ctx_release(&c);
}
END_TEST

Suite *suite_gather(void)
{
    Suite *s = suite_create("gather");
    TCase *t = tcase_create("gather");
    tcase_add_test(t, gradients_match_differences);
    suite_add_tcase(s, t);
    return s;
}
