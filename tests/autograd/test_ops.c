/* Every op on random cases: tests/support/opcheck.h. A case of this suite is an op. */
#include "tests/suites.h"
#include "tests/support/gradcheck.h"
#include "tests/support/opcheck.h"

static const op_row *const *const families[] = { op_elementwise, op_shapes, op_reductions,
                                                 op_products, op_networks };
enum { FAMILIES = sizeof families / sizeof *families };

static const op_row *row(int number)
{
    for (int f = 0; f < FAMILIES; f++)
        for (int i = 0; families[f][i]; i++)
            if (number-- == 0) return families[f][i];
    return NULL;
}

/* Loops count ops and what a test does with each. */
START_TEST(gradients_match_differences_and_values_formulas) { op_check_gradients(row(_i)); }
END_TEST
START_TEST(rules_hold_in_every_type) { op_check_rules(row(_i / QP_NCOMPUTE), _i % QP_NCOMPUTE); }
END_TEST
START_TEST(every_build_agrees_with_f64) { op_check_build(row(_i / TEST_BUILDS), _i % TEST_BUILDS); }
END_TEST

Suite *suite_ops(void)
{
    Suite *s = suite_create("ops");
    for (int i = 0; row(i); i++) {
        TCase *t = tcase_create(row(i)->name);
        tcase_set_timeout(t, 60);
        tcase_add_loop_test(t, gradients_match_differences_and_values_formulas, i, i + 1);
        tcase_add_loop_test(t, rules_hold_in_every_type, i * QP_NCOMPUTE, (i + 1) * QP_NCOMPUTE);
        tcase_add_loop_test(t, every_build_agrees_with_f64, i * TEST_BUILDS, (i + 1) * TEST_BUILDS);
        suite_add_tcase(s, t);
    }
    return s;
}
