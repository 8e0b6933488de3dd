#include "tests/suites.h"
#include "tests/support/gradcheck.h"
#include "tests/support/rows.h"

static qp_tensor *op(qp_ctx *c, qp_tensor **in) { return qp_rmsnorm(c, in[0], in[1], 1e-5); }

/* y does not change when x is scaled, but for eps. */
START_TEST(scale_of_x_does_not_matter)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[] = { test_leaf(&c, QP_F64, 2, (int64_t[]){ 5, 7 }, 1),
                        test_leaf(&c, QP_F64, 1, (int64_t[]){ 7 }, 2) };
    qp_tensor *y = qp_rmsnorm(&c, in[0], in[1], 1e-14);
    for (int i = 0; i < 35; i++) ((double *)in[0]->data)[i] *= 1000;
    qp_tensor *z = qp_rmsnorm(&c, in[0], in[1], 1e-14);
    ck_assert_double_lt(test_difference(y->data, QP_F64, z->data, QP_F64, 35), 1e-12);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(bits_do_not_depend_on_threads_or_neighbours)
{
    test_row_bits(op, 150, 301, 1);
    test_row_bits(op, 35, 1101, 1); /* several tiles of columns */
}
END_TEST

START_TEST(wrong_shape_exits_70)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_rmsnorm(&c, test_leaf(&c, QP_F32, 2, (int64_t[]){ 5, 7 }, 1),
               test_param(&c, QP_F32, 1, (int64_t[]){ 8 }, 2), 1e-5);
}
END_TEST

Suite *suite_rmsnorm(void)
{
    Suite *s = suite_create("rmsnorm");
    TCase *t = tcase_create("rmsnorm");
    tcase_add_test(t, scale_of_x_does_not_matter);
    tcase_add_test(t, bits_do_not_depend_on_threads_or_neighbours);
    tcase_add_exit_test(t, wrong_shape_exits_70, 70);
    suite_add_tcase(s, t);
    return s;
}
