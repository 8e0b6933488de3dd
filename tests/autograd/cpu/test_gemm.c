/* Products: values against a plain f64 sum, and the promise that a row's bits depend on nothing but
 * itself. */
#include "autograd/cpu/dispatch.h"
#include "autograd/cpu/product.h"
#include "autograd/cpu/quant.h"
#include "autograd/cpu/weight.h"
#include "autograd/work.h"
#include "autograd/backend.h"
#include "base/rng.h"
#include "tests/suites.h"
#include <malloc.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>

/* Which build and which product a test runs with: all that this CPU may ever choose. */
static const struct {
    const char *isa, *product;
} settings[] = { { NULL, "" },
                 { "base", "loop base" },
                 { "v3", "loop v3" },
                 { "v4", "loop v4" },
                 { NULL, "openblas" },
                 { NULL, "onednn" },
                 { NULL, "onednn avx512_bf16, constant rows" },
                 { NULL, "emulated amx_bf16" } };
enum { SETTINGS = sizeof settings / sizeof *settings };

/* False where the CPU lacks the build: nothing to test. */
static bool choose(int i)
{
    bool known = !settings[i].isa;
    for (int b = 0; !known && qp_cpu_build(b); b++)
        known = strcmp(qp_cpu_build(b), settings[i].isa) == 0;
    if (!known) return false;
    if (settings[i].isa) setenv("QP_ISA", settings[i].isa, 1);
    setenv("QP_PRODUCT", settings[i].product, 1);
    mallopt(M_MMAP_THRESHOLD, 1 << 28); /* fresh pages took longer than the products */
    mallopt(M_TRIM_THRESHOLD, 1 << 28);
    omp_set_num_threads(1); /* but where the test is of threads */
    return true;
}

static const qp_storage compute[] = { QP_F64, QP_F32, QP_BF16 };
enum { NT, NN, TN };

static const qp_kernels *kernels(qp_storage s) { return qp_cpu_backend()->k[s]; }

static void *matrix(qp_storage s, int64_t n, uint64_t seed)
{
    double *v = malloc((size_t)n * sizeof *v + 1);
    void *m = malloc(qp_storage_bytes(s, n) + 1);
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        v[i] = (double)(int64_t)seed * 0x1p-62; /* -2 .. 2 */
    }
    qp_weight_convert(m, s, v, QP_F64, n);
    free(v);
    return m;
}

/* The whole matrix in f64; the caller frees. */
static double *values(const void *m, qp_storage s, int64_t n)
{
    double *v = malloc((size_t)n * sizeof *v + 1);
    qp_weight_convert(v, QP_F64, m, s, n);
    return v;
}

static qp_tensor tensor(void *data, qp_storage s, int64_t rows, int64_t cols)
{
    return (qp_tensor){ .storage = s, .ndim = 2, .shape = { rows, cols }, .data = data };
}

/* What a product needs: operands (n, k), (n, m) or (m, k), the result in `out` and the work area.
 */
typedef struct {
    int kind;
    qp_storage type, out;
    int64_t n, m, k, rows, cols, depth, r0;
    int64_t r; /* depth of a second pair; 0: none */
    void *left, *right, *left2, *right2, *c;
    double beta, alpha;
} product;

static product setup(int kind, qp_storage type, qp_storage out, int64_t n, int64_t m, int64_t k)
{
    product p = { .kind = kind, .type = type, .out = out, .n = n, .m = m, .k = k, .alpha = 1 };
    p.rows = kind == TN ? m : n;
    p.cols = kind == NT ? m : k;
    p.depth = kind == NT ? k : kind == NN ? m : n;
    p.left = matrix(type, kind == NT ? n * k : n * m, 1);
    p.right = matrix(type, kind == TN ? n * k : m * k, 2);
    p.c = matrix(out, p.rows * p.cols, 3);
    return p;
}

static void add_pair(product *p, int64_t r)
{
    p->r = r;
    p->left2 = matrix(p->type, p->rows * r, 4);
    p->right2 = matrix(p->type, p->cols * r, 5);
}

static void teardown(product *p)
{
    free(p->left2);
    free(p->right2);
    free(p->left);
    free(p->right);
    free(p->c);
}

/* Enough for five threads; one a process, since every page of a new one would be a fault. */
static void *work_area(void)
{
    static void *work;
    int threads = omp_get_max_threads();
    omp_set_num_threads(5);
    if (!work) work = aligned_alloc(64, qp_matmul_work());
    omp_set_num_threads(threads);
    return work;
}

static void run(const product *p, const void *left, const void *left2, const qp_tensor *w, void *c,
                int64_t n)
{
    const qp_kernels *k = kernels(p->type);
    void *work = work_area();
    if (p->kind == NT && p->r)
        k->matmul_nt_more(c, p->out, p->beta, p->alpha, left, w, p->r0, left2, p->right2, n, p->m,
                          p->k, p->r, work);
    else if (p->kind == NT)
        k->matmul_nt(c, p->out, p->beta, p->alpha, left, w, p->r0, n, p->m, p->k, work);
    else if (p->kind == NN && p->r)
        k->matmul_nn_more(c, p->out, p->beta, p->alpha, left, w, p->r0, left2, p->right2, n, p->m,
                          p->k, p->r, work);
    else if (p->kind == NN)
        k->matmul_nn(c, p->out, p->beta, p->alpha, left, w, p->r0, n, p->m, p->k, work);
    else
        k->matmul_tn(c, p->beta, p->alpha, left, p->right, n, p->m, p->k, work);
}

/* Element (i, j) by a sum in f64, and the sum of magnitudes that bounds its error. */
static double exact(const product *p, const double *left, const double *right, const double *left2,
                    const double *right2, int64_t i, int64_t j, double *size)
{
    double sum = 0;
    *size = 0;
    for (int64_t l = 0; l < p->r; l++) {
        double ab = left2[i * p->r + l] * right2[p->kind == NT ? j * p->r + l : l * p->cols + j];
        sum += ab;
        *size += fabs(ab);
    }
    for (int64_t l = 0; l < p->depth; l++) {
        double a = left[p->kind == TN ? l * p->m + i : i * p->depth + l];
        double b = right[p->kind == NT ? j * p->k + l : l * p->cols + j];
        sum += a * b;
        *size += fabs(a * b);
    }
    return sum;
}

/* Every order of sums errs by at most depth * eps * sum|a||b|; storing rounds once more. */
static void check_values(const product *p)
{
    qp_tensor w = tensor(p->right, p->type, p->m, p->k);
    double *left = values(p->left, p->type, p->rows * p->depth);
    double *right = values(p->right, p->type, p->cols * p->depth);
    double *left2 = values(p->left2, p->type, p->rows * p->r);
    double *right2 = values(p->right2, p->type, p->cols * p->r);
    double *old = values(p->c, p->out, p->rows * p->cols);
    run(p, p->left, p->left2, &w, p->c, p->n);
    double *new = values(p->c, p->out, p->rows * p->cols);
    double eps = p->type == QP_F64 ? 0x1p-52 : 0x1p-23;
    double store = p->out == QP_BF16 ? 0x1p-8 : eps;
    for (int64_t i = 0; i < p->rows; i++)
        for (int64_t j = 0; j < p->cols; j++) {
            double size, sum = exact(p, left, right, left2, right2, i, j, &size);
            double before = p->beta != 0 ? old[i * p->cols + j] : 0;
            double want = before + p->alpha * sum, got = new[i * p->cols + j];
            double bound = (double)(p->depth + p->r + 2) * eps * fabs(p->alpha) * size +
                           store * (fabs(want) + fabs(before)) + 1e-300;
            if (!(fabs(got - want) <= bound))
                ck_abort_msg("%s of %s to %s, n %ld m %ld k %ld r %ld, beta %g: at (%ld, %ld) "
                             "%.9g, want %.9g",
                             (const char *[]){ "nt", "nn", "tn" }[p->kind],
                             qp_storages[p->type].name, qp_storages[p->out].name, (long)p->n,
                             (long)p->m, (long)p->k, (long)p->r, p->beta, (long)i, (long)j, got,
                             want);
        }
    free(left);
    free(right);
    free(left2);
    free(right2);
    free(old);
    free(new);
}

START_TEST(products_agree_with_a_plain_sum)
{
    if (!choose(_i)) return;
    static const int64_t shape[][3] = { { 1, 1, 1 },     { 37, 129, 65 }, { 5, 3, 700 },
                                        { 130, 33, 17 }, { 40, 520, 20 }, { 3, 10, 4200 },
                                        { 601, 70, 45 } };
    for (int kind = NT; kind <= TN; kind++)
        for (int t = 0; t < 3; t++)
            for (size_t s = 0; s < sizeof shape / sizeof *shape; s++)
                for (int variant = 0; variant < 4; variant++) {
                    qp_storage wide = qp_sum_storage(compute[t]);
                    qp_storage out = kind == TN || variant & 1 ? wide : compute[t];
                    const int64_t *d = shape[s];
                    product p = setup(kind, compute[t], out, d[0], d[1], d[2]);
                    p.beta = variant & 2 ? 1 : 0;
                    p.alpha = variant & 2 ? 0.375 : 1;
                    check_values(&p);
                    teardown(&p);
                    if (kind == TN) continue;
                    p = setup(kind, compute[t], out, d[0], d[1], d[2]);
                    add_pair(&p, variant & 2 ? 19 : 1040); /* an odd rank, one of two steps */
                    p.beta = variant & 2 ? 1 : 0;
                    check_values(&p);
                    teardown(&p);
                }
}
END_TEST

/* 130 rows at once, in reverse order, and every smaller count. */
static void check_rows(bool all_counts, int kind, qp_storage type, qp_storage out, int64_t m,
                       int64_t k, int64_t r)
{
    enum { N = 130 };
    product p = setup(kind, type, out, N, m, k);
    if (r) add_pair(&p, r);
    qp_tensor w = tensor(p.right, type, m, k);
    size_t in = qp_storage_bytes(type, p.depth), row = qp_storage_bytes(out, p.cols);
    const size_t in2 = qp_storage_bytes(type, r);
    char *backward = malloc(N * in), *some = malloc(N * row), *all = p.c;
    char *backward2 = malloc(N * in2 + 1);
    run(&p, p.left, p.left2, &w, all, N);
    for (int64_t i = 0; i < N; i++)
        memcpy(backward + i * in, (char *)p.left + (N - 1 - i) * in, in);
    for (int64_t i = 0; i < N && r; i++)
        memcpy(backward2 + i * in2, (char *)p.left2 + (N - 1 - i) * in2, in2);
    for (int64_t n = 1; n <= N; n += n < 30 || all_counts ? 1 : 9) {
        run(&p, backward, backward2, &w, some, n);
        for (int64_t i = 0; i < n; i++)
            if (memcmp(some + i * row, all + (N - 1 - i) * row, row) != 0)
                ck_abort_msg(
                    "%s %s to %s, m %ld k %ld r %ld: row %ld of %ld has other bits than among 130",
                    kind == NT ? "nt" : "nn", qp_storages[type].name, qp_storages[out].name,
                    (long)m, (long)k, (long)r, (long)i, (long)n);
    }
    free(backward);
    free(backward2);
    free(some);
    teardown(&p);
}

START_TEST(a_rows_bits_depend_on_the_row_alone)
{
    if (!choose(_i)) return;
    static const int64_t shape[][2] = { { 1, 1 },    { 7, 31 },   { 64, 176 },
                                        { 300, 64 }, { 17, 600 }, { 200, 340 } };
    for (int kind = NT; kind <= NN; kind++)
        for (int t = 0; t < 3; t++)
            for (size_t s = 0; s < sizeof shape / sizeof *shape; s++) {
                check_rows(_i == 0, kind, compute[t], compute[t], shape[s][0], shape[s][1], 0);
                check_rows(_i == 0, kind, compute[t], compute[t], shape[s][0], shape[s][1], 5);
                if (compute[t] == QP_BF16)
                    check_rows(_i == 0, kind, QP_BF16, QP_F32, shape[s][0], shape[s][1], 16);
            }
}
END_TEST

/* Sums as they are, and a part of them added to what is there, in either type. */
START_TEST(one_thread_equals_two_and_five)
{
    if (!choose(_i)) return;
    for (int kind = NT; kind <= TN; kind++)
        for (int t = 0; t < 6; t++) {
            const qp_storage type = compute[t / 2], wide = qp_sum_storage(type);
            product p = setup(kind, type, kind == TN || t % 2 ? wide : type, 203, 330, 270);
            if (kind != TN && t % 2) add_pair(&p, 16);
            qp_tensor w = tensor(p.right, p.type, p.m, p.k);
            const size_t bytes = qp_storage_bytes(p.out, p.rows * p.cols);
            void *old = malloc(bytes), *one = malloc(bytes);
            if (t % 2 == 0) p.alpha = 0.3, p.beta = 1;
            memcpy(old, p.c, bytes);
            for (int threads = 1; threads <= 5; threads += threads) {
                omp_set_num_threads(threads == 4 ? 5 : threads);
                memcpy(p.c, old, bytes);
                run(&p, p.left, p.left2, &w, p.c, p.n);
                if (threads == 1) memcpy(one, p.c, bytes);
                ck_assert_msg(memcmp(one, p.c, bytes) == 0, "kind %d, %s to %s, %d threads", kind,
                              qp_storages[type].name, qp_storages[p.out].name,
                              omp_get_max_threads());
            }
            free(old);
            free(one);
            teardown(&p);
        }
}
END_TEST

/* Every row of C begins with the values of the first. */
static void same_beginnings(product *p)
{
    const size_t row = qp_storage_bytes(p->out, p->cols);
    for (int64_t i = 1; i < p->rows; i++) memcpy((char *)p->c + (size_t)i * row, p->c, row);
}

/* A factor that is no power of two, and a sum: fused or not they round differently, so each element
   must be treated alike at the end of a vector loop, of a block and among few rows. */
START_TEST(a_scaled_sum_is_added_alike_with_any_rows_and_threads)
{
    enum { N = 130 };
    if (!choose(_i)) return;
    static const int64_t shape[][2] = { { 37, 16 }, { 131, 65 }, { 613, 70 } };
    for (int t = 0; t < 6; t++)
        for (size_t s = 0; s < sizeof shape / sizeof *shape; s++) {
            const qp_storage type = compute[t / 2], out = t % 2 ? qp_sum_storage(type) : type;
            product p = setup(NT, type, out, N, shape[s][0], shape[s][1]);
            qp_tensor w = tensor(p.right, type, p.m, p.k);
            const size_t row = qp_storage_bytes(out, p.cols), in = qp_storage_bytes(type, p.k);
            char *old = malloc(N * row), *all = malloc(N * row);
            p.alpha = 0.3, p.beta = 1;
            same_beginnings(&p);
            memcpy(old, p.c, N * row);
            omp_set_num_threads(1);
            run(&p, p.left, p.left2, &w, p.c, N);
            memcpy(all, p.c, N * row);
            for (int64_t n = 1; n <= N; n += n < 14 ? 1 : 29) {
                const int64_t first = (N - n) / 2;
                omp_set_num_threads((int)(1 + n % 5));
                memcpy(p.c, old, N * row);
                run(&p, (char *)p.left + (size_t)first * in, NULL, &w, p.c, n);
                for (int64_t i = 0; i < n; i++)
                    ck_assert_msg(!memcmp((char *)p.c + (size_t)i * row,
                                          all + (size_t)(first + i) * row, row),
                                  "%s to %s, m %ld: row %ld of %ld with %ld threads",
                                  qp_storages[type].name, qp_storages[out].name, (long)p.m, (long)i,
                                  (long)n, (long)(1 + n % 5));
            }
            free(old);
            free(all);
            teardown(&p);
        }
}
END_TEST

START_TEST(a_row_range_of_the_weight_equals_the_weight_cut_out)
{
    for (int kind = NT; kind <= NN; kind++)
        for (int t = 0; t < 3; t++) {
            product p = setup(kind, compute[t], compute[t], 19, 70, 96);
            void *big = matrix(p.type, 200 * 96, 9);
            size_t bytes = qp_storage_bytes(p.out, p.rows * p.cols);
            void *c = malloc(bytes);
            memcpy(p.right, (char *)big + qp_storage_bytes(p.type, 83 * 96),
                   qp_storage_bytes(p.type, 70 * 96));
            qp_tensor all = tensor(big, p.type, 200, 96), cut = tensor(p.right, p.type, 70, 96);
            run(&p, p.left, p.left2, &cut, p.c, p.n);
            p.r0 = 83;
            run(&p, p.left, p.left2, &all, c, p.n);
            ck_assert_mem_eq(c, p.c, bytes);
            free(big);
            free(c);
            teardown(&p);
        }
}
END_TEST

/* Random blocks with sane scales: each begins with one or two f16. */
static void *stored(qp_storage s, int64_t n)
{
    if (qp_storages[s].block == 1) return matrix(s, n, 4);
    uint8_t *m = malloc(qp_storage_bytes(s, n));
    for (size_t i = 0; i < qp_storage_bytes(s, n); i++) m[i] = (uint8_t)qp_rng_u64(7, 0, i);
    for (int64_t b = 0; b < n / qp_storages[s].block; b++)
        for (int h = 0; h < (s == QP_Q4_1 ? 2 : 1); h++) {
            uint16_t scale = qp_to_f16((float)qp_rng_uniform(8, (uint64_t)h, (uint64_t)b));
            memcpy(m + b * qp_storages[s].bytes + 2 * h, &scale, 2);
        }
    return m;
}

/* Products that take blocks as they are do not round what those hold: see few_rows. */
static bool rounds(const product *p, int kind, qp_storage stored)
{
    const qp_product *by = qp_product_for(p->type);
    return kind != NT || !by->reads || !by->reads(stored);
}

START_TEST(a_stored_weight_equals_its_values_in_the_compute_type)
{
    if (!choose(_i)) return;
    static const qp_storage kinds[] = {
        QP_F64, QP_F32, QP_BF16, QP_F16, QP_Q4_0, QP_Q4_1, QP_Q8_0
    };
    for (int kind = NT; kind <= NN; kind++)
        for (int t = 0; t < 3; t++)
            for (size_t s = 0; s < sizeof kinds / sizeof *kinds; s++) {
                product p = setup(kind, compute[t], compute[t], 50, 75, 1056);
                void *data = stored(kinds[s], p.m * p.k);
                qp_weight_convert(p.right, p.type, data, kinds[s], p.m * p.k);
                qp_tensor w = tensor(data, kinds[s], p.m, p.k),
                          values = tensor(p.right, p.type, p.m, p.k);
                size_t bytes = qp_storage_bytes(p.out, p.rows * p.cols);
                void *c = malloc(bytes);
                run(&p, p.left, p.left2, &values, p.c, p.n);
                run(&p, p.left, p.left2, &w, c, p.n);
                ck_assert_msg(!rounds(&p, kind, kinds[s]) || memcmp(c, p.c, bytes) == 0,
                              "%s under %s", qp_storages[kinds[s]].name, qp_storages[p.type].name);
                free(data);
                free(c);
                teardown(&p);
            }
}
END_TEST

START_TEST(empty_products_are_zero_or_nothing)
{
    for (int t = 0; t < 3; t++) {
        product p = setup(NT, compute[t], compute[t], 4, 5, 0);
        qp_tensor w = tensor(p.right, p.type, 5, 0);
        run(&p, p.left, p.left2, &w, p.c, 4);
        double *c = values(p.c, p.out, 20);
        for (int64_t i = 0; i < 20; i++) ck_assert(c[i] == 0);
        free(c);
        run(&p, p.left, p.left2, &w, p.c, 0);
        add_pair(&p, 3); /* then the second is the first */
        check_values(&p);
        teardown(&p);
    }
}
END_TEST

Suite *suite_gemm(void)
{
    Suite *s = suite_create("gemm");
    TCase *t = tcase_create("all");
    tcase_set_timeout(t, 30);
    tcase_add_loop_test(t, products_agree_with_a_plain_sum, 0, SETTINGS);
    tcase_add_loop_test(t, a_rows_bits_depend_on_the_row_alone, 0, SETTINGS);
    tcase_add_loop_test(t, one_thread_equals_two_and_five, 0, SETTINGS);
    tcase_add_loop_test(t, a_scaled_sum_is_added_alike_with_any_rows_and_threads, 0, SETTINGS);
    tcase_add_test(t, a_row_range_of_the_weight_equals_the_weight_cut_out);
    tcase_add_loop_test(t, a_stored_weight_equals_its_values_in_the_compute_type, 0, SETTINGS);
    tcase_add_test(t, empty_products_are_zero_or_nothing);
    suite_add_tcase(s, t);
    return s;
}
