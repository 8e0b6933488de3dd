#include "autograd/general.h"
#include "tests/suites.h"
#include "tests/support/gradcheck.h"

/* A causal mask from a row of places and the same as a column: what such rows are for. */
START_TEST(arange_counts_in_every_type)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    for (qp_storage type = 0; type < QP_NCOMPUTE; type++) {
        qp_tensor *row = qp_arange(&c, type, 5);
        ck_assert(row->ndim == 1 && row->shape[0] == 5 && row->storage == type);
        for (int i = 0; i < 5; i++) ck_assert_double_eq(qp_at(row, i), i);
        qp_tensor *seen = qp_less_equal(&c, row, qp_reshape(&c, row, QP_SHAPE(5, 1)));
        for (int i = 0; i < 5; i++)
            for (int j = 0; j < 5; j++) ck_assert_double_eq(qp_at(seen, i * 5 + j), j <= i);
        ck_assert_int_eq(qp_numel(qp_arange(&c, type, 0)), 0);
    }
    qp_ctx_release(&c);
}
END_TEST

Suite *suite_arange(void)
{
    Suite *s = suite_create("arange");
    TCase *t = tcase_create("arange");
    tcase_add_test(t, arange_counts_in_every_type);
    suite_add_tcase(s, t);
    return s;
}
