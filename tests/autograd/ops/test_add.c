#include "tests/suites.h"
#include "tests/support/gradcheck.h"

START_TEST(wrong_shape_exits_70)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_add(&c, test_leaf(&c, QP_F32, 2, (int64_t[]){ 5, 7 }, 1),
           test_leaf(&c, QP_F32, 2, (int64_t[]){ 7, 5 }, 2));
}
END_TEST

Suite *suite_add(void)
{
    Suite *s = suite_create("add");
    TCase *t = tcase_create("add");
    tcase_add_exit_test(t, wrong_shape_exits_70, 70);
    suite_add_tcase(s, t);
    return s;
}
