#include "autograd/param.h"
#include "tests/suites.h"
#include <math.h>
#include <string.h>

/* 2^18 draws: the mean is within 4 / sqrt(n) standard deviations, and so is the deviation itself,
   about. */
enum { N = 1 << 18 };
static const double near_enough = 4. / 512;
static float values[N], again[N];

static void moments(const float *v, double *mean, double *std)
{
    double sum = 0, squares = 0;
    for (int i = 0; i < N; i++) sum += (double)v[i];
    *mean = sum / N;
    for (int i = 0; i < N; i++) squares += pow((double)v[i] - *mean, 2);
    *std = sqrt(squares / N);
}

START_TEST(means_deviations_and_ends_are_the_asked_ones)
{
    const qp_tensor w = { .ndim = 3, .shape = { 6, 4, 5 } }; /* fans: 20 in, 30 out */
    const struct {
        qp_init init;
        double mean, std, low, high;
    } k[] = {
        { qp_init_constant(3), 3, 0, 3, 3 },
        { qp_init_normal(0.02), 0, 0.02, -INFINITY, INFINITY },
        { qp_init_uniform(-1, 3), 1, 4 / sqrt(12), -1, 3 },
        { qp_init_xavier_normal(&w, 2), 0, 2 * sqrt(2. / 50), -INFINITY, INFINITY },
        { qp_init_xavier_uniform(&w, 1), 0, sqrt(2. / 50), -sqrt(6. / 50), sqrt(6. / 50) },
        { qp_init_kaiming_normal(&w, sqrt(2)), 0, sqrt(2. / 20), -INFINITY, INFINITY },
        { qp_init_kaiming_uniform(&w, 1 / sqrt(3)), 0, 1 / sqrt(60), -1 / sqrt(20), 1 / sqrt(20) },
    };
    for (size_t i = 0; i < sizeof k / sizeof *k; i++) {
        double mean, std, low = INFINITY, high = -INFINITY;
        qp_init_draw(k[i].init, 1, "w", QP_F32, values, N);
        moments(values, &mean, &std);
        ck_assert_double_le(fabs(mean - k[i].mean), near_enough * k[i].std);
        ck_assert_double_le(fabs(std - k[i].std), near_enough * k[i].std);
        for (int j = 0; j < N; j++) {
            low = fmin(low, (double)values[j]);
            high = fmax(high, (double)values[j]);
        }
        /* f32 may round a draw up to the end itself */
        ck_assert(low >= k[i].low * (1 + copysign(1e-7, -k[i].low)));
        ck_assert(high <= k[i].high * (1 + copysign(1e-7, k[i].high)));
        if (isfinite(k[i].low) && k[i].std > 0)
            ck_assert_double_lt(low + k[i].high - high - k[i].low, 1e-3 * k[i].std);
    }
}
END_TEST

START_TEST(a_value_depends_on_seed_name_and_index_alone)
{
    const qp_init init = qp_init_normal(1);
    qp_init_draw(init, 1, "w", QP_F32, values, N);
    qp_init_draw(init, 1, "w", QP_F32, again, N / 2 + 1);
    ck_assert_mem_eq(values, again, (N / 2 + 1) * sizeof *values);
    qp_init_draw(init, 2, "w", QP_F32, again, N);
    ck_assert_int_ne(memcmp(values, again, sizeof values), 0);
    qp_init_draw(init, 1, "v", QP_F32, again, N);
    ck_assert_int_ne(memcmp(values, again, sizeof values), 0);
}
END_TEST

/* Whatever was filled before, and whether the store is bf16. */
START_TEST(filling_writes_one_parameter_master_and_value)
{
    for (int s = QP_F64; s < QP_NCOMPUTE; s++) {
        const qp_storage sum = qp_sum_storage((qp_storage)s);
        qp_err err = { 0 };
        qp_params *p = qp_params_new((qp_storage)s), *alone = qp_params_new((qp_storage)s);
        qp_tensor *b = qp_params_add(p, "b", QP_SHAPE(3)),
                  *w = qp_params_add(p, "w", QP_SHAPE(4, 2)),
                  *same = qp_params_add(alone, "w", QP_SHAPE(4, 2));
        ck_assert(!qp_params_seal(p, &err) && !qp_params_seal(alone, &err));
        qp_params_fill(p, b, qp_init_constant(0.5), 1);
        qp_params_fill(p, w, qp_init_xavier_uniform(w, 1), 7);
        qp_params_fill(alone, same, qp_init_xavier_uniform(same, 1), 7);
        ck_assert_mem_eq(p->master, alone->master, qp_storage_bytes(sum, 8));
        ck_assert_mem_eq(w->data, same->data, qp_value_bytes(w));
        unsigned char zero[8 * sizeof(double)] = { 0 };
        ck_assert_int_ne(memcmp(w->data, zero, qp_value_bytes(w)), 0);
        if (s == QP_BF16)
            for (int i = 0; i < 3; i++) ck_assert_int_eq(((uint16_t *)b->data)[i], 0x3F00);
        qp_params_free(p);
        qp_params_free(alone);
    }
}
END_TEST

START_TEST(a_fan_of_a_vector_exits_70)
{
    const qp_tensor b = { .ndim = 1, .shape = { 3 } };
    qp_init_kaiming_normal(&b, 1);
}
END_TEST

Suite *suite_init(void)
{
    Suite *s = suite_create("init");
    TCase *t = tcase_create("init");
    tcase_add_test(t, means_deviations_and_ends_are_the_asked_ones);
    tcase_add_test(t, a_value_depends_on_seed_name_and_index_alone);
    tcase_add_test(t, filling_writes_one_parameter_master_and_value);
    tcase_add_exit_test(t, a_fan_of_a_vector_exits_70, 70);
    suite_add_tcase(s, t);
    return s;
}
