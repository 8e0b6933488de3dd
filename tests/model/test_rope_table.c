#include "model/config.h"
#include "model/rope_table.h"
#include "base/safetensors.h"
#include "tests/model/tiny.h"
#include "tests/suites.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    const char *golden;
    int64_t head_dim;
    double factor;
} setting;
static const setting released[] = { { "llama3.1-8b", 128, 8 },
                                    { "llama3.2-3b", 128, 32 },
                                    { "llama3.2-1b", 64, 32 } };

static void frequencies(const setting *s, double *inv)
{
    qp_config cfg = { .head_dim = s->head_dim,
                      .rope_theta = 500000,
                      .rope_scaled = true,
                      .rope_factor = s->factor,
                      .rope_low_freq = 1,
                      .rope_high_freq = 4,
                      .rope_original_positions = 8192 };
    qp_config_frequencies(&cfg, inv);
}

/* The released models' scaled frequencies, from the published formula in f64. */
START_TEST(frequencies_of_the_released_models)
{
    static const struct {
        int model, pair;
        double f;
    } k[] = {
        { 0, 0, 1 },
        { 0, 28, 3.211445995e-03 },
        { 0, 29, 2.166570764e-03 },
        { 0, 34, 1.785078128e-04 },
        { 0, 35, 9.556212354e-05 },
        { 0, 63, 3.068925989e-07 },
        { 1, 29, 2.118406997e-03 },
        { 1, 34, 9.708287803e-05 },
        { 1, 63, 7.672314972e-08 },
        { 2, 14, 3.211445995e-03 },
        { 2, 15, 1.290547928e-03 },
        { 2, 16, 4.295567966e-04 },
        { 2, 17, 9.708287803e-05 },
        { 2, 18, 1.946163818e-05 },
        { 2, 31, 9.418306725e-08 },
    };
    double inv[3][64];
    for (int i = 0; i < 3; i++) frequencies(&released[i], inv[i]);
    for (size_t i = 0; i < sizeof k / sizeof *k; i++)
        ck_assert_double_eq_tol(inv[k[i].model][k[i].pair] / k[i].f, 1,
                                1e-9); /* ten digits are given */
}
END_TEST

static const void *golden(const qp_safetensors *st, const char *model, const char *what, int64_t *n)
{
    char name[64];
    snprintf(name, sizeof name, "table.%s.%s", model, what);
    const qp_file_tensor *t = qp_safetensors_find(st, name);
    ck_assert_msg(t != NULL, "no %s", name);
    if (n) *n = t->numel;
    return t->data;
}

START_TEST(tables_reach_to_the_last_position)
{
    qp_safetensors st = { 0 };
    qp_err err = { 0 };
    const setting *s = &released[_i];
    const char *path = shared_path("ops/rope.safetensors");
    if (!path) return;
    ck_assert_msg(!qp_safetensors_open(&st, path, NULL, &err), "%s", err.msg);
    int64_t n, e = s->head_dim / 2;
    const int64_t *pos = golden(&st, s->golden, "positions", &n);
    const double *want_inv = golden(&st, s->golden, "inv_freq", NULL);
    const float *want_cos = golden(&st, s->golden, "cos", NULL),
                *want_sin = golden(&st, s->golden, "sin", NULL);
    double inv[64], worst = 0;
    frequencies(s, inv);
    for (int64_t i = 0; i < e; i++) ck_assert_double_eq_tol(inv[i] / want_inv[i], 1, 1e-12);
    qp_rope_table t;
    qp_rope_table_init(&t, inv, e, QP_BF16);
    for (int64_t i = 0; i < n; i++) {
        const void *cos, *sin;
        qp_rope_table_rows(&t, pos[i] + 1, &cos, &sin);
        for (int64_t j = 0; j < e; j++) {
            double dc = (double)((const float *)cos)[pos[i] * e + j] - (double)want_cos[i * e + j];
            double ds = (double)((const float *)sin)[pos[i] * e + j] - (double)want_sin[i * e + j];
            worst = fmax(worst, fmax(fabs(dc), fabs(ds)));
        }
    }
    ck_assert_msg(worst < 1e-6, "off by %g", worst);
    qp_rope_table_release(&t);
    qp_safetensors_release(&st);
}
END_TEST

START_TEST(rows_stay_where_they_were_while_the_table_grows)
{
    const double inv[2] = { 1, 0.1 };
    const void *c, *s, *c2, *s2;
    qp_rope_table t;
    qp_rope_table_init(&t, inv, 2, QP_F64);
    qp_rope_table_rows(&t, 3, &c, &s);
    qp_rope_table_rows(&t, 5000, &c2, &s2);
    ck_assert_ptr_ne(c, c2);
    ck_assert_mem_eq(c, c2, 6 * sizeof(double));
    ck_assert_mem_eq(s, s2, 6 * sizeof(double));
    ck_assert_double_eq_tol(((const double *)s2)[4999 * 2 + 1], sin(4999 * 0.1), 1e-12);
    qp_rope_table_release(&t);
}
END_TEST

Suite *suite_rope_table(void)
{
    Suite *s = suite_create("rope_table");
    TCase *t = tcase_create("tables");
    tcase_add_test(t, frequencies_of_the_released_models);
    tcase_add_loop_test(t, tables_reach_to_the_last_position, 0, 3);
    tcase_add_test(t, rows_stay_where_they_were_while_the_table_grows);
    suite_add_tcase(s, t);
    return s;
}
