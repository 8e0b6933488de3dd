#include "tests/suites.h"
#include "tests/support/gradcheck.h"

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
    suite_add_tcase(s, t);
    return s;
}
