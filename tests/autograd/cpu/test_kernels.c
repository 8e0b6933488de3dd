/* The loop kernels below the ops: e^x, conversions, sums, losses, AdamW. Suite ops has the rest. */
#include "autograd/cpu/exp.h"
#include "autograd/cpu/quant.h"
#include "autograd/work.h"
#include "tests/suites.h"
#include "tests/support/gradcheck.h"
#include <math.h>
#include <omp.h>
#include <string.h>

enum { ROWS = 37, COLS = 129, LEN = ROWS * COLS };

/* Every 1021st float: all exponents, both signs, subnormals, NaNs. Worst seen over all of them:
 * 0.99 ulp. */
START_TEST(exponential_is_within_2_ulp_of_libm)
{
    for (uint64_t u = 0; u <= UINT32_MAX; u += 1021) {
        const float x = qp_f32_from_bits((uint32_t)u), y = qp_expf(x);
        const double exact = exp((double)x);
        if (isnan(x)) {
            ck_assert_float_nan(y);
        } else if (exact > 0x1.ffffffp127) {
            ck_assert_float_infinite(y);
        } else {
            const double ulp = exact < 0x1p-126 ? 0x1p-149 : ldexp(1, ilogb(exact) - 23);
            if (fabs((double)y - exact) >= 2 * ulp)
                ck_abort_msg("e^%a is %a, not %a", (double)x, (double)y, exact);
        }
    }
    ck_assert_float_eq(qp_expf(0), 1);
    ck_assert_float_eq(qp_expf(-INFINITY), 0);
    ck_assert_float_eq(qp_expf(INFINITY), INFINITY);
}
END_TEST

/* What attention needs of its own: no overflow, and nothing where the result would be below
   2^-126.5. Worst seen over every seventh: 1.22 ulp. */
START_TEST(power_of_two_is_within_2_ulp_of_libm_or_nothing)
{
    for (uint64_t u = 0; u <= UINT32_MAX; u += 1021) {
        const float x = qp_f32_from_bits((uint32_t)u), y = qp_exp2f_neg(x);
        if (x >= 127) continue;
        if (isnan(x)) {
            ck_assert_float_nan(y);
            continue;
        }
        if (x <= -126.5f) {
            ck_assert_float_eq(y, 0);
            continue;
        }
        const double exact = exp2((double)x);
        const double ulp = exact < 0x1p-126 ? 0x1p-149 : ldexp(1, ilogb(exact) - 23);
        if (fabs((double)y - exact) >= 2 * ulp)
            ck_abort_msg("2^%a is %a, not %a", (double)x, (double)y, exact);
    }
    ck_assert_float_eq(qp_exp2f_neg(0), 1);
    ck_assert_float_eq(qp_exp2f_neg(-INFINITY), 0);
}
END_TEST

/* Every 16-bit pattern through f64, f32 and back; NaN stays NaN. */
START_TEST(sixteen_bit_types_survive_the_way_through_every_type)
{
    enum { ALL = 1 << 16 };
    static uint16_t bits[ALL], back[ALL];
    static double wide[ALL];
    static const float nan_that_could_round_to_infinity = NAN;
    for (int i = 0; i < ALL; i++) bits[i] = (uint16_t)i;
    for (int s = QP_BF16; s <= QP_F16; s++)
        for (int t = QP_F64; t <= QP_F32; t++) {
            const qp_kernels *k = qp_cpu_backend()->k[t];
            k->cast_in(wide, 0, bits, (qp_storage)s, ALL);
            k->cast_out(back, (qp_storage)s, 0, wide, ALL);
            for (int i = 0; i < ALL; i++) {
                const int magnitude = i & 0x7fff, infinity = s == QP_BF16 ? 0x7f80 : 0x7c00;
                if (magnitude > infinity)
                    ck_assert_double_nan(test_get(wide, (qp_storage)t, i));
                else if (back[i] != bits[i])
                    ck_abort_msg("%s %04x came back as %04x", qp_storages[s].name, i, back[i]);
            }
        }
    uint16_t b;
    qp_cpu_backend()->k[QP_BF16]->cast_in(&b, 0, &nan_that_could_round_to_infinity, QP_F32, 1);
    ck_assert((b & 0x7fff) > 0x7f80);
    const uint32_t last_nan = 0xffffffff;
    qp_cpu_backend()->k[QP_BF16]->cast_in(&b, 0, &last_nan, QP_F32, 1);
    ck_assert((b & 0x7fff) > 0x7f80);
}
END_TEST

static double value_of(uint16_t bits, qp_storage s)
{
    return (double)(s == QP_BF16 ? qp_from_bf16(bits) : qp_from_f16(bits));
}

/* Whatever the way, the 16-bit number chosen is the nearest, and of two equally near the even one.
   The values lie on quarters between neighbours, halves included; found by comparing distances, not
   by the bits. */
static void check_nearest(uint16_t got, double v, qp_storage s)
{
    const double d = fabs(value_of(got, s) - v);
    for (int side = -1; side <= 1; side += 2) {
        const double other = fabs(value_of((uint16_t)(got + side), s) - v);
        if (d > other || (d == other && (got & 1)))
            ck_abort_msg("%a as %s became %04x", v, qp_storages[s].name, got);
    }
}

START_TEST(rounding_is_to_nearest_even)
{
    enum { COUNT = 4 * 0x7000 };
    static double in64[COUNT];
    static float in32[COUNT];
    static uint16_t out[COUNT];
    qp_storage type;
    if (!test_build(_i, &type)) return;
    const qp_kernels *const *k = qp_cpu_backend()->k;
    for (int s = QP_BF16; s <= QP_F16; s++) {
        const qp_storage to = (qp_storage)s;
        for (int i = 0; i < COUNT; i++) {
            const uint16_t low = (uint16_t)(i / 4 + 1);
            in64[i] = value_of(low, to) +
                      i % 4 * (value_of((uint16_t)(low + 1), to) - value_of(low, to)) / 4;
            in32[i] = (float)in64[i];
        }
        if (type != QP_BF16) {
            k[type]->cast_out(out, to, 0, type == QP_F64 ? (void *)in64 : in32, COUNT);
        } else {
            if (to != QP_BF16) continue;
            k[QP_BF16]->cast_in(out, 0, in32, QP_F32, COUNT);
        }
        for (int i = 0; i < COUNT; i++) check_nearest(out[i], in64[i], to);
    }
}
END_TEST

START_TEST(beta_0_never_reads_and_beta_1_adds)
{
    qp_storage type;
    if (!test_build(_i, &type)) return;
    qp_ctx c;
    test_ctx(&c, NULL);
    const qp_kernels *k = c.be->k[type];
    qp_tensor *x = test_leaf(&c, type, 1, (int64_t[]){ LEN }, 1), *y = qp_like(&c, x);
    for (int64_t i = 0; i < LEN; i++) test_set(y->data, type, i, NAN);
    k->axpy(y->data, 0, x->data, 2, LEN);
    for (int64_t i = 0; i < LEN; i++)
        ck_assert_double_eq(test_get(y->data, type, i), 2 * test_get(x->data, type, i));
    k->axpy(y->data, 1, x->data, -2, LEN);
    for (int64_t i = 0; i < LEN; i++) ck_assert_double_eq(test_get(y->data, type, i), 0);
    qp_ctx_release(&c);
}
END_TEST

static qp_tensor *rmsnorm(qp_ctx *c, qp_tensor **in) { return qp_rmsnorm(c, in[0], in[2], 1e-5); }
static qp_tensor *swiglu(qp_ctx *c, qp_tensor **in) { return qp_swiglu(c, in[0], in[1]); }
static qp_tensor *add(qp_ctx *c, qp_tensor **in) { return qp_add(c, in[0], in[1]); }
static qp_tensor *linear(qp_ctx *c, qp_tensor **in) { return qp_linear(c, in[0], in[3]); }
enum { INPUTS = 4, WORDS = 40 };

static void inputs(qp_ctx *c, qp_storage type, qp_tensor *in[INPUTS])
{
    in[0] = test_leaf(c, type, 2, (int64_t[]){ ROWS, COLS }, 1);
    in[1] = test_leaf(c, type, 2, (int64_t[]){ ROWS, COLS }, 2);
    in[2] = test_param(c, type, 1, (int64_t[]){ COLS }, 3);
    in[3] = test_param(c, type, 2, (int64_t[]){ WORDS, COLS }, 4);
}

/* Chunks of the loss on given logits. */
START_TEST(losses_have_the_bits_of_the_plain_build)
{
    extern const qp_kernels qp_kernels_f32_base;
    enum { CHUNK = COLS };
    qp_storage type;
    if (!test_build(_i, &type) || type != QP_F32) return;
    qp_ctx c;
    test_ctx(&c, NULL);
    const float *logits = test_leaf(&c, QP_F32, 2, (int64_t[]){ ROWS, COLS }, 1)->data;
    int32_t rows[ROWS];
    float top[2][ROWS], sum[2][ROWS], hit[2][ROWS], p[2][2 * LEN], dx[2][ROWS], z[LEN];
    for (int i = 0; i < 2; i++) {
        const qp_kernels *k = i ? &qp_kernels_f32_base : c.be->k[QP_F32];
        for (int r = 0; r < ROWS; r++) dx[i][r] = 1, rows[r] = r * 6;
        for (int chunk = 0; chunk < 2; chunk++) {
            /* The second's are so much larger in some rows that the sums are scaled. */
            for (int j = 0; j < LEN; j++) z[j] = logits[j] * (chunk && j / COLS % 3 ? 100 : 1);
            k->xent_chunk(top[i], sum[i], hit[i], p[i] + chunk * LEN, dx[i], z, rows, chunk * CHUNK,
                          ROWS, CHUNK, 1);
        }
    }
    ck_assert_mem_eq(top[0], top[1], sizeof *top);
    ck_assert_mem_eq(sum[0], sum[1], sizeof *sum);
    ck_assert_mem_eq(hit[0], hit[1], sizeof *hit);
    ck_assert_mem_eq(p[0], p[1], sizeof *p);
    ck_assert_mem_eq(dx[0], dx[1], sizeof *dx);
    qp_ctx_release(&c);
}
END_TEST

/* A norm's weight may have another type than x. */
START_TEST(norm_reads_weights_of_any_type)
{
    qp_storage type;
    if (!test_build(_i, &type)) return;
    qp_ctx c;
    test_ctx(&c, NULL);
    c.recording = false;
    qp_tensor *in[INPUTS];
    inputs(&c, type, in);
    qp_tensor *y = rmsnorm(&c, in);
    for (int s = QP_F64; s < QP_NCOMPUTE; s++) {
        qp_tensor *w = test_leaf(&c, (qp_storage)s, 1, (int64_t[]){ COLS }, 3);
        qp_tensor *z = qp_rmsnorm(&c, in[0], w, 1e-5);
        ck_assert_mem_eq(y->data, z->data, qp_value_bytes(y));
    }
    qp_ctx_release(&c);
}
END_TEST

static double row_alone(qp_ctx *c, test_op op, qp_tensor **in, const qp_tensor *y, int64_t i)
{
    qp_tensor *one[INPUTS];
    memcpy(one, in, sizeof one);
    for (int k = 0; k < 2; k++) {
        one[k] = qp_new(c, in[k]->storage, 2, (int64_t[]){ 1, COLS });
        const size_t bytes = qp_value_bytes(one[k]);
        memcpy(one[k]->data, (char *)in[k]->data + (size_t)i * bytes, bytes);
    }
    const size_t bytes = qp_storage_bytes(y->storage, qp_cols(y));
    return memcmp(op(c, one)->data, (char *)y->data + (size_t)i * bytes, bytes) ? 1 : 0;
}

START_TEST(row_alone_equals_row_among_many)
{
    static const test_op row_ops[] = { rmsnorm, swiglu, add, linear };
    qp_storage type;
    if (!test_build(_i, &type)) return;
    qp_ctx c;
    test_ctx(&c, NULL);
    c.recording = false;
    qp_tensor *in[INPUTS];
    inputs(&c, type, in);
    for (int o = 0; o < 4; o++) {
        qp_tensor *y = row_ops[o](&c, in);
        for (int64_t i = 0; i < ROWS; i++)
            ck_assert_msg(row_alone(&c, row_ops[o], in, y, i) == 0, "op %d, row %d", o, (int)i);
    }
    qp_ctx_release(&c);
}
END_TEST

static double sum_of_squares(const qp_kernels *k, const void *g, void *work, int64_t n)
{
    double out;
    k->sumsq(&out, work, g, n);
    return out;
}

/* f32 squares summed in f64: exact to 1e-12 where an f32 sum would be off by 1e-5; 1e30 does not
 * overflow. */
START_TEST(sum_of_squares_is_exact_and_independent_of_threads)
{
    enum { N = 100003 };
    static float g[N];
    static double work[N / QP_SUM_BLOCK + 1];
    const qp_kernels *k = qp_cpu_backend()->k[QP_F32];
    long double exact = 0;
    for (int i = 0; i < N; i++) {
        g[i] = (float)qp_rng_normal(1, 0, (uint64_t)i);
        exact += (long double)g[i] * (long double)g[i];
    }
    ck_assert_uint_eq(qp_sumsq_work(N), sizeof work);
    omp_set_num_threads(1);
    const double one = sum_of_squares(k, g, work, N);
    ck_assert_double_eq_tol(one / (double)exact, 1, 1e-12);
    for (int t = 2; t < 6; t++) {
        omp_set_num_threads(t);
        ck_assert_double_eq(sum_of_squares(k, g, work, N), one);
    }
    g[7] = 1e30f;
    ck_assert_double_eq_tol(sum_of_squares(k, g, work, N) / 1e60, 1, 1e-6);
    g[7] = NAN;
    ck_assert_double_nan(sum_of_squares(k, g, work, N));
    ck_assert_double_eq(sum_of_squares(k, g, work, 0), 0);
}
END_TEST

/* Three steps written out in f64, as torch.optim.AdamW defines them; f32 follows within a few
 * roundings. */
START_TEST(adamw_follows_its_definition)
{
    enum { N = 1003 };
    qp_storage type;
    if (!test_build(_i, &type)) return;
    qp_ctx c;
    test_ctx(&c, NULL);
    const qp_storage sum = qp_sum_storage(type);
    qp_tensor *p = test_leaf(&c, sum, 1, (int64_t[]){ N }, 1), *m = qp_like(&c, p),
              *v = qp_like(&c, p);
    qp_tensor *value = type == sum ? p : qp_new(&c, type, 1, p->shape);
    double ep[N], em[N] = { 0 }, ev[N] = { 0 };
    for (int i = 0; i < N; i++) {
        ep[i] = test_get(p->data, sum, i);
        test_set(m->data, sum, i, 0);
        test_set(v->data, sum, i, 0);
    }
    for (int t = 1; t <= 3; t++) {
        qp_tensor *g = test_leaf(&c, sum, 1, (int64_t[]){ N }, (uint64_t)(10 + t));
        const qp_adamw_args a = { 1e-2, 0.9, 0.999, 1e-8, 0.1, 1 - pow(0.9, t), 1 - pow(0.999, t),
                                  0.5 };
        c.be->k[type]->adamw(p->data, m->data, v->data, value->data, g->data, &a, N);
        for (int i = 0; i < N; i++) {
            const double gi = test_get(g->data, sum, i) * 0.5;
            ep[i] -= 1e-2 * 0.1 * ep[i];
            em[i] = 0.9 * em[i] + 0.1 * gi;
            ev[i] = 0.999 * ev[i] + 0.001 * gi * gi;
            ep[i] -= 1e-2 / a.correction1 * em[i] / (sqrt(ev[i]) / sqrt(a.correction2) + 1e-8);
        }
    }
    const double tolerance = type == QP_F64 ? 1e-15 : 1e-6;
    ck_assert_double_lt(test_difference(p->data, sum, ep, QP_F64, N), tolerance);
    ck_assert_double_lt(test_difference(m->data, sum, em, QP_F64, N), tolerance);
    ck_assert_double_lt(test_difference(v->data, sum, ev, QP_F64, N), tolerance);
    for (int i = 0; i < N; i++) {
        uint16_t rounded;
        if (type == QP_BF16) {
            test_set(&rounded, QP_BF16, 0, test_get(p->data, sum, i));
            ck_assert_double_eq(test_get(value->data, type, i), test_get(&rounded, QP_BF16, 0));
        }
    }
    qp_ctx_release(&c);
}
END_TEST

Suite *suite_kernels(void)
{
    Suite *s = suite_create("kernels");
    TCase *t = tcase_create("kernels");
    tcase_add_test(t, exponential_is_within_2_ulp_of_libm);
    tcase_add_test(t, power_of_two_is_within_2_ulp_of_libm_or_nothing);
    tcase_add_test(t, sixteen_bit_types_survive_the_way_through_every_type);
    tcase_add_test(t, sum_of_squares_is_exact_and_independent_of_threads);
    tcase_add_loop_test(t, rounding_is_to_nearest_even, 0, TEST_BUILDS);
    tcase_add_loop_test(t, beta_0_never_reads_and_beta_1_adds, 0, TEST_BUILDS);
    tcase_add_loop_test(t, losses_have_the_bits_of_the_plain_build, 0, TEST_BUILDS);
    tcase_add_loop_test(t, norm_reads_weights_of_any_type, 0, TEST_BUILDS);
    tcase_add_loop_test(t, row_alone_equals_row_among_many, 0, TEST_BUILDS);
    tcase_add_loop_test(t, adamw_follows_its_definition, 0, TEST_BUILDS);
    suite_add_tcase(s, t);
    return s;
}
