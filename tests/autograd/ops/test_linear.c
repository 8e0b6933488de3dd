#include "autograd/general.h"
#include "tests/suites.h"
#include "tests/support/gradcheck.h"
#include <omp.h>
#include <string.h>

/* Three weights of one x: whole sixteens of rows, fewer than sixteen, and a broken number. */
enum { WEIGHTS = 3, DEPTH = 96, MANY = 11 };
static const int64_t widths[WEIGHTS] = { 64, 5, 37 };

/* _i: build and type. Rows that are few, and so many that they are not; more threads than some
   weight has sixteens. */
START_TEST(several_at_once_have_the_bits_of_each)
{
    qp_storage type;
    if (!test_build(_i, &type)) return;
    for (int64_t n = 1; n <= MANY; n++)
        for (int some = 2; some <= WEIGHTS; some++) {
            qp_ctx c;
            test_ctx(&c, NULL);
            omp_set_num_threads((int)(1 + n % 3));
            qp_tensor *x = test_leaf(&c, type, 2, (int64_t[]){ n, DEPTH }, 1), *w[WEIGHTS],
                      *y[WEIGHTS];
            for (int i = 0; i < some; i++) /* without the narrow one all may go the way of few */
                w[i] = test_leaf(&c, type, 2, (int64_t[]){ widths[some == 2 ? 2 * i : i], DEPTH },
                                 2 + (uint64_t)i);
            qp_linears(&c, x, some, w, y);
            for (int i = 0; i < some; i++) {
                const qp_tensor *one = qp_linear(&c, x, w[i]);
                ck_assert_int_eq(qp_numel(one), qp_numel(y[i]));
                ck_assert_mem_eq(one->data, y[i]->data, qp_value_bytes(one));
            }
            qp_ctx_release(&c);
        }
}
END_TEST

static qp_tensor *at_once(qp_ctx *c, qp_tensor **in)
{
    qp_tensor *y[2];
    qp_linears(c, in[0], 2, in + 1, y);
    return qp_mul(c, y[0], qp_tanh(c, y[1]));
}

START_TEST(gradients_of_several_match_differences)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[] = { test_leaf(&c, QP_F64, 2, (int64_t[]){ 3, 7 }, 1),
                        test_leaf(&c, QP_F64, 2, (int64_t[]){ 5, 7 }, 2),
                        test_leaf(&c, QP_F64, 2, (int64_t[]){ 5, 7 }, 3) };
    ck_assert_double_lt(gradcheck(&c, at_once, 3, in), 1e-9);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(a_wrong_shape_among_several_exits_70)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *y[2], *w[] = { test_param(&c, QP_F32, 2, (int64_t[]){ 5, 7 }, 2),
                              test_param(&c, QP_F32, 2, (int64_t[]){ 7, 5 }, 3) };
    qp_linears(&c, test_leaf(&c, QP_F32, 2, (int64_t[]){ 5, 7 }, 1), 2, w, y);
}
END_TEST

START_TEST(wrong_shape_exits_70)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_linear(&c, test_leaf(&c, QP_F32, 2, (int64_t[]){ 5, 7 }, 1),
              test_param(&c, QP_F32, 2, (int64_t[]){ 7, 5 }, 2));
}
END_TEST

Suite *suite_linear(void)
{
    Suite *s = suite_create("linear");
    TCase *t = tcase_create("linear");
    tcase_add_exit_test(t, wrong_shape_exits_70, 70);
    tcase_add_loop_test(t, several_at_once_have_the_bits_of_each, 0, TEST_BUILDS);
    tcase_add_test(t, gradients_of_several_match_differences);
    tcase_add_exit_test(t, a_wrong_shape_among_several_exits_70, 70);
    suite_add_tcase(s, t);
    return s;
}
