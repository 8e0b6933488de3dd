/* Where values come from and where they are read. */
#include "tests/suites.h"
#include "tests/support/expect.h"
#include <math.h>
#include <omp.h>
#include <string.h>

START_TEST(values_are_rounded_to_their_type)
{
    qp_ctx c;
    qp_storage type;
    if (!test_build(_i, &type)) return;
    test_ctx(&c, NULL);
    const double x[] = { 1, -0.5, 1 + 0x1p-30, INFINITY, NAN, 0x1p-149 };
    const double f32[] = { 1, -0.5, 1, INFINITY, NAN, 0x1p-149 },
                 bf16[] = { 1, -0.5, 1, INFINITY, NAN, 0 };
    qp_tensor *t = qp_values(&c, type, QP_SHAPE(2, 3), x);
    test_expect_shape(t, QP_SHAPE(2, 3));
    expect_values(t, type == QP_F64 ? x : type == QP_F32 ? f32 : bf16, 0);
    ck_assert(!t->needs_grad);
    qp_values(&c, type, QP_SHAPE(0, 3), NULL);

    enum { MANY = 40001 };
    t = qp_full(&c, type, QP_SHAPE(MANY), 0.3);
    const double v = type == QP_F64 ? 0.3 : type == QP_F32 ? (double)0.3f : 0.30078125;
    for (int i = 0; i < MANY; i++) ck_assert_double_eq(qp_at(t, i), v);
    ck_assert_double_eq(qp_item(qp_scalar(&c, type, 0.3)), v);
    ck_assert_double_nan(qp_item(qp_scalar(&c, type, NAN)));
    ck_assert_int_eq(qp_scalar(&c, type, 1)->ndim, 0);
    test_expect_shape(qp_full(&c, type, QP_SHAPE(2, 0, 3), 1), QP_SHAPE(2, 0, 3));
    qp_ctx_release(&c);
}
END_TEST

enum { MANY = 100000 };

/* Mean and square within 5 standard errors; thirds of a standard deviation as often as they
   should. */
START_TEST(normal_numbers_have_their_mean_and_deviation)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *x = qp_normal(&c, QP_F32, QP_SHAPE(MANY), 3);
    double sum = 0, square = 0;
    int within = 0;
    for (int i = 0; i < MANY; i++) {
        const double v = qp_at(x, i);
        sum += v;
        square += v * v;
        within += fabs(v) < 3;
    }
    ck_assert_double_eq_tol(sum / MANY, 0, 5 * 3 / sqrt(MANY));
    ck_assert_double_eq_tol(square / MANY, 9, 5 * 9 * sqrt(2. / MANY));
    ck_assert_double_eq_tol((double)within / MANY, 0.6827, 5 * 0.4655 / sqrt(MANY));
    const qp_tensor *none = qp_normal(&c, QP_F64, QP_SHAPE(3), 0);
    for (int i = 0; i < 3; i++) ck_assert_double_eq(qp_at(none, i), 0);
    qp_ctx_release(&c);
}
END_TEST

/* In bf16 what lies above 1 - 2^-9, one number in 2048 here, would be rounded up to 1. */
START_TEST(uniform_numbers_stay_below_their_end)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    for (int s = 0; s < QP_NCOMPUTE; s++) {
        qp_tensor *x = qp_uniform(&c, (qp_storage)s, QP_SHAPE(MANY), -3, 1);
        double sum = 0;
        int above = 0;
        for (int i = 0; i < MANY; i++) {
            const double v = qp_at(x, i);
            ck_assert(v >= -3 && v < 1);
            sum += v;
            above += v >= 0;
        }
        /* 4 wide: the deviation is 4 / sqrt(12). In bf16 one in 2048 comes as -3 and not as 1. */
        ck_assert_double_eq_tol(sum / MANY, -1,
                                5 * 1.1547 / sqrt(MANY) + (s == QP_BF16 ? 0.004 : 0));
        ck_assert_double_eq_tol((double)above / MANY, 0.25,
                                5 * 0.433 / sqrt(MANY) + (s == QP_BF16 ? 0.001 : 0));
    }
    ck_assert_double_eq(qp_item(qp_uniform(&c, QP_F32, 0, NULL, 2, 2)), 2);
    qp_ctx_release(&c);
}
END_TEST

static qp_tensor *noise(qp_ctx *c, qp_tensor **in)
{
    qp_tensor *n = qp_normal(c, in[0]->storage, in[0]->ndim, in[0]->shape, 1),
              *u = qp_uniform(c, in[0]->storage, in[0]->ndim, in[0]->shape, 0, 1);
    return qp_mul(c, in[0], qp_add(c, n, u));
}

START_TEST(random_numbers_depend_on_the_stream_alone)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *x = test_leaf(&c, QP_F32, QP_SHAPE(40001), 1);
    test_threads_change_no_bit(&c, noise, 1, &x);
    const qp_rng before = c.rng;
    const qp_tensor *a = qp_normal(&c, QP_F64, QP_SHAPE(9), 1),
                    *b = qp_normal(&c, QP_F64, QP_SHAPE(9), 1),
                    *u = qp_uniform(&c, QP_F64, QP_SHAPE(9), 0, 1);
    ck_assert(memcmp(a->data, b->data, 9 * sizeof(double)) != 0);
    c.rng = before;
    ck_assert_mem_eq(qp_normal(&c, QP_F64, QP_SHAPE(9), 1)->data, a->data, 9 * sizeof(double));
    c.rng.next = before.next + 2;
    ck_assert_mem_eq(qp_uniform(&c, QP_F64, QP_SHAPE(9), 0, 1)->data, u->data, 9 * sizeof(double));
    c.rng = (qp_rng){ .key = before.key + 1, .next = before.next };
    ck_assert(memcmp(qp_normal(&c, QP_F64, QP_SHAPE(9), 1)->data, a->data, 9 * sizeof(double)) !=
              0);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(a_detached_value_has_no_history)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *x = test_leaf(&c, QP_F64, QP_SHAPE(3), 1), *d = qp_detach(&c, x);
    ck_assert_ptr_eq(d->data, x->data);
    ck_assert(!d->needs_grad && !d->is_param);
    qp_backward(&c, qp_sum(&c, qp_mul(&c, x, d), QP_ALL, false), 1);
    expect_grad(x, d->data, 0); /* not twice that */
    ck_assert_ptr_null(d->grad);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(a_gradient_that_was_asked_for_is_there)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    const double v[] = { 1, 2, 3 }, want[] = { 2, 4, 6 };
    for (int s = 0; s < QP_NCOMPUTE; s++) {
        qp_tensor *x = qp_values(&c, (qp_storage)s, QP_SHAPE(3), v);
        ck_assert_ptr_eq(qp_want_grad(x), x);
        qp_backward(&c, qp_sum(&c, qp_square(&c, x), QP_ALL, false), 1);
        expect_grad(x, want, 0);
    }
    qp_ctx_release(&c);
}
END_TEST

START_TEST(elements_are_read_from_every_type)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    static const int32_t index[] = { 3, -5 };
    const double v[] = { 1.5, -2 };
    for (int s = 0; s < QP_NCOMPUTE; s++) {
        const qp_tensor *x = qp_values(&c, (qp_storage)s, QP_SHAPE(2), v);
        ck_assert_double_eq(qp_at(x, 0), 1.5);
        ck_assert_double_eq(qp_at(x, 1), -2);
    }
    ck_assert_double_eq(qp_at(qp_index(&c, QP_SHAPE(2), index), 1), -5);
    ck_assert_ptr_eq(qp_index(&c, QP_SHAPE(2), index)->data, index);
    ck_assert_double_eq(qp_item(qp_full(&c, QP_F32, QP_SHAPE(1, 1), 4)), 4);
    qp_ctx_release(&c);
}
END_TEST

#define EXITS(name, ...)                                                                           \
    START_TEST(name)                                                                               \
    {                                                                                              \
        qp_ctx c;                                                                                  \
        test_ctx(&c, NULL);                                                                        \
        __VA_ARGS__;                                                                               \
    }                                                                                              \
    END_TEST
EXITS(an_item_of_many_exits_70, qp_item(qp_full(&c, QP_F32, QP_SHAPE(2), 0)))
EXITS(an_element_behind_the_last_exits_70, qp_at(qp_full(&c, QP_F32, QP_SHAPE(2), 0), 2))
EXITS(an_element_before_the_first_exits_70, qp_at(qp_full(&c, QP_F32, QP_SHAPE(2), 0), -1))
EXITS(full_of_integers_exits_70, qp_full(&c, QP_I32, QP_SHAPE(2), 0))
EXITS(values_of_a_block_type_exit_70, qp_values(&c, QP_Q8_0, QP_SHAPE(32), NULL))
EXITS(a_negative_deviation_exits_70, qp_normal(&c, QP_F32, QP_SHAPE(2), -1))
EXITS(ends_in_the_wrong_order_exit_70, qp_uniform(&c, QP_F32, QP_SHAPE(2), 1, 0))
EXITS(an_endless_range_exits_70, qp_uniform(&c, QP_F32, QP_SHAPE(2), 0, INFINITY))
EXITS(a_value_that_backward_passed_exits_70, {
    qp_tensor *y = qp_square(&c, test_leaf(&c, QP_F32, QP_SHAPE(2), 1));
    qp_backward(&c, qp_sum(&c, y, QP_ALL, false), 1);
    qp_at(y, 0);
})

Suite *suite_values(void)
{
    Suite *s = suite_create("values");
    TCase *t = tcase_create("values");
    tcase_add_loop_test(t, values_are_rounded_to_their_type, 0, TEST_BUILDS);
    tcase_add_test(t, normal_numbers_have_their_mean_and_deviation);
    tcase_add_test(t, uniform_numbers_stay_below_their_end);
    tcase_add_test(t, random_numbers_depend_on_the_stream_alone);
    tcase_add_test(t, a_detached_value_has_no_history);
    tcase_add_test(t, a_gradient_that_was_asked_for_is_there);
    tcase_add_test(t, elements_are_read_from_every_type);
    tcase_add_exit_test(t, an_item_of_many_exits_70, 70);
    tcase_add_exit_test(t, an_element_behind_the_last_exits_70, 70);
    tcase_add_exit_test(t, an_element_before_the_first_exits_70, 70);
    tcase_add_exit_test(t, full_of_integers_exits_70, 70);
    tcase_add_exit_test(t, values_of_a_block_type_exit_70, 70);
    tcase_add_exit_test(t, a_negative_deviation_exits_70, 70);
    tcase_add_exit_test(t, ends_in_the_wrong_order_exit_70, 70);
    tcase_add_exit_test(t, an_endless_range_exits_70, 70);
    tcase_add_exit_test(t, a_value_that_backward_passed_exits_70, 70);
    suite_add_tcase(s, t);
    return s;
}
