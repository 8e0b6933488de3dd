/* Conversions between storages: exactly as IEEE, ggml and PyTorch define them. */
#include "autograd/cpu/dispatch.h"
#include "autograd/cpu/quant.h"
#include "autograd/cpu/weight.h"
#include "base/gguf.h"
#include "base/safetensors.h"
#include "tests/suites.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static uint32_t bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static float from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* Check writes a record for every assertion that holds; these are half a million. */
static void same(uint32_t got, uint32_t want)
{
    if (got != want) ck_abort_msg("%08x, want %08x", got, want);
}

/* The value of a half by its definition, in f64. */
static double half_value(uint16_t h)
{
    int exponent = h >> 10 & 31, fraction = h & 1023;
    double v = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    if (exponent == 31) v = fraction ? NAN : INFINITY;
    return h & 0x8000 ? -v : v;
}

START_TEST(every_half_has_its_value_and_comes_back)
{
    for (uint32_t h = 0; h < 0x10000; h++) {
        double want = half_value((uint16_t)h);
        float got = qp_from_f16((uint16_t)h);
        if (isnan(want)) {
            ck_assert(isnan(got));
            ck_assert(isnan(qp_from_f16(qp_to_f16(got))));
        } else {
            if ((double)got != want || !signbit(got) != !signbit(want))
                ck_abort_msg("half %04x", h);
            same(qp_to_f16(got), h);
        }
    }
}
END_TEST

/* Between neighbours a and b: below the middle to a, above to b, the middle to the even one. */
START_TEST(rounding_to_half_is_to_nearest_even)
{
    for (uint32_t h = 0; h < 0x7bff; h++) {
        double a = half_value((uint16_t)h), b = half_value((uint16_t)(h + 1));
        float middle = (float)((a + b) / 2); /* exact: one bit more than a half has */
        same(qp_to_f16(middle), h & 1 ? h + 1 : h);
        same(qp_to_f16(nextafterf(middle, -INFINITY)), h);
        same(qp_to_f16(nextafterf(middle, INFINITY)), h + 1);
        same(qp_to_f16(-middle), 0x8000 | (h & 1 ? h + 1 : h));
    }
    same(qp_to_f16(65519.996f), 0x7bff);
    same(qp_to_f16(65520.0f), 0x7c00);
    same(qp_to_f16(1e30f), 0x7c00);
    same(qp_to_f16(-INFINITY), 0xfc00);
    same(qp_to_f16(1e-30f), 0);
}
END_TEST

START_TEST(rounding_to_bf16_is_to_nearest_even_and_keeps_nan)
{
    for (uint32_t h = 0; h < 0x7f80; h++) {
        uint32_t a = h << 16, middle = a | 0x8000;
        uint16_t even = (uint16_t)(h & 1 ? h + 1 : h);
        same(qp_to_bf16(from_bits(a)), h);
        same(qp_to_bf16(from_bits(middle)), even);
        same(qp_to_bf16(from_bits(middle - 1)), h);
        same(qp_to_bf16(from_bits(middle + 1)), h + 1);
        same(qp_to_bf16(from_bits(0x80000000 | middle)), 0x8000 | even);
        same(bits(qp_from_bf16((uint16_t)h)), a);
    }
    uint32_t nans[] = { 0x7f800001, 0x7fffffff, 0xffffffff, 0xff800001, 0x7fc00000 };
    for (int i = 0; i < 5; i++) ck_assert(isnan(qp_from_bf16(qp_to_bf16(from_bits(nans[i])))));
    same(qp_to_bf16(INFINITY), 0x7f80);
    same(qp_to_bf16(from_bits(0x7f7fffff)), 0x7f80); /* the largest f32 rounds up */
}
END_TEST

/* The i-th build of the kernels; false where this CPU has fewer. */
enum { BUILDS = 4 };
static bool choose(int i)
{
    if (!qp_cpu_build(i)) return false;
    setenv("QP_ISA", qp_cpu_build(i), 1);
    return true;
}

/* Panels that begin and end anywhere, inside blocks too, are cuts of the whole. */
START_TEST(a_panel_is_a_cut_of_the_whole_matrix)
{
    if (!choose(_i)) return;
    enum { ROWS = 5, COLS = 2208, N = ROWS * COLS };
    static const qp_storage from[] = { QP_F64, QP_F32, QP_BF16, QP_F16, QP_Q4_0, QP_Q4_1, QP_Q8_0 };
    static const int64_t cut[][4] = { { 0, 5, 0, COLS },
                                      { 1, 3, 17, 2100 },
                                      { 4, 1, 2207, 1 },
                                      { 2, 2, 64, 31 },
                                      { 0, 5, 5, 1030 } };
    for (size_t f = 0; f < sizeof from / sizeof *from; f++)
        for (qp_storage to = QP_F64; to < QP_NCOMPUTE; to++) {
            uint8_t *data = malloc(qp_storage_bytes(from[f], N));
            for (size_t i = 0; i < qp_storage_bytes(from[f], N); i++)
                data[i] = (uint8_t)(i * 37 % 251 & 0x3f);
            char *whole = malloc(qp_storage_bytes(to, N)),
                 *panel = malloc(qp_storage_bytes(to, N + 5 * 7));
            qp_weight_convert(whole, to, data, from[f], N);
            qp_tensor w = { .storage = from[f], .ndim = 2, .shape = { ROWS, COLS }, .data = data };
            for (size_t c = 0; c < sizeof cut / sizeof *cut; c++) {
                int64_t r0 = cut[c][0], rows = cut[c][1], k0 = cut[c][2], cols = cut[c][3],
                        ld = cols + 7;
                qp_weight_panel(panel, to, ld, &w, r0, rows, k0, cols);
                for (int64_t i = 0; i < rows; i++)
                    ck_assert_mem_eq(panel + qp_storage_bytes(to, i * ld),
                                     whole + qp_storage_bytes(to, (r0 + i) * COLS + k0),
                                     qp_storage_bytes(to, cols));
            }
            free(data);
            free(whole);
            free(panel);
        }
}
END_TEST

static char *golden(const char *name)
{
    static char path[1000];
    const char *shared = getenv("QP_SHARED");
    snprintf(path, sizeof path, "%s/golden/gguf/%s", shared ? shared : "../shared", name);
    FILE *f = fopen(path, "rb");
    if (!f) {
        fprintf(stderr, "test_quant: NOT TESTED against ggml's values: no %s\n", path);
        return NULL;
    }
    fclose(f);
    return path;
}

/* ggml's own values of its own blocks, and its rounding of the sources to 16 bits. */
START_TEST(blocks_have_the_values_that_ggml_gives_them)
{
    if (!choose(_i)) return;
    qp_err err = { 0 };
    qp_gguf g = { 0 };
    qp_safetensors st = { 0 };
    char *path = golden("tensors.gguf");
    if (!path) return;
    ck_assert_msg(qp_gguf_open(&g, path, &err) == QP_OK, "%s", err.msg);
    ck_assert_msg(qp_safetensors_open(&st, golden("tensors_expected.safetensors"), NULL, &err) ==
                      QP_OK,
                  "%s", err.msg);
    int seen = 0;
    for (int64_t i = 0; i < g.n_tensors; i++) {
        const qp_file_tensor *t = &g.tensor[i], *want = qp_safetensors_find(&st, t->name);
        if (t->storage > QP_Q8_0) continue; /* a block type that is not built */
        ck_assert_msg(want && want->numel == t->numel, "%s", t->name);
        float *got = malloc((size_t)t->numel * sizeof *got);
        qp_weight_convert(got, QP_F32, t->data, t->storage, t->numel);
        ck_assert_msg(memcmp(got, want->data, want->bytes) == 0, "%s differs", t->name);
        free(got);
        seen++;
        char source[100];
        snprintf(source, sizeof source, "source.%s", t->name);
        const qp_file_tensor *from = qp_safetensors_find(&st, source);
        if (!from || (t->storage != QP_F16 && t->storage != QP_BF16)) continue;
        uint16_t *half = malloc((size_t)t->numel * sizeof *half);
        qp_weight_convert(half, t->storage, from->data, from->storage, from->numel);
        ck_assert_msg(memcmp(half, t->data, t->bytes) == 0, "%s rounds otherwise", t->name);
        free(half);
    }
    ck_assert_int_eq(seen, 6); /* q4_0, q4_1, q8_0, f16, bf16, f32 */
    qp_gguf_release(&g);
    qp_safetensors_release(&st);
}
END_TEST

Suite *suite_quant(void)
{
    Suite *s = suite_create("quant");
    TCase *t = tcase_create("all");
    tcase_add_test(t, every_half_has_its_value_and_comes_back);
    tcase_add_test(t, rounding_to_half_is_to_nearest_even);
    tcase_add_test(t, rounding_to_bf16_is_to_nearest_even_and_keeps_nan);
    tcase_add_loop_test(t, a_panel_is_a_cut_of_the_whole_matrix, 0, BUILDS);
    tcase_add_loop_test(t, blocks_have_the_values_that_ggml_gives_them, 0, BUILDS);
    suite_add_tcase(s, t);
    return s;
}
