/* gather and scatter_add: each is the other's backward. */
#include "base/buf.h"
#include "tests/suites.h"
#include "tests/support/expect.h"
#include <stdlib.h>
#include <string.h>

static const int32_t index_first[] = { 4, 0, 0, 4, 4, 1, 0, 0 };   /* (4, 2) into axis 0 */
static const int32_t index_last[] = { 2, 2, 0, 1, 0, 0, 2, 2, 2 }; /* (3, 3) into axis 1 */

static qp_tensor *gather_first(qp_ctx *c, qp_tensor **in)
{
    return qp_gather(c, in[0], 0, qp_index(c, QP_SHAPE(4, 2), index_first));
}
static qp_tensor *gather_last(qp_ctx *c, qp_tensor **in)
{
    return qp_gather(c, in[0], -1, qp_index(c, QP_SHAPE(3, 3), index_last));
}
static qp_tensor *gather_added(qp_ctx *c, qp_tensor **in)
{
    qp_tensor *y = qp_sum(c, qp_square(c, gather_first(c, in)), QP_ALL, false);
    return qp_add(c, qp_add(c, in[0], y), qp_sum(c, gather_last(c, in), QP_AXES(0), false));
}
static qp_tensor *scatter_first(qp_ctx *c, qp_tensor **in)
{
    return qp_scatter_add(c, in[0], 0, qp_index(c, QP_SHAPE(4, 2), index_first), in[1]);
}
static qp_tensor *scatter_last(qp_ctx *c, qp_tensor **in)
{
    return qp_scatter_add(c, in[0], 1, qp_index(c, QP_SHAPE(3, 3), index_last), in[1]);
}
static qp_tensor *scatter_added(qp_ctx *c, qp_tensor **in)
{
    qp_tensor *y = scatter_last(c, in);
    return qp_add(c, qp_sum(c, qp_mul(c, y, in[0]), QP_ALL, false), in[1]);
}

START_TEST(gradients_match_differences)
{
    static const struct {
        test_op op;
        int count;
        int64_t rows, columns; /* of the source */
    } ops[] = { { gather_first, 1, 0, 0 },  { gather_last, 1, 0, 0 },  { gather_added, 1, 0, 0 },
                { scatter_first, 2, 4, 2 }, { scatter_last, 2, 3, 3 }, { scatter_added, 2, 3, 3 } };
    qp_ctx c;
    test_ctx(&c, NULL);
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        qp_tensor *in[] = { test_leaf(&c, QP_F64, QP_SHAPE(5, 3), 1),
                            test_leaf(&c, QP_F64, QP_SHAPE(ops[i].rows, ops[i].columns), 2) };
        const double off = gradcheck(&c, ops[i].op, ops[i].count, in);
        ck_assert_msg(off < 1e-9, "op %zu: %g", i, off);
    }
    qp_ctx_release(&c);
}
END_TEST

/* ---- Against plain loops ---- */

typedef struct {
    int ndim, axis;
    int64_t shape[4], of_index[4];
} test_case;
static const test_case cases[] = {
    { 1, 0, { 5 }, { 9 } },
    { 1, 0, { 7 }, { 0 } },
    { 2, 1, { 4, 6 }, { 3, 1 } },
    { 2, 0, { 4, 6 }, { 2, 5 } },
    { 3, 1, { 3, 2, 4 }, { 2, 5, 3 } },
    { 3, 2, { 1, 1, 7 }, { 1, 1, 3 } },
    { 3, 0, { 2, 3, 1 }, { 4, 2, 1 } },
    { 3, 1, { 0, 2, 3 }, { 0, 2, 3 } },
    { 3, 0, { 2, 3, 2 }, { 4, 2, 1 } },
    { 4, 0, { 4, 2, 7, 5 }, { 3, 2, 7, 3 } },
    { 3, 1, { 2, 5, 9 }, { 2, 4, 9 } }, /* several tasks with a block that is not full */
    /* for several threads: one line, lines side by side and in blocks, rows, one element of each */
    { 1, 0, { 101 }, { 40009 } },
    { 2, 0, { 19, 233 }, { 157, 229 } },
    { 2, 1, { 233, 19 }, { 229, 157 } },
    { 2, 1, { 40009, 3 }, { 40009, 1 } },
    { 3, 1, { 25, 5, 41 }, { 25, 41, 39 } },
    { 2, 1, { 3, 700 }, { 3, 2500 } }, /* a task ends within a row and the next within another */
};
enum { CASES = sizeof cases / sizeof *cases, LARGE = 11 };

static int64_t count(int ndim, const int64_t *shape)
{
    int64_t n = 1;
    for (int d = 0; d < ndim; d++) n *= shape[d];
    return n;
}

/* For each element of the index, the element of x that it names. */
static int64_t *chosen(const test_case *t, int32_t *index)
{
    const int64_t n = count(t->ndim, t->of_index);
    int64_t *at = qp_xmalloc((size_t)n * sizeof *at + 1);
    for (int64_t i = 0; i < n; i++) {
        index[i] = (int32_t)qp_rng_below(5, 0, (uint64_t)i, (uint64_t)t->shape[t->axis]);
        int64_t left = i, step = 1;
        at[i] = 0;
        for (int d = t->ndim - 1; d >= 0; d--) {
            at[i] += step * (d == t->axis ? index[i] : left % t->of_index[d]);
            left /= t->of_index[d];
            step *= t->shape[d];
        }
    }
    return at;
}

static struct {
    const test_case *t;
    const int32_t *index;
} setting;
static qp_tensor *gather_op(qp_ctx *c, qp_tensor **in)
{
    const test_case *t = setting.t;
    return qp_gather(c, in[0], t->axis, qp_index(c, t->ndim, t->of_index, setting.index));
}
static qp_tensor *scatter_op(qp_ctx *c, qp_tensor **in)
{
    const test_case *t = setting.t;
    qp_tensor *index = qp_index(c, t->ndim, t->of_index, setting.index);
    return qp_scatter_add(c, in[0], t->axis, index, in[1]);
}

/* Sums in f64 of up to 600 numbers near 1 that are rounded once. */
static double rounding_of(qp_storage type)
{
    return type == QP_F64 ? 1e-13 : type == QP_F32 ? 6e-8 : 0x1.02p-8;
}

static void compare(qp_ctx *c, qp_storage type, const test_case *t)
{
    const int64_t n = count(t->ndim, t->of_index), all = count(t->ndim, t->shape);
    int32_t *index = qp_arena_alloc(&c->arena, (size_t)n * sizeof *index);
    int64_t *at = chosen(t, index);
    qp_tensor *in[] = { test_leaf(c, type, t->ndim, t->shape, 1),
                        test_leaf(c, type, t->ndim, t->of_index, 2) };
    setting.t = t;
    setting.index = index;
    double *sum = calloc((size_t)all + 1, sizeof *sum);

    qp_tensor *y = gather_op(c, in); /* y's gradient is the source */
    test_expect_shape(y, t->ndim, t->of_index);
    for (int64_t i = 0; i < n; i++) {
        ck_assert_double_eq(qp_at(y, i), qp_at(in[0], at[i]));
        sum[at[i]] += qp_at(in[1], i);
    }
    qp_backward_from(c, y, in[1]->data);
    ck_assert_double_lt(test_difference(in[0]->grad, type, sum, QP_F64, all), rounding_of(type));

    in[0]->grad = NULL;
    for (int64_t i = 0; i < all; i++) sum[i] += qp_at(in[0], i);
    y = scatter_op(c, in);
    test_expect_shape(y, t->ndim, t->shape);
    ck_assert_double_lt(test_difference(y->data, type, sum, QP_F64, all), rounding_of(type));
    const qp_tensor *dy = test_leaf(c, type, t->ndim, t->shape, 3);
    qp_backward_from(c, y, dy->data);
    for (int64_t i = 0; i < n; i++)
        ck_assert_double_eq(test_get(in[1]->grad, type, i), qp_at(dy, at[i]));
    ck_assert(all == 0 || !memcmp(in[0]->grad, dy->data, qp_value_bytes(dy)));
    free(sum);
    free(at);
}

START_TEST(every_build_agrees_with_plain_loops)
{
    qp_ctx c;
    qp_storage type;
    if (!test_build(_i, &type)) return;
    test_ctx(&c, NULL);
    for (int k = 0; k < CASES; k++) compare(&c, type, &cases[k]);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(threads_change_no_bit)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    for (int k = LARGE; k < CASES; k++) {
        int32_t *index =
            qp_xmalloc((size_t)count(cases[k].ndim, cases[k].of_index) * sizeof *index);
        free(chosen(&cases[k], index));
        setting.t = &cases[k];
        setting.index = index;
        qp_tensor *in[] = { test_leaf(&c, QP_F32, cases[k].ndim, cases[k].shape, 1),
                            test_leaf(&c, QP_F32, cases[k].ndim, cases[k].of_index, 2) };
        test_threads_change_no_bit(&c, gather_op, 1, in);
        test_threads_change_no_bit(&c, scatter_op, 2, in);
        free(index);
    }
    qp_ctx_release(&c);
}
END_TEST

/* One after the other in bf16, ones end at 256. */
START_TEST(equal_indices_add_up_before_they_are_rounded)
{
    enum { MANY = 1000 };
    qp_ctx c;
    test_ctx(&c, NULL);
    static const int32_t same[MANY] = { 0 };
    const double want[] = { MANY, 0 };
    qp_tensor *x = qp_full(&c, QP_BF16, QP_SHAPE(2), 0),
              *ones = qp_full(&c, QP_BF16, QP_SHAPE(MANY), 1);
    qp_tensor *index = qp_index(&c, QP_SHAPE(MANY), same);
    expect_values(qp_scatter_add(&c, x, 0, index, ones), want, 0);
    qp_want_grad(x);
    qp_backward_from(&c, qp_gather(&c, x, 0, index), ones->data);
    expect_grad(x, want, 0);
    qp_ctx_release(&c);
}
END_TEST

/* Both passes' gradients are f32 when they meet: 1 + 2^-10 is no bf16. */
START_TEST(bf16_parameters_get_f32_gradients)
{
    static const int32_t one[] = { 1 };
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *p = test_param(&c, QP_BF16, QP_SHAPE(2), 1),
              *src = test_param(&c, QP_BF16, QP_SHAPE(1), 2),
              *q = test_param(&c, QP_BF16, QP_SHAPE(2), 3);
    for (int pass = 0; pass < 2; pass++) {
        qp_tensor *index = qp_index(&c, QP_SHAPE(1), one);
        qp_tensor *y = qp_gather(&c, p, 0, index), *z = qp_scatter_add(&c, q, 0, index, src);
        qp_backward(&c, qp_sum(&c, qp_concat(&c, 2, (qp_tensor *[]){ y, z }, 0), QP_ALL, false),
                    pass ? 0x1p-10 : 1);
    }
    ck_assert_float_eq(((float *)p->grad)[0], 0);
    ck_assert_float_eq(((float *)p->grad)[1], 1 + 0x1p-10f);
    ck_assert_float_eq(((float *)src->grad)[0], 1 + 0x1p-10f);
    ck_assert_float_eq(((float *)q->grad)[0], 1 + 0x1p-10f);
    ck_assert_float_eq(((float *)q->grad)[1], 1 + 0x1p-10f);
    qp_ctx_release(&c);
}
END_TEST

/* ---- Bad input ---- */

static void choose(int axis, qp_storage type, int ndim, const int64_t *shape, int32_t last)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    int32_t index[24] = { 0 };
    qp_tensor *i = qp_index(&c, ndim, shape, index);
    index[qp_numel(i) - 1] = last;
    i->storage = type;
    qp_gather(&c, qp_full(&c, QP_F32, QP_SHAPE(3, 4), 0), axis, i);
}
START_TEST(an_index_behind_the_last_exits_70) { choose(1, QP_I32, QP_SHAPE(3, 2), 4); }
END_TEST
START_TEST(an_index_below_0_exits_70) { choose(1, QP_I32, QP_SHAPE(3, 2), -1); }
END_TEST
START_TEST(an_index_of_another_rank_exits_70) { choose(1, QP_I32, QP_SHAPE(3), 0); }
END_TEST
START_TEST(an_index_larger_beside_the_axis_exits_70) { choose(1, QP_I32, QP_SHAPE(4, 2), 0); }
END_TEST
START_TEST(an_index_of_another_type_exits_70) { choose(1, QP_F32, QP_SHAPE(3, 2), 0); }
END_TEST
START_TEST(an_axis_that_is_not_there_exits_70) { choose(2, QP_I32, QP_SHAPE(3, 2), 0); }
END_TEST

static void scatter(qp_storage type, int64_t rows, int32_t last)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    const int32_t index[] = { 0, 1, last };
    qp_scatter_add(&c, qp_full(&c, QP_F32, QP_SHAPE(3, 1), 0), 0,
                   qp_index(&c, QP_SHAPE(3, 1), index), qp_full(&c, type, QP_SHAPE(rows, 1), 0));
}
START_TEST(a_source_of_another_shape_exits_70) { scatter(QP_F32, 2, 0); }
END_TEST
START_TEST(a_source_of_another_type_exits_70) { scatter(QP_BF16, 3, 0); }
END_TEST
START_TEST(scattering_behind_the_last_exits_70) { scatter(QP_F32, 3, 3); }
END_TEST

Suite *suite_gather(void)
{
    Suite *s = suite_create("gather");
    TCase *t = tcase_create("gather");
    tcase_add_test(t, gradients_match_differences);
    tcase_add_loop_test(t, every_build_agrees_with_plain_loops, 0, TEST_BUILDS);
    tcase_add_test(t, threads_change_no_bit);
    tcase_add_test(t, equal_indices_add_up_before_they_are_rounded);
    tcase_add_test(t, bf16_parameters_get_f32_gradients);
    tcase_add_exit_test(t, an_index_behind_the_last_exits_70, 70);
    tcase_add_exit_test(t, an_index_below_0_exits_70, 70);
    tcase_add_exit_test(t, an_index_of_another_rank_exits_70, 70);
    tcase_add_exit_test(t, an_index_larger_beside_the_axis_exits_70, 70);
    tcase_add_exit_test(t, an_index_of_another_type_exits_70, 70);
    tcase_add_exit_test(t, an_axis_that_is_not_there_exits_70, 70);
    tcase_add_exit_test(t, a_source_of_another_shape_exits_70, 70);
    tcase_add_exit_test(t, a_source_of_another_type_exits_70, 70);
    tcase_add_exit_test(t, scattering_behind_the_last_exits_70, 70);
    suite_add_tcase(s, t);
    return s;
}
