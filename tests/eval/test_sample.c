#include "eval/generate.h"
#include "tests/suites.h"
#include <math.h>

enum { V = 200 };

static int32_t draw(const float *logits, int64_t v, const qp_sampling *s, int64_t step)
{
    float copy[V];
    for (int64_t i = 0; i < v; i++) copy[i] = logits[i];
    return qp_sample(copy, v, NULL, 0, s, step);
}

static void uneven(float *logits)
{
    for (int i = 0; i < V; i++)
        logits[i] = (float)((i * 37) % V) * 0.02f; /* id of rank r: different everywhere */
}

START_TEST(temperature_zero_takes_the_first_of_the_largest)
{
    float logits[] = { 1, 5, -2, 5, 4 };
    qp_sampling s = { .top_k = 3, .top_p = 0.1, .seed = 9 };
    for (int64_t step = 0; step < 20; step++) ck_assert_int_eq(draw(logits, 5, &s, step), 1);
}
END_TEST

START_TEST(draws_follow_the_distribution)
{
    float logits[] = { logf(0.5f), logf(0.3f), logf(0.15f), logf(0.05f) };
    const double p[] = { 0.5, 0.3, 0.15, 0.05 };
    qp_sampling s = { .temperature = 1, .top_p = 1, .seed = 3 };
    int count[4] = { 0 };
    enum { N = 20000 };
    for (int64_t i = 0; i < N; i++) count[draw(logits, 4, &s, i)]++;
    for (int i = 0; i < 4; i++) /* five standard deviations */
        ck_assert_double_lt(fabs(count[i] / (double)N - p[i]), 5 * sqrt(p[i] * (1 - p[i]) / N));
}
END_TEST

START_TEST(temperature_divides_the_logits)
{
    float logits[] = { 0, 1 };
    qp_sampling s = { .temperature = 0.5, .seed = 4 };
    double p = 1 / (1 + exp(-2)); /* of token 1 */
    int ones = 0;
    enum { N = 20000 };
    for (int64_t i = 0; i < N; i++) ones += draw(logits, 2, &s, i);
    ck_assert_double_lt(fabs(ones / (double)N - p), 5 * sqrt(p * (1 - p) / N));
}
END_TEST

START_TEST(the_same_seed_and_step_give_the_same_token)
{
    float logits[V];
    uneven(logits);
    qp_sampling s = { .temperature = 1, .seed = 5 }, other = { .temperature = 1, .seed = 6 };
    int differ = 0;
    for (int64_t i = 0; i < 50; i++) {
        ck_assert_int_eq(draw(logits, V, &s, i), draw(logits, V, &s, i));
        differ += draw(logits, V, &s, i) != draw(logits, V, &other, i);
    }
    ck_assert_int_gt(differ, 25);
}
END_TEST

/* Which tokens a filter lets through, counted over many draws, against a plain reading of its
 * definition. */
static void check_kept(const qp_sampling *s, int kept)
{
    float logits[V];
    uneven(logits);
    bool seen[V] = { false };
    int distinct = 0;
    for (int64_t i = 0; i < 20000; i++) {
        int32_t id = draw(logits, V, s, i);
        distinct += !seen[id];
        seen[id] = true;
    }
    ck_assert_int_eq(distinct, kept);
    float least = INFINITY, most_outside = -INFINITY;
    for (int i = 0; i < V; i++) {
        if (seen[i])
            least = fminf(least, logits[i]);
        else
            most_outside = fmaxf(most_outside, logits[i]);
    }
    ck_assert(least > most_outside);
}

START_TEST(top_k_keeps_k) { check_kept(&(qp_sampling){ .temperature = 1, .top_k = 7 }, 7); }
END_TEST

/* Logits fall by 0.02 from rank to rank: the mass of the r likeliest is (1 - q^r) / (1 - q^V) with
 * q = exp(-0.02). */
static double mass(int r, int of) { return (1 - exp(-0.02 * r)) / (1 - exp(-0.02 * of)); }

START_TEST(top_p_keeps_the_smallest_set_with_that_mass)
{
    int r = 1;
    while (mass(r, V) < 0.3) r++;
    check_kept(&(qp_sampling){ .temperature = 1, .top_p = 0.3 }, r);
}
END_TEST

START_TEST(top_p_is_a_share_of_what_top_k_leaves)
{
    int r = 1;
    while (mass(r, 40) < 0.5) r++;
    check_kept(&(qp_sampling){ .temperature = 1, .top_k = 40, .top_p = 0.5 }, r);
}
END_TEST

START_TEST(min_p_keeps_what_is_likely_enough_beside_the_best)
{
    int r = 1;
    while (exp(-0.02 * r) >= 0.505) r++;
    check_kept(&(qp_sampling){ .temperature = 1, .min_p = 0.505 }, r);
}
END_TEST

START_TEST(a_tiny_nucleus_keeps_the_best)
{
    check_kept(&(qp_sampling){ .temperature = 1, .top_p = 1e-9 }, 1);
}
END_TEST

START_TEST(the_penalty_counts_a_token_once_and_by_its_sign)
{
    float logits[] = { 3, 2.5f, -1, -1.4f };
    const int32_t past[] = { 0, 0, 2, -1, 99 };
    qp_sampling s = { .repetition_penalty = 1.5 };
    ck_assert_int_eq(qp_sample(logits, 4, past, 5, &s, 0), 1);
    ck_assert_float_eq(logits[0], 2);
    ck_assert_float_eq(logits[1], 2.5f);
    ck_assert_float_eq(logits[2], -1.5f);
    ck_assert_float_eq(logits[3], -1.4f);
}
END_TEST

START_TEST(extreme_logits_are_drawn_without_loss)
{
    float logits[] = { -1e30f, 1e30f, -1e30f };
    qp_sampling s = { .temperature = 1, .seed = 2 };
    for (int64_t i = 0; i < 50; i++) ck_assert_int_eq(draw(logits, 3, &s, i), 1);
}
END_TEST

Suite *suite_sample(void)
{
    Suite *s = suite_create("sample");
    TCase *t = tcase_create("sample");
    tcase_add_test(t, temperature_zero_takes_the_first_of_the_largest);
    tcase_add_test(t, draws_follow_the_distribution);
    tcase_add_test(t, temperature_divides_the_logits);
    tcase_add_test(t, the_same_seed_and_step_give_the_same_token);
    tcase_add_test(t, top_k_keeps_k);
    tcase_add_test(t, top_p_keeps_the_smallest_set_with_that_mass);
    tcase_add_test(t, top_p_is_a_share_of_what_top_k_leaves);
    tcase_add_test(t, min_p_keeps_what_is_likely_enough_beside_the_best);
    tcase_add_test(t, a_tiny_nucleus_keeps_the_best);
    tcase_add_test(t, the_penalty_counts_a_token_once_and_by_its_sign);
    tcase_add_test(t, extreme_logits_are_drawn_without_loss);
    suite_add_tcase(s, t);
    return s;
}
