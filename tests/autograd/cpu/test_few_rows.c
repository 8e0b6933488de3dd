/* Few rows take another way than many: unpacked in registers, as decoding meets them. A row must
   have the bits there that it has among many, for every storage of a weight and every build. */
#include "autograd/backend.h"
#include "autograd/cpu/dispatch.h"
#include "autograd/cpu/product.h"
#include "autograd/cpu/quant.h"
#include "autograd/cpu/weight.h"
#include "autograd/work.h"
#include "base/rng.h"
#include "tests/suites.h"
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { MANY = 24, FIRST = 3 };

static const qp_storage storages[] = { QP_F32, QP_BF16, QP_F16, QP_Q8_0, QP_Q4_0, QP_Q4_1 };
enum { STORAGES = sizeof storages / sizeof *storages };

/* Columns, depth: whole and broken sixteens, pieces of columns, steps of the depth. */
static const int64_t shapes[][2] = { { 16, 32 },   { 17, 96 },   { 37, 129 }, { 21, 1 },
                                     { 33, 2080 }, { 1100, 64 }, { 600, 47 }, { 48, 4128 } };
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* A build, `alone` with the products of CPUs that have no more than it: v4's f32 product would
   serve bf16 there. False where the CPU lacks the build, or `alone` says nothing new. */
static bool choose_build(int i, bool alone)
{
    const char *isa = qp_cpu_build(i);
    if (!isa || (alone && strcmp(isa, "v4"))) return false;
    setenv("QP_ISA", isa, 1);
    if (alone) setenv("QP_PRODUCT", "loop v4", 1);
    return true;
}

static double draw(uint64_t seed, int64_t i)
{
    return qp_rng_uniform(seed, 0, (uint64_t)i) * 2 - 1;
}

static void *activations(qp_storage s, int64_t n)
{
    char *x = malloc(qp_storage_bytes(s, n));
    for (int64_t i = 0; i < n; i++) {
        const float v = (float)draw(1, i);
        const uint16_t b = qp_to_bf16(v);
        memcpy(x + qp_storage_bytes(s, i), s == QP_F32 ? (const void *)&v : &b,
               qp_storage_bytes(s, 1));
    }
    return x;
}

/* Random bits make blocks; their scales and minima are small numbers, some below f16's normal ones.
 */
static void *weights(qp_storage s, int64_t n)
{
    const int64_t block = qp_storages[s].block, bytes = qp_storages[s].bytes;
    uint8_t *w = malloc(qp_storage_bytes(s, n));
    for (int64_t i = 0; i < n / block * bytes; i++)
        w[i] = (uint8_t)qp_rng_below(2, 0, (uint64_t)i, 256);
    for (int64_t b = 0; b < n / block; b++) {
        const float v = (float)(draw(3, b) * (b % 7 == 0 ? 0x1p-16 : 0.1));
        const uint16_t half[] = { qp_to_f16(v), qp_to_f16(-2 * v) }, narrow = qp_to_bf16(v);
        if (s == QP_F32)
            memcpy(w + b * bytes, &v, sizeof v);
        else
            memcpy(w + b * bytes, s == QP_BF16 ? &narrow : half, s == QP_Q4_1 ? 4 : 2);
    }
    return w;
}

typedef struct {
    const qp_kernels *k;
    qp_storage compute, out;
    qp_tensor w;
    int64_t m, depth, r; /* r: depth of a second pair; 0: none */
    const char *x, *h, *b;
    void *work;
    double beta, alpha;
} trial;

static char *product(const trial *t, int64_t first, int64_t n)
{
    char *y = malloc(qp_storage_bytes(t->out, n * t->m));
    for (int64_t i = 0; i < n; i++) /* what beta adds belongs to the row */
        for (int64_t j = 0; j < t->m; j++) {
            const float v = (float)((first + i) * 3 + j % 5);
            const uint16_t b = qp_to_bf16(v);
            memcpy(y + qp_storage_bytes(t->out, i * t->m + j),
                   t->out == QP_F32 ? (const void *)&v : &b, qp_storage_bytes(t->out, 1));
        }
    t->k->matmul_nt_more(y, t->out, t->beta, t->alpha,
                         t->x + qp_storage_bytes(t->compute, first * t->depth), &t->w, FIRST,
                         t->h + qp_storage_bytes(t->compute, first * t->r), t->b, n, t->m, t->depth,
                         t->r, t->work);
    return y;
}

static void rows_have_the_bits_of_many(trial *t)
{
    const size_t row = qp_storage_bytes(t->out, t->m);
    omp_set_num_threads(1);
    char *many = product(t, 0, MANY);
    for (int64_t n = 1; n <= QP_FEW_ROWS + 1; n++)
        for (int64_t first = 0; first + n <= MANY; first += 13) {
            omp_set_num_threads((int)(1 + (n + first) % 3));
            char *some = product(t, first, n);
            ck_assert_msg(!memcmp(some, many + (size_t)first * row, (size_t)n * row),
                          "%lld rows from %lld of %s, %lld x %lld, in %s to %s", (long long)n,
                          (long long)first, qp_storages[t->w.storage].name, (long long)t->m,
                          (long long)t->depth, qp_storages[t->compute].name,
                          qp_storages[t->out].name);
            free(some);
        }
    free(many);
}

/* _i: build, alone or not, compute type, storage. */
START_TEST(a_row_among_few_has_its_bits_among_many)
{
    const qp_storage storage = storages[_i % STORAGES],
                     compute = _i / STORAGES % 2 ? QP_BF16 : QP_F32;
    if (!choose_build(_i / STORAGES / 4, _i / STORAGES / 2 % 2)) return;
    omp_set_num_threads(3);
    trial t = { .k = qp_cpu_backend()->k[compute], .compute = compute };
    t.work = aligned_alloc(64, qp_matmul_work());
    for (int s = 0; s < SHAPES; s++) {
        t.m = shapes[s][0], t.depth = shapes[s][1];
        if (t.depth % qp_storages[storage].block) continue;
        t.w = (qp_tensor){ .storage = storage, .ndim = 2, .shape = { t.m + FIRST, t.depth } };
        t.w.data = weights(storage, (t.m + FIRST) * t.depth);
        char *x = activations(compute, MANY * t.depth);
        t.x = t.h = t.b = x;
        t.out = QP_F32, t.beta = 0, t.alpha = 1;
        rows_have_the_bits_of_many(&t);
        t.out = compute, t.beta = 1, t.alpha = 0.3; /* no power of two: it rounds */
        rows_have_the_bits_of_many(&t);
        for (t.r = 5; t.r < 600; t.r += 512) { /* few rows take no more than 512 */
            char *h = activations(compute, MANY * t.r), *b = activations(compute, t.m * t.r);
            t.h = h, t.b = b;
            rows_have_the_bits_of_many(&t);
            free(h);
            free(b);
        }
        t.r = 0;
        free(t.w.data);
        free(x);
    }
    free(t.work);
}
END_TEST

#ifdef __x86_64__
/* Written out; for bf16 compute a weight's values are rounded first. _i: compute type, storage. */
START_TEST(in_f32_an_element_is_a_chain_of_fused_multiply_adds)
{
    const qp_storage storage = storages[_i % STORAGES], compute = _i / STORAGES ? QP_BF16 : QP_F32;
    if (!__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq")) return;
    qp_few_fn *few = qp_few_f32(storage, compute);
    for (int s = 0; s < SHAPES; s++) {
        const int64_t m = shapes[s][0], depth = shapes[s][1], values = (m + FIRST) * depth;
        if (depth % qp_storages[storage].block) continue;
        qp_tensor w = { .storage = storage, .ndim = 2, .shape = { m + FIRST, depth } };
        w.data = weights(storage, values);
        float *x = (float *)activations(QP_F32, QP_FEW_ROWS * depth),
              *plain = malloc((size_t)values * sizeof *plain);
        void *rounded = malloc(qp_storage_bytes(compute, values));
        qp_weight_convert(rounded, compute, w.data, storage, values);
        qp_weight_convert(plain, QP_F32, rounded, compute, values);
        for (int64_t n = 1; n <= QP_FEW_ROWS; n += n < 3 ? 1 : 5) {
            float *c = malloc((size_t)(n * m) * sizeof *c);
            few(&(qp_few){ .rows = n,
                           .cols = m,
                           .depth = depth,
                           .a = x,
                           .lda = depth,
                           .w = &w,
                           .w0 = FIRST,
                           .c = c,
                           .ldc = m });
            for (int64_t i = 0; i < n * m; i++) {
                float sum = 0;
                for (int64_t k = 0; k < depth; k++)
                    sum = fmaf(x[i / m * depth + k], plain[(FIRST + i % m) * depth + k], sum);
                ck_assert_msg(c[i] == sum, "%lld rows of %s: element %lld is %a, not %a",
                              (long long)n, qp_storages[storage].name, (long long)i, (double)c[i],
                              (double)sum);
            }
            free(c);
        }
        free(w.data);
        free(x);
        free(plain);
        free(rounded);
    }
}
END_TEST
#endif

/* Element (i, j) of t's product in f64, and the sum of what it is made of without signs. */
static double exact(const trial *t, const double *w, int64_t i, int64_t j, double *size)
{
    double sum = 0;
    *size = 0;
    for (int64_t k = 0; k < t->depth; k++) {
        const double v = (double)qp_from_bf16(((const uint16_t *)t->x)[i * t->depth + k]) *
                         w[(FIRST + j) * t->depth + k];
        sum += v;
        *size += fabs(v);
    }
    return sum;
}

/* In f32 any order of sums, and the scale after each block, errs by at most (depth + 1) eps of the
   terms' sizes. Values rounded to bf16 would err by some 2^-10 / sqrt(depth), ten times that in the
   shapes of depth 96 and less. */
static void product_is_exact(const trial *t, const double *w, int64_t n)
{
    char *y = product(t, 0, n);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < t->m; j++) {
            double size;
            const double right = exact(t, w, i, j, &size), y_ij = ((float *)y)[i * t->m + j];
            ck_assert_msg(fabs(y_ij - right) <= (double)(t->depth + 1) * 0x1p-23 * size,
                          "%lld rows of %s, %lld x %lld: %g, not %g", (long long)n,
                          qp_storages[t->w.storage].name, (long long)t->m, (long long)t->depth,
                          y_ij, right);
        }
    free(y);
}

START_TEST(whole_numbers_of_blocks_are_not_rounded)
{
    const qp_storage storage = _i ? QP_Q8_0 : QP_Q4_0;
    setenv("QP_PRODUCT", "loop avx512", 1); /* where the CPU has it, even beside AMX */
    const qp_product *p = qp_product_for(QP_BF16);
    if (strcmp(p->name, "loop avx512_bf16")) return;
    ck_assert(p->reads(storage) && !p->reads(QP_BF16));
    trial t = { .k = qp_cpu_backend()->k[QP_BF16],
                .compute = QP_BF16,
                .out = QP_F32,
                .alpha = 1,
                .work = aligned_alloc(64, qp_matmul_work()) };
    for (int s = 0; s < SHAPES; s++) {
        t.m = shapes[s][0], t.depth = shapes[s][1];
        if (t.depth % qp_storages[storage].block) continue;
        const int64_t count = (t.m + FIRST) * t.depth;
        t.w = (qp_tensor){ .storage = storage, .ndim = 2, .shape = { t.m + FIRST, t.depth } };
        t.w.data = weights(storage, count);
        double *w = malloc((size_t)count * sizeof *w);
        qp_weight_convert(w, QP_F64, t.w.data, storage, count);
        char *x = activations(QP_BF16, MANY * t.depth);
        t.x = t.h = t.b = x;
        product_is_exact(&t, w, 2);
        product_is_exact(&t, w, MANY);
        free(t.w.data);
        free(w);
        free(x);
    }
    free(t.work);
}
END_TEST

/* The first test would say nothing of a way that no product takes. */
START_TEST(products_of_avx512_have_a_way_for_few)
{
    for (int b = 0; qp_cpu_build(b); b++)
        if (!strcmp(qp_cpu_build(b), "v4")) setenv("QP_ISA", "v4", 1);
    const char *isa = getenv("QP_ISA");
    if (!isa) return;
    const qp_product *p = qp_product_for(QP_F32);
    ck_assert(!strcmp(p->name, "loop v4"));
    for (int s = 0; s < STORAGES; s++) {
        ck_assert(p->few(storages[s], QP_F32));
        ck_assert(p->few(storages[s], QP_BF16));
    }
}
END_TEST

Suite *suite_few_rows(void)
{
    Suite *s = suite_create("few_rows");
    TCase *t = tcase_create("few_rows");
    tcase_add_loop_test(t, a_row_among_few_has_its_bits_among_many, 0, 4 * 2 * 2 * STORAGES);
#ifdef __x86_64__
    tcase_add_loop_test(t, in_f32_an_element_is_a_chain_of_fused_multiply_adds, 0, 2 * STORAGES);
#endif
    tcase_add_loop_test(t, whole_numbers_of_blocks_are_not_rounded, 0, 2);
    tcase_add_test(t, products_of_avx512_have_a_way_for_few);
    suite_add_tcase(s, t);
    return s;
}
