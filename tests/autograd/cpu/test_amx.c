/* The product on AMX's tiles, emulated: every shape, stride and direction against sums of integers,
   which are exact in any order. Suite gemm has its promise about rows. */
#include "autograd/cpu/product.h"
#include "autograd/cpu/quant.h"
#include "base/rng.h"
#include "tests/suites.h"
#include <stdlib.h>

/* Small integers; as bf16 for an operand. */
static int integer(uint64_t seed, int64_t i) { return (int)(qp_rng_uniform(seed, 0, i) * 7) - 3; }

/* No byte more than (lines, n) needs: the sanitizers see what is read or written beside it. */
static uint16_t *operand(uint64_t seed, int64_t lines, int64_t n, int64_t ld, size_t align)
{
    int64_t values = (lines - 1) * ld + n;
    uint16_t *m = NULL;
    ck_assert_int_eq(posix_memalign((void **)&m, align, (size_t)values * sizeof *m), 0);
    for (int64_t i = 0; i < values; i++)
        m[i] = i % ld < n ? qp_to_bf16((float)integer(seed, i)) : 0x7fc0; /* NaN between rows */
    return m;
}

typedef struct {
    int64_t rows, cols, depth, gap_a, gap_b, gap_c; /* gaps: ld beyond the row */
    bool ta, tb, add;
} shape;

static void check(shape s)
{
    int64_t lda = (s.ta ? s.rows : s.depth) + s.gap_a, ldb = (s.tb ? s.depth : s.cols) + s.gap_b;
    int64_t ldc = s.cols + s.gap_c;
    uint16_t *a = operand(1, s.ta ? s.depth : s.rows, s.ta ? s.rows : s.depth, lda, 64);
    uint16_t *b = operand(2, s.tb ? s.cols : s.depth, s.tb ? s.depth : s.cols, ldb, 16);
    size_t values = (size_t)((s.rows - 1) * ldc + s.cols);
    float *c = malloc(values * sizeof *c);
    for (size_t i = 0; i < values; i++) c[i] = s.add || (int64_t)i % ldc >= s.cols ? 5 : NAN;
    void *work = aligned_alloc(64, QP_PACK_BYTES);
    qp_amx_emulated.multiply(&(qp_tile){ .rows = s.rows,
                                         .cols = s.cols,
                                         .depth = s.depth,
                                         .a = a,
                                         .b = b,
                                         .c = c,
                                         .lda = lda,
                                         .ldb = ldb,
                                         .ldc = ldc,
                                         .ta = s.ta,
                                         .tb = s.tb,
                                         .add = s.add,
                                         .work = work });
    for (int64_t i = 0; i < s.rows; i++) {
        for (int64_t j = 0; j < s.cols; j++) {
            int64_t sum = s.add ? 5 : 0;
            for (int64_t k = 0; k < s.depth; k++)
                sum += integer(1, s.ta ? k * lda + i : i * lda + k) *
                       integer(2, s.tb ? j * ldb + k : k * ldb + j);
            ck_assert_msg(c[i * ldc + j] == (float)sum,
                          "%ld x %ld x %ld, ta %d, tb %d, add %d: (%ld, %ld) is %g, not %ld",
                          (long)s.rows, (long)s.cols, (long)s.depth, s.ta, s.tb, s.add, (long)i,
                          (long)j, (double)c[i * ldc + j], (long)sum);
        }
        for (int64_t j = s.cols; j < ldc && i + 1 < s.rows; j++)
            ck_assert_msg(c[i * ldc + j] == 5, "written beside row %ld", (long)i);
    }
    free(a), free(b), free(c), free(work);
}

static int64_t draw(uint64_t *at, int64_t most)
{
    return 1 + (int64_t)(qp_rng_uniform(3, 0, (*at)++) * (double)most);
}

START_TEST(any_shape_stride_and_direction_is_exact)
{
    uint64_t at = 0;
    for (int i = 0; i < 400; i++)
        check((shape){ .rows = draw(&at, 70),
                       .cols = draw(&at, 70),
                       .depth = draw(&at, 100),
                       .gap_a = draw(&at, 40) - 1,
                       .gap_b = draw(&at, 40) - 1,
                       .gap_c = draw(&at, 20) - 1,
                       .ta = i & 1,
                       .tb = i & 2,
                       .add = i & 4 });
}
END_TEST

/* Rows that begin at cache lines, as in models of hidden size 576. */
START_TEST(rows_are_loaded_from_their_place_where_they_can_be)
{
    for (int64_t rows = 31; rows <= 65; rows++)
        check((shape){ .rows = rows, .cols = 33, .depth = 96, .tb = true, .add = rows & 1 });
    check((shape){ .rows = 64, .cols = 40, .depth = 64, .gap_a = 1984, .tb = true }); /* 4096 */
    check((shape){ .rows = 64, .cols = 40, .depth = 64, .gap_a = 64 });
}
END_TEST

START_TEST(blocks_larger_than_the_work_area_are_cut)
{
    for (int i = 0; i < 4; i++) {
        check((shape){ .rows = 545, .cols = 17, .depth = 40, .ta = i & 1, .tb = i & 2 });
        check((shape){ .rows = 33, .cols = 3, .depth = 2085, .ta = i & 1, .tb = i & 2 });
        check((shape){ .rows = 3, .cols = 550, .depth = 33, .ta = i & 1, .tb = i & 2 });
    }
}
END_TEST

/* Zeros that fill up a tile must not meet the infinity of a row beside it. */
START_TEST(infinities_stay_in_their_row_and_column)
{
    enum { N = 20, DEPTH = 33 };
    uint16_t a[N * DEPTH] = { 0 }, b[N * DEPTH] = { 0 };
    float c[N * N];
    a[3 * DEPTH + 32] = b[7 * DEPTH + 32] = 0x7f80;
    void *work = aligned_alloc(64, QP_PACK_BYTES);
    qp_amx_emulated.multiply(&(qp_tile){ .rows = N,
                                         .cols = N,
                                         .depth = DEPTH,
                                         .a = a,
                                         .b = b,
                                         .c = c,
                                         .lda = DEPTH,
                                         .ldb = DEPTH,
                                         .ldc = N,
                                         .tb = true,
                                         .work = work });
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            if (i == 3 && j == 7)
                ck_assert_float_infinite(c[i * N + j]);
            else if (i == 3 || j == 7)
                ck_assert_float_nan(c[i * N + j]);
            else
                ck_assert_float_eq(c[i * N + j], 0);
        }
    free(work);
}
END_TEST

START_TEST(it_passes_the_self_test_but_serves_nobody_unasked)
{
    ck_assert_ptr_eq(qp_product_fault(&qp_amx_emulated), NULL);
    ck_assert_ptr_ne(qp_product_for(QP_BF16), &qp_amx_emulated);
}
END_TEST

START_TEST(asked_for_it_serves)
{
    setenv("QP_PRODUCT", "emulated", 1);
    ck_assert_ptr_eq(qp_product_for(QP_BF16), &qp_amx_emulated);
    ck_assert_ptr_ne(qp_product_for(QP_F32), &qp_amx_emulated);
}
END_TEST

Suite *suite_amx(void)
{
    Suite *s = suite_create("amx");
    TCase *t = tcase_create("emulated");
    tcase_add_test(t, any_shape_stride_and_direction_is_exact);
    tcase_add_test(t, rows_are_loaded_from_their_place_where_they_can_be);
    tcase_add_test(t, blocks_larger_than_the_work_area_are_cut);
    tcase_add_test(t, infinities_stay_in_their_row_and_column);
    tcase_add_test(t, it_passes_the_self_test_but_serves_nobody_unasked);
    tcase_add_test(t, asked_for_it_serves);
    suite_add_tcase(s, t);
    return s;
}
