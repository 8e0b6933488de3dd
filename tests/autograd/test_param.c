#include "autograd/param.h"
#include "tests/suites.h"
#include "tests/support/gradcheck.h"
#include <math.h>
#include <string.h>

/* Two matrices and two vectors, mixed. */
static qp_params *store(qp_storage compute)
{
    qp_err err = { 0 };
    qp_params *p = qp_params_new(compute);
    qp_params_add(p, "norm", 1, (int64_t[]){ 5 });
    qp_params_add(p, "a", 2, (int64_t[]){ 3, 5 });
    qp_params_add(p, "bias", 1, (int64_t[]){ 3 });
    qp_params_add(p, "b", 2, (int64_t[]){ 2, 5 });
    ck_assert_msg(!qp_params_seal(p, &err), "%s", err.msg);
    return p;
}

START_TEST(matrices_come_first_and_vectors_do_not_decay)
{
    qp_params *p = store(QP_F32);
    const char *names[] = { "a", "b", "norm", "bias" };
    const int64_t lo[] = { 0, 15, 25, 30 };
    ck_assert_int_eq(p->count, 4);
    ck_assert_int_eq(p->n, 33);
    for (int i = 0; i < 4; i++) {
        ck_assert_str_eq(p->item[i].name, names[i]);
        ck_assert_int_eq(p->item[i].lo, lo[i]);
        ck_assert(p->item[i].decay == (i < 2));
    }
    ck_assert_int_eq(p->groups, 2);
    ck_assert(p->group[0].lo == 0 && p->group[0].hi == 25 && p->group[0].decay);
    ck_assert(p->group[1].lo == 25 && p->group[1].hi == 33 && !p->group[1].decay);
    ck_assert_ptr_eq(qp_params_find(p, "norm"), &p->item[2]);
    ck_assert_ptr_null(qp_params_find(p, "c"));
    qp_params_free(p);
}
END_TEST

/* Masters hold what f32 (f64) holds; values are rounded to the compute type. */
START_TEST(values_are_rounded_masters)
{
    for (int s = QP_F64; s < QP_NCOMPUTE; s++) {
        const qp_storage compute = (qp_storage)s, sum = qp_sum_storage(compute);
        qp_params *p = store(compute);
        double data[15];
        for (int i = 0; i < 15; i++) data[i] = 1. / (i + 3);
        qp_param *a = qp_params_find(p, "a");
        qp_params_set(p, a, QP_F64, data);
        qp_params_publish(p);
        ck_assert(a->t->storage == compute && a->t->needs_grad && a->t->is_param);
        for (int i = 0; i < 15; i++) {
            ck_assert_double_eq(test_get(p->master, sum, a->lo + i),
                                s == QP_F64 ? data[i] : (double)(float)data[i]);
            double rounded;
            test_set(&rounded, compute, 0, data[i]);
            ck_assert_double_eq(test_get(a->t->data, compute, i), test_get(&rounded, compute, 0));
        }
        qp_params_free(p);
    }
}
END_TEST

START_TEST(equal_settings_are_one_group)
{
    qp_err err = { 0 };
    qp_params *p = qp_params_new(QP_F32);
    qp_tensor *a = qp_params_add(p, "a", QP_SHAPE(2, 3)), *b = qp_params_add(p, "b", QP_SHAPE(3)),
              *c = qp_params_add(p, "c", QP_SHAPE(2, 2)), *d = qp_params_add(p, "d", QP_SHAPE(5));
    qp_params_tune(p, a, true, 0.5);
    qp_params_tune(p, d, true, 0.5);
    qp_params_tune(p, b, false, 2);
    ck_assert_msg(!qp_params_seal(p, &err), "%s", err.msg);
    const qp_param_group group[] = { { 0, 11, true, 0.5 },
                                     { 11, 15, true, 1 },
                                     { 15, 18, false, 2 } };
    ck_assert_int_eq(p->groups, 3);
    for (int i = 0; i < 3; i++) {
        const qp_param_group *g = &p->group[i];
        ck_assert(g->lo == group[i].lo && g->hi == group[i].hi);
        ck_assert(g->decay == group[i].decay && g->lr_scale == group[i].lr_scale);
    }
    ck_assert(p->item[0].t == a && p->item[1].t == d && p->item[2].t == c && p->item[3].t == b);
    qp_params_free(p);
}
END_TEST

START_TEST(first_write_overwrites_and_the_unwritten_become_zero)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_params *p = store(QP_BF16);
    qp_tensor *a = qp_params_find(p, "a")->t, *b = qp_params_find(p, "b")->t;
    for (int i = 0; i < p->n; i++) ((float *)p->grad)[i] = NAN;
    for (int step = 0; step < 2; step++) {
        double beta;
        qp_params_begin_step(p);
        ck_assert_ptr_eq(qp_grad(&c, a, &beta), (float *)p->grad + qp_params_find(p, "a")->lo);
        ck_assert_double_eq(beta, 0);
        for (int i = 0; i < 15; i++) ((float *)a->grad)[i] = 1;
        ck_assert_ptr_eq(qp_grad(&c, a, &beta), a->grad);
        ck_assert_double_eq(beta, 1);
        qp_params_end_grads(p);
        for (int i = 0; i < p->n; i++) ck_assert_double_eq((double)((float *)p->grad)[i], i < 15);
        ck_assert_ptr_nonnull(b->grad);
    }
    qp_params_free(p);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(empty_store_seals_and_frees)
{
    qp_err err = { 0 };
    qp_params *p = qp_params_new(QP_BF16);
    ck_assert_int_eq(qp_params_seal(p, &err), QP_OK);
    ck_assert_int_eq(p->n, 0);
    ck_assert_int_eq(p->groups, 0);
    qp_params_begin_step(p);
    qp_params_end_grads(p);
    qp_params_publish(p);
    qp_params_free(p);
    qp_params_free(NULL);
    qp_params_free(qp_params_new(QP_F32));
}
END_TEST

START_TEST(too_large_is_refused_with_its_size)
{
    qp_err err = { 0 };
    qp_params *p = qp_params_new(QP_F32);
    qp_params_add(p, "huge", 2, (int64_t[]){ 1LL << 30, 1LL << 20 });
    ck_assert_int_eq(qp_params_seal(p, &err), QP_NOMEM);
    ck_assert_ptr_nonnull(strstr(err.msg, "MB"));
    qp_params_free(p);
}
END_TEST

START_TEST(same_name_twice_exits_70)
{
    qp_params *p = qp_params_new(QP_F32);
    qp_params_add(p, "a", 1, (int64_t[]){ 3 });
    qp_params_add(p, "a", 1, (int64_t[]){ 3 });
}
END_TEST

START_TEST(adding_after_sealing_exits_70)
{
    qp_params_add(store(QP_F32), "c", 1, (int64_t[]){ 3 });
}
END_TEST

START_TEST(tuning_a_tensor_from_elsewhere_exits_70)
{
    const qp_tensor t = { .ndim = 1, .shape = { 3 } };
    qp_params_tune(qp_params_new(QP_F32), &t, true, 1);
}
END_TEST

Suite *suite_param(void)
{
    Suite *s = suite_create("param");
    TCase *t = tcase_create("param");
    tcase_add_test(t, matrices_come_first_and_vectors_do_not_decay);
    tcase_add_test(t, values_are_rounded_masters);
    tcase_add_test(t, equal_settings_are_one_group);
    tcase_add_test(t, first_write_overwrites_and_the_unwritten_become_zero);
    tcase_add_test(t, empty_store_seals_and_frees);
    tcase_add_test(t, too_large_is_refused_with_its_size);
    tcase_add_exit_test(t, same_name_twice_exits_70, 70);
    tcase_add_exit_test(t, adding_after_sealing_exits_70, 70);
    tcase_add_exit_test(t, tuning_a_tensor_from_elsewhere_exits_70, 70);
    suite_add_tcase(s, t);
    return s;
}
