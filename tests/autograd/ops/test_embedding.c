#include "tests/suites.h"
#include "tests/support/gradcheck.h"

static const int32_t ids[6] = { 3, 0, 3, 3, 8, 0 };

START_TEST(frozen_weights_of_any_storage_are_read)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    for (int s = QP_F64; s < QP_NCOMPUTE; s++) {
        qp_tensor *w = test_leaf(&c, (qp_storage)s, 2, (int64_t[]){ 9, 7 }, 1);
        w->needs_grad = false;
        for (int out = QP_F64; out < QP_NCOMPUTE; out++) {
            qp_tensor *y = qp_embedding(&c, w, ids, 6, (qp_storage)out);
            ck_assert(!y->needs_grad && y->storage == (qp_storage)out);
            for (int64_t i = 0; i < 42; i++)
                ck_assert_double_eq(test_get(y->data, y->storage, i),
                                    test_get(w->data, w->storage, ids[i / 7] * 7 + i % 7));
        }
    }
    qp_ctx_release(&c);
}
END_TEST

START_TEST(id_beyond_the_vocabulary_exits_70)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_embedding(&c, test_param(&c, QP_F32, 2, (int64_t[]){ 8, 7 }, 1), ids, 6, QP_F32);
}
END_TEST

START_TEST(negative_id_exits_70)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    const int32_t negative = -1;
    qp_embedding(&c, test_param(&c, QP_F32, 2, (int64_t[]){ 8, 7 }, 1), &negative, 1, QP_F32);
}
END_TEST

Suite *suite_embedding(void)
{
    Suite *s = suite_create("embedding");
    TCase *t = tcase_create("embedding");
    tcase_add_test(t, frozen_weights_of_any_storage_are_read);
    tcase_add_exit_test(t, id_beyond_the_vocabulary_exits_70, 70);
    tcase_add_exit_test(t, negative_id_exits_70, 70);
    suite_add_tcase(s, t);
    return s;
}
