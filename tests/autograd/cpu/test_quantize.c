/* Block quantisers: what a code means, which code a value gets, and that nothing else is touched.
 */
#include "autograd/quantize.h"
#include "tests/suites.h"
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* Every quantiser by one signature; code() reads the code of element i. */
typedef struct {
    const char *name;
    int64_t block;
    void (*encode)(void *q, float *absmax, const float *x, int64_t n);
    void (*decode)(float *y, const void *q, const float *absmax, int64_t first, int64_t n);
    int (*code)(const void *q, int64_t i);
    double half_gap; /* the most a value can be off, in absmax */
} quantiser;

static void nf4_encode(void *q, float *a, const float *x, int64_t n) { qp_nf4_encode(q, a, x, n); }
static void nf4_decode(float *y, const void *q, const float *a, int64_t first, int64_t n)
{
    qp_nf4_decode(y, q, a, first, n);
}
static int nf4_code(const void *q, int64_t i)
{
    int byte = ((const uint8_t *)q)[i / 2];
    return i % 2 ? byte & 15 : byte >> 4;
}
static void int8_encode(void *q, float *a, const float *x, int64_t n)
{
    qp_int8_encode(q, a, x, n);
}
static void int8_decode(float *y, const void *q, const float *a, int64_t first, int64_t n)
{
    qp_int8_decode(y, q, a, first, n);
}
static int int8_code(const void *q, int64_t i) { return ((const int8_t *)q)[i]; }
static void dynamic8_encode(void *q, float *a, const float *x, int64_t n)
{
    qp_dynamic8_encode(q, a, x, n);
}
static void dynamic8_decode(float *y, const void *q, const float *a, int64_t first, int64_t n)
{
    qp_dynamic8_decode(y, q, a, first, n);
}
static int dynamic8_code(const void *q, int64_t i) { return ((const uint8_t *)q)[i]; }

/* nf4's widest gap is the first, 1 - 0.6962. The dynamic code's largest decade has steps of 0.9/64,
   but half of one more below -0.993: -1 has no code. */
static const quantiser quantisers[] = {
    { "nf4", QP_NF4_BLOCK, nf4_encode, nf4_decode, nf4_code, 0.15190361 },
    { "int8", QP_INT8_BLOCK, int8_encode, int8_decode, int8_code, 0.5 / 127 },
    { "dynamic8", QP_DYNAMIC8_BLOCK, dynamic8_encode, dynamic8_decode, dynamic8_code,
      0.9 / 64 / 2 },
};
enum { QUANTISERS = sizeof quantisers / sizeof quantisers[0] };

static const int64_t counts[] = { 0, 1, 2, 3, 63, 64, 65, 127, 128, 255, 256, 257, 511, 513, 1000 };
enum { COUNTS = sizeof counts / sizeof counts[0] };

/* In -1 .. 1, the middle more likely. */
static float draw(uint64_t *state)
{
    double sum = 0;
    for (int i = 0; i < 2; i++) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        sum += (double)(*state >> 40) / 0x1p24 - 0.5;
    }
    return (float)sum;
}

static float *drawn(int64_t n, uint64_t seed)
{
    float *x = malloc((size_t)(n + 1) * sizeof *x);
    for (int64_t i = 0; i < n; i++) x[i] = draw(&seed);
    return x;
}

/* The parameters of appendix E: eight equal steps of probability above 0 and seven below, both to
   0.9677083. */
START_TEST(nf4_levels_are_quantiles_of_the_normal_distribution)
{
    const double z = 1.848131420707975 /* where 0.9677083 of it lies below */, top = 0.4677083;
    for (int i = 0; i < 16; i++) {
        double p = erf(z * (double)qp_nf4_levels[i] / M_SQRT2) / 2;
        double want = i >= 7 ? top * (i - 7) / 8 : top * (i - 7) / 7;
        ck_assert_double_eq_tol(p, want, 2e-7); /* the levels were computed in f32 */
    }
    ck_assert(qp_nf4_levels[7] == 0 && qp_nf4_levels[0] == -1 && qp_nf4_levels[15] == 1);
}
END_TEST

START_TEST(the_dynamic_code_has_twice_as_many_values_each_decade)
{
    const float *code = qp_dynamic8_code;
    int at = 127;
    ck_assert(code[at] == 0 && code[255] == 1);
    for (int decade = 0; decade < 7; decade++)
        for (int p = 0; p < 1 << decade; p++) {
            double want = pow(10, decade - 6) * (0.1 + 0.9 * (p + 0.5) / (1 << decade));
            at++;
            /* three f32 roundings */
            ck_assert_double_eq_tol((double)code[at], want, want * 3 * 0x1p-24);
            ck_assert(code[254 - at] == -code[at]);
            ck_assert(code[at] > code[at - 1]);
        }
    ck_assert_int_eq(at, 254);
}
END_TEST

/* Each pair of neighbours: the last f32 up to their middle is the lower one's, the next one is the
   upper one's. */
static void check_middles(const quantiser *q, const float *value, int count)
{
    int exact = 0;
    for (int i = 0; i + 1 < count; i++) {
        double middle = ((double)value[i] + (double)value[i + 1]) / 2;
        float below = (float)middle, absmax;
        if ((double)below > middle) below = nextafterf(below, -2);
        exact += (double)below == middle;
        float x[] = { 1, below, nextafterf(below, 2) }; /* 1: absmax */
        uint8_t codes[3];
        q->encode(codes, &absmax, x, 3);
        ck_assert_msg(q->code(codes, 1) == i && q->code(codes, 2) == i + 1,
                      "%s: the middle of %d and %d goes to %d, above to %d", q->name, i, i + 1,
                      q->code(codes, 1), q->code(codes, 2));
    }
    ck_assert_int_gt(exact, 1); /* some middles are f32 themselves */
}

START_TEST(an_exact_middle_goes_to_the_lower_code)
{
    check_middles(&quantisers[0], qp_nf4_levels, 16);
    check_middles(&quantisers[2], qp_dynamic8_code, 256);
}
END_TEST

START_TEST(int8_rounds_an_exact_half_to_even)
{
    int met = 0;
    for (int i = -127; i < 127; i++) {
        float x[] = { 127, (float)i + 0.5f }, absmax;
        int8_t q[2];
        if (x[1] / 127 * 127 != x[1]) continue; /* not a half after two roundings */
        qp_int8_encode(q, &absmax, x, 2);
        ck_assert_int_eq(q[1] % 2, 0);
        ck_assert_int_eq(abs(2 * q[1] - (2 * i + 1)), 1);
        met++;
    }
    ck_assert_int_gt(met, 100);
}
END_TEST

START_TEST(a_value_that_a_code_has_comes_back_to_the_bit)
{
    const quantiser *q = &quantisers[_i];
    static const float scales[] = { 1, 3, 0.7f, 1e-30f, 1.1e-5f, 2e38f };
    for (int s = 0; s < 6; s++) {
        float x[256], y[256], absmax[4];
        uint8_t codes[256];
        for (int i = 0; i < 256; i++) {
            if (_i == 0) x[i] = qp_nf4_levels[i % 16] * scales[s];
            if (_i == 1) x[i] = (float)(i % 64 * 4 - 126 - (i % 64 == 0)) * (scales[s] / 127);
            if (_i == 2) x[i] = qp_dynamic8_code[i] * scales[s];
        }
        q->encode(codes, absmax, x, 256);
        q->decode(y, codes, absmax, 0, 256);
        /* int8: absmax is 127 (scale / 127), which is rounded once more than scale */
        for (int i = 0; i < 256; i++)
            if (_i == 1 ? fabsf(y[i] - x[i]) > fabsf(x[i]) * 0x1p-22f : y[i] != x[i])
                ck_abort_msg("%s: %a comes back as %a", q->name, (double)x[i], (double)y[i]);
    }
}
END_TEST

START_TEST(a_value_gets_the_nearest_code)
{
    const float *const values[] = { qp_nf4_levels, NULL, qp_dynamic8_code };
    const quantiser *q = &quantisers[_i];
    const float *value = values[_i];
    enum { N = 4096 };
    float *x = drawn(N, 5), absmax[N / 64];
    uint8_t codes[N];
    for (int i = 0; i < N; i += 3) x[i] *= powf(10, (float)(-(i % 7))); /* every decade */
    q->encode(codes, absmax, x, N);
    for (int i = 0; i < N; i++) {
        double scaled = (double)(x[i] / absmax[i / q->block]), best = 3;
        int nearest = 0;
        for (int k = 0; k < (_i ? 256 : 16); k++)
            if (fabs(scaled - (double)value[k]) < best)
                best = fabs(scaled - (double)value[nearest = k]);
        if (q->code(codes, i) != nearest)
            ck_abort_msg("%s: %g gets code %d, %d is nearest", q->name, scaled, q->code(codes, i),
                         nearest);
    }
    free(x);
}
END_TEST

/* Any count: the error is within half a gap, absmax is the largest magnitude, and the bytes behind
   the arrays are left alone. */
START_TEST(any_count_comes_back_within_half_a_gap)
{
    const quantiser *q = &quantisers[_i];
    for (int k = 0; k < COUNTS; k++) {
        int64_t n = counts[k], blocks = qp_blocks(n, q->block), bytes = _i ? n : (n + 1) / 2;
        float *x = drawn(n, 11 + (uint64_t)n), y[1001], absmax[17];
        uint8_t codes[1001];
        memset(codes, 0xa5, sizeof codes);
        absmax[blocks] = y[n] = -7;
        q->encode(codes, absmax, x, n);
        q->decode(y, codes, absmax, 0, n);
        for (int64_t i = 0; i < n; i++) {
            float most = 0;
            for (int64_t j = i / q->block * q->block; j < n && j < (i / q->block + 1) * q->block;
                 j++)
                most = fmaxf(most, fabsf(x[j]));
            ck_assert(absmax[i / q->block] == most);
            double bound = (double)most * (q->half_gap + 2e-7); /* f32 roundings */
            if (fabs((double)(y[i] - x[i])) > bound)
                ck_abort_msg("%s, %ld of %ld: %g comes back as %g", q->name, (long)i, (long)n,
                             (double)x[i], (double)y[i]);
        }
        if (_i == 0 && n % 2) ck_assert_int_eq(codes[n / 2] & 15, 0);
        ck_assert(codes[bytes] == 0xa5 && absmax[blocks] == -7 && y[n] == -7);
        free(x);
    }
}
END_TEST

START_TEST(zeros_of_either_sign_come_back_as_zeros)
{
    const quantiser *q = &quantisers[_i];
    float x[300] = { 0 }, y[300], absmax[5];
    uint8_t codes[300];
    for (int i = 0; i < 300; i += 2) x[i] = -0.0f;
    x[299] = 1; /* the last block has more than zeros */
    q->encode(codes, absmax, x, 300);
    q->decode(y, codes, absmax, 0, 300);
    ck_assert(absmax[0] == 0 && absmax[qp_blocks(300, q->block) - 1] == 1);
    for (int i = 0; i < 299; i++) ck_assert(y[i] == 0 && !signbit(y[i]));
    ck_assert_double_eq_tol((double)y[299], 1, 1e-6);
}
END_TEST

START_TEST(a_block_that_is_not_finite_comes_back_as_nan)
{
    const quantiser *q = &quantisers[_i];
    static const float odd[] = { NAN, INFINITY, -INFINITY };
    for (int k = 0; k < 3; k++) {
        float *x = drawn(768, 3), y[768], absmax[12];
        uint8_t codes[768];
        x[256 + k] = odd[k]; /* block 1 of 256 and block 4 of 64 */
        q->encode(codes, absmax, x, 768);
        q->decode(y, codes, absmax, 0, 768);
        for (int i = 0; i < 768; i++) ck_assert(!isnan(y[i]) == (i / q->block != 256 / q->block));
        free(x);
    }
}
END_TEST

START_TEST(a_range_is_a_cut_of_the_whole)
{
    const quantiser *q = &quantisers[_i];
    enum { N = 700 };
    float *x = drawn(N, 9), whole[N], part[N], absmax[11];
    uint8_t codes[N];
    q->encode(codes, absmax, x, N);
    q->decode(whole, codes, absmax, 0, N);
    for (int first = 0; first < N; first += 13)
        for (int n = 0; first + n <= N; n += 37) {
            q->decode(part, codes, absmax, first, n);
            ck_assert(!n || !memcmp(part, whole + first, (size_t)n * sizeof *part));
        }
    free(x);
}
END_TEST

START_TEST(threads_change_no_byte)
{
    const quantiser *q = &quantisers[_i];
    enum { N = (1 << 17) + 77 };
    float *x = drawn(N, 21), *absmax[2];
    uint8_t *codes[2];
    for (int t = 0; t < 2; t++) {
        absmax[t] = calloc(N, sizeof(float));
        codes[t] = calloc(N, 1);
        omp_set_num_threads(t + 1);
        q->encode(codes[t], absmax[t], x, N);
    }
    ck_assert(!memcmp(codes[0], codes[1], N));
    ck_assert(!memcmp(absmax[0], absmax[1], N * sizeof(float)));
    for (int t = 0; t < 2; t++) {
        free(absmax[t]);
        free(codes[t]);
    }
    free(x);
}
END_TEST

/* The codes are those of absmax minus its mean, and what comes back is off by half a gap of the
   dynamic code at most. */
START_TEST(absmax_comes_back_from_eight_bits)
{
    static const int64_t blocks[] = { 0, 1, 2, 255, 256, 257, 600 };
    for (int k = 0; k < 7; k++) {
        int64_t m = blocks[k];
        float *absmax = drawn(m, 31), back[600], less[600], want2[3], absmax2[3];
        uint8_t q[600], want[600];
        double mean = 0;
        for (int64_t i = 0; i < m; i++) {
            absmax[i] = fabsf(absmax[i]) + 0.1f;
            mean += (double)absmax[i] / (double)m;
        }
        float *kept =
            memcpy(malloc((size_t)(m + 1) * sizeof *kept), absmax, (size_t)m * sizeof *kept);
        qp_absmax8 a = { .q = q, .absmax2 = absmax2 };
        qp_absmax8_encode(&a, absmax, m);
        qp_absmax8_decode(back, &a, 0, m);
        ck_assert_double_eq_tol((double)a.offset, mean, 1e-7); /* one rounding to f32 below 1 */
        for (int64_t i = 0; i < m; i++) less[i] = kept[i] - a.offset;
        qp_dynamic8_encode(want, want2, less, m);
        ck_assert(!m || !memcmp(q, want, (size_t)m));
        for (int64_t i = 0; i < m; i++) {
            double bound = (double)absmax2[i / 256] * 0.9 / 128 + 2e-7;
            ck_assert_double_le(fabs((double)(back[i] - kept[i])), bound);
        }
        free(absmax);
        free(kept);
    }
}
END_TEST

START_TEST(nf4_reads_an_absmax_of_eight_bits_range_by_range)
{
    enum { N = 64 * 300 + 5, M = 301 };
    float *x = drawn(N, 41), *want = malloc(N * sizeof *want), *got = malloc(N * sizeof *got),
          absmax[M], absmax2[2];
    uint8_t *packed = malloc(N), q[M];
    qp_nf4_encode(packed, absmax, x, N);
    qp_absmax8 a = { .q = q, .absmax2 = absmax2 };
    qp_absmax8_encode(&a, absmax, M);
    qp_absmax8_decode(absmax, &a, 0, M);
    qp_nf4_decode(want, packed, absmax, 0, N);
    static const int ranges[][2] = { { 0, N },      { 0, 0 },     { 63, 2 },      { 64, 64 },
                                     { 100, 5000 }, { 17000, 1 }, { N - 7, 7 },   { N, 0 },
                                     { 127, 2049 }, { 64, 2048 }, { 2047, 4097 }, { 16383, 400 } };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        int first = ranges[i][0], n = ranges[i][1];
        qp_nf4_decode8(got, packed, &a, first, n);
        ck_assert(!n || !memcmp(got, want + first, (size_t)n * sizeof *got));
    }
    free(x);
    free(want);
    free(got);
    free(packed);
}
END_TEST

Suite *suite_quantize(void)
{
    Suite *s = suite_create("quantize");
    TCase *t = tcase_create("all");
    tcase_add_test(t, nf4_levels_are_quantiles_of_the_normal_distribution);
    tcase_add_test(t, the_dynamic_code_has_twice_as_many_values_each_decade);
    tcase_add_test(t, an_exact_middle_goes_to_the_lower_code);
    tcase_add_test(t, int8_rounds_an_exact_half_to_even);
    tcase_add_loop_test(t, a_value_that_a_code_has_comes_back_to_the_bit, 0, QUANTISERS);
    tcase_add_loop_test(t, a_value_gets_the_nearest_code, 0, 1);
    tcase_add_loop_test(t, a_value_gets_the_nearest_code, 2, 3);
    tcase_add_loop_test(t, any_count_comes_back_within_half_a_gap, 0, QUANTISERS);
    tcase_add_loop_test(t, zeros_of_either_sign_come_back_as_zeros, 0, QUANTISERS);
    tcase_add_loop_test(t, a_block_that_is_not_finite_comes_back_as_nan, 0, QUANTISERS);
    tcase_add_loop_test(t, a_range_is_a_cut_of_the_whole, 0, QUANTISERS);
    tcase_add_loop_test(t, threads_change_no_byte, 0, QUANTISERS);
    tcase_add_test(t, absmax_comes_back_from_eight_bits);
    tcase_add_test(t, nf4_reads_an_absmax_of_eight_bits_range_by_range);
    suite_add_tcase(s, t);
    return s;
}
