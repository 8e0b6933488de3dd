#include "autograd/general.h"
#include "tests/suites.h"
#include "tests/support/gradcheck.h"
#include <math.h>
#include <omp.h>
#include <string.h>

static qp_tensor *nn(qp_ctx *c, qp_tensor **in) { return qp_matmul(c, in[0], in[1], false, false); }
static qp_tensor *nt(qp_ctx *c, qp_tensor **in) { return qp_matmul(c, in[0], in[1], false, true); }
static qp_tensor *tn(qp_ctx *c, qp_tensor **in) { return qp_matmul(c, in[0], in[1], true, false); }
static qp_tensor *tt(qp_ctx *c, qp_tensor **in) { return qp_matmul(c, in[0], in[1], true, true); }
/* x feeds both sides, and twice: gradients add up. */
static qp_tensor *square(qp_ctx *c, qp_tensor **in)
{
    return qp_add(c, qp_matmul(c, in[0], in[0], false, true),
                  qp_matmul(c, in[0], in[0], false, true));
}
static const test_op ops[2][2] = { { nn, nt }, { tn, tt } };

/* (.., m, k) by (.., k, n): the dimensions before, then the matrix as it is before transposing. */
static const struct {
    int na, nb, ny;
    int64_t a[4], b[4], y[4];
} at[] = {
    { 2, 2, 2, { 5, 7 }, { 7, 3 }, { 5, 3 } },
    { 3, 2, 3, { 2, 5, 7 }, { 7, 3 }, { 2, 5, 3 } },
    { 2, 3, 3, { 5, 7 }, { 2, 7, 3 }, { 2, 5, 3 } },
    { 3, 3, 3, { 4, 5, 7 }, { 4, 7, 3 }, { 4, 5, 3 } },
    { 4, 3, 4, { 2, 1, 5, 7 }, { 3, 7, 2 }, { 2, 3, 5, 2 } },
    { 4, 4, 4, { 2, 1, 3, 2 }, { 1, 3, 2, 4 }, { 2, 3, 3, 4 } },
    { 3, 4, 4, { 1, 3, 2 }, { 1, 1, 2, 4 }, { 1, 1, 3, 4 } },
    { 2, 4, 4, { 3, 2 }, { 1, 1, 2, 4 }, { 1, 1, 3, 4 } },
    { 2, 2, 2, { 1, 1 }, { 1, 1 }, { 1, 1 } },
    { 2, 2, 2, { 3, 0 }, { 0, 4 }, { 3, 4 } },
    { 3, 3, 3, { 2, 3, 0 }, { 2, 0, 4 }, { 2, 3, 4 } },
    { 2, 2, 2, { 0, 3 }, { 3, 4 }, { 0, 4 } },
    { 2, 2, 2, { 3, 4 }, { 4, 0 }, { 3, 0 } },
    { 3, 2, 3, { 0, 3, 4 }, { 4, 2 }, { 0, 3, 2 } },
    { 2, 3, 3, { 3, 4 }, { 0, 4, 2 }, { 0, 3, 2 } },
    { 3, 3, 3, { 1, 3, 4 }, { 0, 4, 2 }, { 0, 3, 2 } },
};
enum { SHAPES = sizeof at / sizeof at[0] };

static void swap_last(int ndim, const int64_t *shape, bool yes, int64_t *out)
{
    memcpy(out, shape, (size_t)ndim * sizeof *shape);
    if (!yes) return;
    out[ndim - 1] = shape[ndim - 2];
    out[ndim - 2] = shape[ndim - 1];
}

/* Where a tensor of this shape, aligned at the last dimension, is at an index of y's dimensions
   before the last two: counted in matrices. */
static int64_t matrix_at(const qp_tensor *t, const qp_tensor *y, int64_t i)
{
    int64_t at_t = 0, step = 1;
    for (int d = 3; d <= y->ndim; d++) {
        const int64_t size = y->shape[y->ndim - d], index = i % size;
        i /= size;
        if (d > t->ndim) continue;
        if (t->shape[t->ndim - d] > 1) at_t += index * step;
        step *= t->shape[t->ndim - d];
    }
    return at_t;
}

/* The definition, in f64, for sides of rank 2 and more. */
static double element(const qp_tensor *a, const qp_tensor *b, const qp_tensor *y, bool ta, bool tb,
                      int64_t index)
{
    const int64_t n = qp_cols(y), m = y->shape[y->ndim - 2], j = index % n, i = index / n % m,
                  batch = index / n / m;
    const int64_t k = ta ? a->shape[a->ndim - 2] : qp_cols(a);
    const int64_t a0 = matrix_at(a, y, batch) * m * k, b0 = matrix_at(b, y, batch) * n * k;
    double sum = 0;
    for (int64_t l = 0; l < k; l++)
        sum += test_get(a->data, a->storage, a0 + (ta ? l * m + i : i * k + l)) *
               test_get(b->data, b->storage, b0 + (tb ? j * k + l : l * n + j));
    return sum;
}

static void sides(qp_ctx *c, int i, int which, qp_storage type, qp_tensor **in)
{
    int64_t shape[4];
    swap_last(at[i].na, at[i].a, which / 2, shape);
    in[0] = test_leaf(c, type, at[i].na, shape, 1);
    swap_last(at[i].nb, at[i].b, which % 2, shape);
    in[1] = test_leaf(c, type, at[i].nb, shape, 2);
}

START_TEST(values_follow_the_definition)
{
    static const double bound[] = { 1e-14, 1e-6, 1. / 256 }; /* one rounding each */
    for (int b = 0; b < TEST_BUILDS; b++) {
        qp_storage type;
        qp_ctx c;
        if (!test_build(b, &type)) continue;
        test_ctx(&c, NULL);
        for (int i = 0; i < 4 * SHAPES; i++) {
            qp_tensor *in[2];
            sides(&c, i / 4, i % 4, type, in);
            const qp_tensor *y = ops[i / 2 % 2][i % 2](&c, in);
            ck_assert_int_eq(y->ndim, at[i / 4].ny);
            for (int d = 0; d < y->ndim; d++) ck_assert_int_eq(y->shape[d], at[i / 4].y[d]);
            for (int64_t j = 0; j < qp_numel(y); j++) {
                const double right = element(in[0], in[1], y, i / 2 % 2, i % 2, j);
                ck_assert_double_le(fabs(test_get(y->data, type, j) - right),
                                    bound[type] * fmax(1, fabs(right)));
            }
        }
        c.tape = NULL;
        qp_ctx_release(&c);
    }
}
END_TEST

START_TEST(gradient_matches_differences)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    for (int i = 0; i < 4 * SHAPES; i++) {
        qp_tensor *in[2];
        sides(&c, i / 4, i % 4, QP_F64, in);
        ck_assert_double_lt(gradcheck(&c, ops[i / 2 % 2][i % 2], 2, in), 1e-9);
    }
    qp_tensor *x[] = { test_leaf(&c, QP_F64, 3, (int64_t[]){ 2, 3, 4 }, 5) };
    ck_assert_double_lt(gradcheck(&c, square, 1, x), 1e-9);
    qp_ctx_release(&c);
}
END_TEST

/* A row times, times a column, and both: that dimension vanishes. */
START_TEST(rank_1_is_a_row_or_a_column)
{
    static const struct {
        int na, nb, ny;
        int64_t a[3], b[3], y[2];
    } of[] = {
        { 1, 1, 0, { 4 }, { 4 }, { 0 } },          { 1, 2, 1, { 4 }, { 4, 3 }, { 3 } },
        { 2, 1, 1, { 3, 4 }, { 4 }, { 3 } },       { 1, 3, 2, { 4 }, { 2, 4, 3 }, { 2, 3 } },
        { 3, 1, 2, { 2, 3, 4 }, { 4 }, { 2, 3 } }, { 1, 1, 0, { 0 }, { 0 }, { 0 } },
    };
    qp_ctx c;
    test_ctx(&c, NULL);
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
        qp_tensor *in[] = { test_leaf(&c, QP_F64, of[i].na, of[i].a, 1),
                            test_leaf(&c, QP_F64, of[i].nb, of[i].b, 2) };
        const qp_tensor *y = nn(&c, in);
        ck_assert_int_eq(y->ndim, of[i].ny);
        for (int d = 0; d < y->ndim; d++) ck_assert_int_eq(y->shape[d], of[i].y[d]);
        const int64_t k = of[i].a[of[i].na - 1],
                      m = of[i].na == 1   ? 1
                          : of[i].na == 2 ? 3
                                          : 6,
                      n = of[i].nb > 1 ? 3 : 1;
        for (int64_t j = 0; j < qp_numel(y); j++) {
            const int64_t row = j / n % m, batch = j / n / m;
            double sum = 0;
            for (int64_t l = 0; l < k; l++)
                sum += test_get(in[0]->data, QP_F64, row * k + l) *
                       test_get(in[1]->data, QP_F64, (batch * k + l) * n + j % n);
            ck_assert_double_eq_tol(test_get(y->data, QP_F64, j), sum, 1e-14);
        }
        c.tape = NULL;
        ck_assert_double_lt(gradcheck(&c, nn, 2, in), 1e-9);
    }
    qp_ctx_release(&c);
}
END_TEST

/* A parameter's gradient keeps the product's sums: no rounding to bf16 in between. */
START_TEST(bf16_parameters_get_f32_gradients)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    const int64_t a[] = { 2, 5, 7 }, w[] = { 7, 3 };
    qp_tensor *in[] = { test_leaf(&c, QP_BF16, 3, a, 1), test_param(&c, QP_BF16, 2, w, 2) };
    qp_tensor *exact[] = { test_leaf(&c, QP_F64, 3, a, 1), test_param(&c, QP_F64, 2, w, 2) };
    test_run(&c, nn, 2, in);
    test_run(&c, nn, 2, exact);
    ck_assert_double_lt(test_difference(in[0]->grad, QP_BF16, exact[0]->grad, QP_F64, 70),
                        1. / 256);
    ck_assert_double_lt(test_difference(in[1]->grad, QP_F32, exact[1]->grad, QP_F64, 21), 1e-6);
    const int64_t many[] = { 2, 7, 3 };
    in[0] = test_param(&c, QP_BF16, 2, a + 1, 3);
    in[1] = test_param(&c, QP_BF16, 3, many, 4);
    exact[0] = test_param(&c, QP_F64, 2, a + 1, 3);
    exact[1] = test_param(&c, QP_F64, 3, many, 4);
    test_run(&c, nn, 2, in);
    test_run(&c, nn, 2, exact);
    ck_assert_double_lt(test_difference(in[0]->grad, QP_F32, exact[0]->grad, QP_F64, 35), 1e-6);
    ck_assert_double_lt(test_difference(in[1]->grad, QP_F32, exact[1]->grad, QP_F64, 42), 1e-6);
    qp_ctx_release(&c);
}
END_TEST

/* Products large enough for threads, alone and by the batch: any number of threads gives the same
   bits, and so does a row, or a product of the batch, alone. */
START_TEST(bits_do_not_depend_on_threads_or_neighbours)
{
    const int threads = omp_get_max_threads();
    const int64_t a[] = { 9, 97, 70 }, b[] = { 9, 131, 70 }, row[] = { 1, 70 };
    for (int build = 0; build < TEST_BUILDS; build++) {
        qp_storage type;
        qp_ctx c;
        if (!test_build(build, &type)) continue;
        test_ctx(&c, NULL);
        qp_tensor *in[] = { test_leaf(&c, type, 3, a, 1), test_leaf(&c, type, 3, b, 2) };
        void *kept[3] = { NULL };
        for (int t = 1; t <= 3; t++) {
            omp_set_num_threads(t);
            const qp_tensor *y = nt(&c, in);
            c.tape = NULL;
            if (t == 1) kept[0] = y->data;
            ck_assert_mem_eq(kept[0], y->data, qp_value_bytes(y));
            test_run(&c, nt, 2, in);
            for (int k = 0; k < 2; k++) {
                const size_t bytes = qp_value_bytes(in[k]);
                if (t == 1)
                    kept[k + 1] = memcpy(qp_arena_alloc(&c.arena, bytes), in[k]->grad, bytes);
                ck_assert_mem_eq(kept[k + 1], in[k]->grad, bytes);
            }
        }
        omp_set_num_threads(threads);
        for (int64_t i = 0; i < 9 * 97; i += 89) {
            char *at_a = (char *)in[0]->data + qp_storage_bytes(type, i * 70);
            char *at_b = (char *)in[1]->data + qp_storage_bytes(type, i / 97 * 131 * 70);
            qp_tensor *alone[] = { qp_wrap_data(&c, type, 2, row, at_a),
                                   qp_wrap_data(&c, type, 2, b + 1, at_b) };
            ck_assert_mem_eq(nt(&c, alone)->data, (char *)kept[0] + qp_storage_bytes(type, i * 131),
                             qp_storage_bytes(type, 131));
        }
        qp_ctx_release(&c);
    }
}
END_TEST

START_TEST(nan_and_infinity_reach_their_row_only)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[] = { test_leaf(&c, QP_F32, 2, (int64_t[]){ 3, 4 }, 1),
                        test_leaf(&c, QP_F32, 2, (int64_t[]){ 4, 2 }, 2) };
    test_set(in[0]->data, QP_F32, 0, (double)NAN);
    test_set(in[0]->data, QP_F32, 11, (double)INFINITY);
    const float *y = nn(&c, in)->data, *b = in[1]->data;
    c.tape = NULL;
    ck_assert(isnan(y[0]) && isnan(y[1]));
    ck_assert(isfinite(y[2]) && isfinite(y[3]));
    for (int i = 4; i < 6; i++) ck_assert(isinf(y[i]) && signbit(y[i]) == signbit(b[i + 2]));
    qp_ctx_release(&c);
}
END_TEST

/* Nothing is kept for a product that leads to nothing trained. */
START_TEST(sides_without_gradient_are_left_alone)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[2];
    sides(&c, 0, 0, QP_F32, in);
    in[0]->needs_grad = false;
    test_run(&c, nn, 2, in);
    ck_assert_ptr_null(in[0]->grad);
    ck_assert_ptr_nonnull(in[1]->grad);
    in[1]->needs_grad = false;
    ck_assert(!nn(&c, in)->needs_grad);
    ck_assert_ptr_null(c.tape);
    qp_ctx_release(&c);
}
END_TEST

static const struct {
    int na, nb;
    int64_t a[3], b[3];
    qp_storage type_b;
    bool ta, tb;
} bad[] = {
    { 2, 2, { 5, 7 }, { 5, 7 }, QP_F32, false, false },
    { 2, 2, { 5, 7 }, { 7, 5 }, QP_F32, false, true },
    { 2, 2, { 5, 7 }, { 7, 5 }, QP_F32, true, false },
    { 3, 3, { 2, 5, 7 }, { 3, 7, 5 }, QP_F32, false, false },
    { 0, 2, { 0 }, { 7, 5 }, QP_F32, false, false },
    { 2, 0, { 5, 7 }, { 0 }, QP_F32, false, false },
    { 1, 2, { 7 }, { 7, 5 }, QP_F32, true, false },
    { 2, 1, { 5, 7 }, { 7 }, QP_F32, false, true },
    { 2, 2, { 5, 7 }, { 7, 5 }, QP_F64, false, false },
};
START_TEST(wrong_shapes_exit_70)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_matmul(&c, test_leaf(&c, QP_F32, bad[_i].na, bad[_i].a, 1),
              test_leaf(&c, bad[_i].type_b, bad[_i].nb, bad[_i].b, 2), bad[_i].ta, bad[_i].tb);
}
END_TEST

Suite *suite_matmul(void)
{
    Suite *s = suite_create("matmul");
    TCase *t = tcase_create("matmul");
    tcase_add_test(t, values_follow_the_definition);
    tcase_add_test(t, gradient_matches_differences);
    tcase_add_test(t, rank_1_is_a_row_or_a_column);
    tcase_add_test(t, bf16_parameters_get_f32_gradients);
    tcase_add_test(t, bits_do_not_depend_on_threads_or_neighbours);
    tcase_add_test(t, nan_and_infinity_reach_their_row_only);
    tcase_add_test(t, sides_without_gradient_are_left_alone);
    tcase_add_loop_exit_test(t, wrong_shapes_exit_70, 70, 0, sizeof bad / sizeof bad[0]);
    suite_add_tcase(s, t);
    return s;
}
