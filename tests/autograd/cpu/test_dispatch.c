/* The choice of builds and products, and the self-test that guards it. */
#include "autograd/cpu/dispatch.h"
#include "autograd/cpu/product.h"
#include "base/err.h"
#include "tests/suites.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

START_TEST(the_named_build_is_chosen)
{
    for (int i = 0; qp_cpu_build(i); i++) ck_assert_str_eq(qp_cpu_build(i), qp_cpu_build(i));
    setenv("QP_ISA", "base", 1);
    ck_assert_str_eq(qp_cpu_backend()->name, "cpu-base");
    ck_assert_ptr_eq(qp_cpu_backend(), qp_cpu_backend());
}
END_TEST

START_TEST(without_a_name_the_best_build_is_chosen)
{
    char want[20] = "cpu-";
    unsetenv("QP_ISA");
    ck_assert_str_eq(qp_cpu_backend()->name, strcat(want, qp_cpu_build(0)));
}
END_TEST

START_TEST(an_unknown_build_exits_2)
{
    setenv("QP_ISA", "v9", 1);
    qp_cpu_backend();
}
END_TEST

START_TEST(every_kernel_names_its_origin)
{
    const qp_backend *be = qp_cpu_backend();
    for (qp_storage s = QP_F64; s < QP_NCOMPUTE; s++) {
#define QP_KERNEL(name, args) ck_assert_str_ne(qp_kernel_origin(be, #name, s), "");
#include "autograd/kernels.def"
#undef QP_KERNEL
        const char *loop = s == QP_F64 ? "cpu-base" : be->name;
        ck_assert_str_eq(qp_kernel_origin(be, "rmsnorm_fwd", s), loop);
        ck_assert_ptr_ne(strstr(qp_kernel_origin(be, "matmul_nt", s), qp_product_for(s)->name),
                         NULL);
    }
}
END_TEST

START_TEST(a_named_product_is_preferred)
{
    setenv("QP_PRODUCT", "openblas", 1);
    const char *origin = qp_kernel_origin(qp_cpu_backend(), "matmul_nt", QP_F64);
    ck_assert_ptr_eq(strstr(origin, "openblas"), origin);
}
END_TEST

/* Products that a self-test must refuse, made of the right one. */
static void one_wrong_value(const qp_tile *t)
{
    qp_blas_f64()->multiply(t);
    ((double *)t->c)[t->cols - 1] *= 1 + 1e-9;
}

static void not_a_number(const qp_tile *t)
{
    qp_blas_f64()->multiply(t);
    ((double *)t->c)[0] *= 0.0 / (double)(t->rows > 40 ? 0 : 1);
}

/* Right, but the last bits of every sixth row are another order's. */
static void place_matters(const qp_tile *t)
{
    qp_blas_f64()->multiply(t);
    for (int64_t i = 5; i < t->rows; i += 6)
        for (int64_t j = 0; j < t->cols; j++) ((double *)t->c)[i * t->ldc + j] *= 1 + 0x1p-52;
}

static void count_matters(const qp_tile *t)
{
    qp_blas_f64()->multiply(t);
    for (int64_t j = 0; t->rows == 1 && j < t->cols; j++) ((double *)t->c)[j] *= 1 + 0x1p-52;
}

static int64_t as_many(int64_t left, int64_t cols, int64_t depth)
{
    (void)cols, (void)depth;
    return left < QP_TILE_ROWS ? left : QP_TILE_ROWS;
}

START_TEST(the_self_test_refuses_wrong_products)
{
    static const struct {
        void (*multiply)(const qp_tile *);
        const char *fault;
    } wrong[] = { { one_wrong_value, "wrong values" },
                  { not_a_number, "wrong values" },
                  { place_matters, "a row's bits depend on its place" },
                  { count_matters, "a row's bits depend on its place" } };
    ck_assert_ptr_eq(qp_product_fault(qp_blas_f64()), NULL);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        qp_product p = *qp_blas_f64();
        p.multiply = wrong[i].multiply;
        p.tile_rows = as_many;
        const char *fault = qp_product_fault(&p);
        ck_assert_msg(fault && strcmp(fault, wrong[i].fault) == 0, "%zu: %s", i,
                      fault ? fault : "passed");
    }
}
END_TEST

/* Loops whose sums end wrong, of which one bit of few rows is another, and nothing else. */
static void forgets_alpha(const qp_tile *t)
{
    qp_tile other = *t;
    qp_finish f = t->finish ? *t->finish : (qp_finish){ 0 };
    f.alpha = 1;
    if (t->finish) other.finish = &f;
    qp_product_for(QP_F32)->multiply(&other);
}

static void forgets_more(const qp_tile *t)
{
    qp_tile other = *t;
    other.more = NULL;
    qp_product_for(QP_F32)->multiply(&other);
}

static void one_bit(const qp_few *f)
{
    qp_product_for(QP_F32)->few(QP_F32, QP_F32)(f);
    if (f->rows == QP_FEW_ROWS) f->c[7 * f->ldc + 9] *= 1 + 0x1p-23f;
}

static qp_few_fn *gives_one_bit(qp_storage weight, qp_storage type)
{
    return weight == QP_F32 && type == QP_F32 ? one_bit : NULL;
}

START_TEST(the_self_test_refuses_wrong_ends_and_few_rows)
{
    setenv("QP_PRODUCT", "loop", 1);
    qp_product p = *qp_product_for(QP_F32);
    ck_assert_ptr_eq(qp_product_fault(&p), NULL);
    p.multiply = forgets_alpha;
    ck_assert_str_eq(qp_product_fault(&p), "sums end wrong");
    p.multiply = forgets_more;
    ck_assert_str_eq(qp_product_fault(&p), "sums end wrong");
    p = *qp_product_for(QP_F32);
    if (!p.few) {
        fprintf(stderr, "few rows have no loops on this CPU: not tested\n");
        return;
    }
    p.few = gives_one_bit;
    ck_assert_str_eq(qp_product_fault(&p), "few rows have other bits than many");
}
END_TEST

/* Every length is another depth of dy^T x. A product that was dropped is made again as it was. */
START_TEST(a_thread_keeps_no_more_of_onednn_than_it_says)
{
    enum { ROWS = 3, COLS = 16, DEPTHS = 1500, FIRST = 5 };
    const qp_product *p = qp_dnnl_bf16(false);
    if (!p) {
        fprintf(stderr, "oneDNN has no bf16 product on this CPU: not tested\n");
        return;
    }
    static uint16_t a[ROWS * (DEPTHS + FIRST)], b[COLS * (DEPTHS + FIRST)];
    static float c[ROWS * COLS], again[ROWS * COLS];
    qp_cpu_threads(1);
    for (size_t i = 0; i < sizeof a / sizeof *a; i++) a[i] = (uint16_t)(0x3f80 + i % 50);
    for (size_t i = 0; i < sizeof b / sizeof *b; i++) b[i] = (uint16_t)(0xbf00 + i % 70);
    qp_tile t = { .rows = ROWS,
                  .cols = COLS,
                  .a = a,
                  .b = b,
                  .c = c,
                  .lda = ROWS,
                  .ldb = COLS,
                  .ldc = COLS,
                  .ta = true };
    t.work = aligned_alloc(64, QP_PACK_BYTES);
    int most = 0;
    for (int i = 0; i <= DEPTHS; i++) {
        t.c = i == 0 ? c : again;
        t.depth = FIRST + i % DEPTHS;
        p->multiply(&t);
        most = qp_dnnl_kept() > most ? qp_dnnl_kept() : most;
        if (i == 100) ck_assert_int_gt(most, 90);
    }
    ck_assert_int_le(most, QP_DNNL_KEPT);
    ck_assert_mem_eq(c, again, sizeof c);
    free(t.work);
}
END_TEST

/* The program runs itself again where settings are missing: arguments and exit code must survive
 * that. */
START_TEST(running_again_keeps_arguments_and_exit_code)
{
    static const char *const missing[] = {
        "", "env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE -u OMP_WAIT_POLICY"
    };
    const char *build = getenv("QP_BUILD");
    for (int i = 0; i < 2; i++) {
        char command[1000], line[200] = "";
        snprintf(command, sizeof command, "%s %s/quipu 'no such' 2>&1", missing[i],
                 build ? build : "build");
        FILE *f = popen(command, "r");
        ck_assert_ptr_ne(f, NULL);
        ck_assert_ptr_ne(fgets(line, sizeof line, f), NULL);
        while (fgetc(f) != EOF) continue;
        ck_assert_ptr_ne(strstr(line, "'no such'"), NULL);
        ck_assert_int_eq(WEXITSTATUS(pclose(f)), QP_USAGE);
    }
}
END_TEST

Suite *suite_dispatch(void)
{
    Suite *s = suite_create("dispatch");
    TCase *t = tcase_create("all");
    tcase_add_test(t, the_named_build_is_chosen);
    tcase_add_test(t, without_a_name_the_best_build_is_chosen);
    tcase_add_exit_test(t, an_unknown_build_exits_2, 2);
    tcase_add_test(t, every_kernel_names_its_origin);
    tcase_add_test(t, a_named_product_is_preferred);
    tcase_add_test(t, running_again_keeps_arguments_and_exit_code);
    tcase_add_test(t, the_self_test_refuses_wrong_products);
    tcase_add_test(t, the_self_test_refuses_wrong_ends_and_few_rows);
    tcase_add_test(t, a_thread_keeps_no_more_of_onednn_than_it_says);
    suite_add_tcase(s, t);
    return s;
}
