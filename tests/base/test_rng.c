#include "base/rng.h"
#include "tests/suites.h"
#include <math.h>

/* The first two words of Random123's known answers for philox4x32-10 (kat_vectors). */
START_TEST(philox_gives_the_published_answers)
{
    ck_assert_uint_eq(qp_rng_u64(0, 0, 0), 0xe169c58d6627e8d5u);
    ck_assert_uint_eq(qp_rng_u64(UINT64_MAX, UINT64_MAX, UINT64_MAX), 0x41c83b0e408f276du);
    ck_assert_uint_eq(qp_rng_u64(0x299f31d0a4093822u, 0x0370734413198a2eu, 0x85a308d3243f6a88u),
                      0x94fdccebd16cfe09u);
}
END_TEST

START_TEST(keys_differ_by_seed_and_purpose)
{
    uint64_t k[] = { qp_rng_key(0, "init"), qp_rng_key(1, "init"), qp_rng_key(0, "dropout"),
                     qp_rng_key(1, "dropout"), qp_rng_key(0, "") };
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < i; j++) ck_assert_uint_ne(k[i], k[j]);
    ck_assert_uint_eq(k[0], qp_rng_key(0, "init"));
}
END_TEST

START_TEST(a_value_depends_on_nothing_but_its_arguments)
{
    double a = qp_rng_normal(5, 6, 7);
    for (uint64_t i = 0; i < 100; i++) qp_rng_normal(5, 6, i);
    ck_assert(qp_rng_normal(5, 6, 7) == a);
    ck_assert(qp_rng_normal(5, 7, 7) != a);
    ck_assert(qp_rng_normal(6, 6, 7) != a);
    qp_rng r = { .key = 1 };
    ck_assert_uint_eq(qp_rng_stream(&r), 0);
    ck_assert_uint_eq(qp_rng_stream(&r), 1);
}
END_TEST

enum { DRAWS = 200000 };

/* Means of n independent draws lie within 5 standard errors: once in 1.7 million seeds they would
 * not. */
START_TEST(uniform_and_normal_have_their_moments)
{
    double u1 = 0, u2 = 0, n1 = 0, n2 = 0, n3 = 0, n4 = 0, lag = 0, before = 0;
    for (uint64_t i = 0; i < DRAWS; i++) {
        double u = qp_rng_uniform(3, 1, i), z = qp_rng_normal(3, 2, i);
        ck_assert(u >= 0 && u < 1 && isfinite(z));
        u1 += u, u2 += u * u, n1 += z, n2 += z * z, n3 += z * z * z, n4 += z * z * z * z;
        lag += z * before;
        before = z;
    }
    double n = DRAWS, e = 5 / sqrt(n);
    ck_assert_double_eq_tol(u1 / n, 0.5, e * sqrt(1. / 12));
    ck_assert_double_eq_tol(u2 / n, 1. / 3, e * sqrt(4. / 45));
    ck_assert_double_eq_tol(n1 / n, 0, e);
    ck_assert_double_eq_tol(n2 / n, 1, e * sqrt(2));
    ck_assert_double_eq_tol(n3 / n, 0, e * sqrt(15));
    ck_assert_double_eq_tol(n4 / n, 3, e * sqrt(96));
    ck_assert_double_eq_tol(lag / n, 0, e);
}
END_TEST

START_TEST(below_is_even_and_in_range)
{
    int64_t count[7] = { 0 };
    for (uint64_t i = 0; i < DRAWS; i++) {
        uint64_t v = qp_rng_below(9, 4, i, 7);
        ck_assert_uint_lt(v, 7);
        count[v]++;
    }
    double want = DRAWS / 7.;
    for (int i = 0; i < 7; i++) ck_assert_double_eq_tol((double)count[i], want, 5 * sqrt(want));
    ck_assert_uint_eq(qp_rng_below(9, 4, 0, 1), 0);
    ck_assert_uint_lt(qp_rng_below(9, 4, 1, UINT64_MAX), UINT64_MAX);
}
END_TEST

Suite *suite_rng(void)
{
    Suite *s = suite_create("rng");
    TCase *t = tcase_create("rng");
    tcase_add_test(t, philox_gives_the_published_answers);
    tcase_add_test(t, keys_differ_by_seed_and_purpose);
    tcase_add_test(t, a_value_depends_on_nothing_but_its_arguments);
    tcase_add_test(t, uniform_and_normal_have_their_moments);
    tcase_add_test(t, below_is_even_and_in_range);
    suite_add_tcase(s, t);
    return s;
}
