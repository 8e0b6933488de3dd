/* slice, concat, stack, expand: copies, so exact. */
#include "tests/suites.h"
#include "tests/support/expect.h"
#include <string.h>

static qp_tensor *slices(qp_ctx *c, qp_tensor **in)
{
    qp_tensor *x = in[0]; /* overlapping windows: their gradients add up */
    return qp_add(c, qp_slice(c, x, 1, 1, 4), qp_slice(c, x, -2, -3, 5));
}
static qp_tensor *slice_of_the_first_axis(qp_ctx *c, qp_tensor **in)
{
    return qp_slice(c, in[0], 0, 1, 2);
}
static qp_tensor *slice_of_the_last_axis(qp_ctx *c, qp_tensor **in)
{
    return qp_slice(c, in[0], -1, 1, 3);
}
static qp_tensor *concat_of_one_twice(qp_ctx *c, qp_tensor **in)
{
    return qp_concat(c, 3, (qp_tensor *[]){ in[0], in[1], in[0] }, 1);
}
static qp_tensor *concat_first(qp_ctx *c, qp_tensor **in)
{
    return qp_concat(c, 2, (qp_tensor *[]){ in[0], qp_square(c, in[0]) }, -3);
}
static qp_tensor *concat_last(qp_ctx *c, qp_tensor **in)
{
    return qp_concat(c, 2, (qp_tensor *[]){ qp_square(c, in[0]), in[0] }, 2);
}
static qp_tensor *stack_first(qp_ctx *c, qp_tensor **in)
{
    return qp_stack(c, 2, (qp_tensor *[]){ qp_square(c, in[0]), in[0] }, 0);
}
static qp_tensor *stack_in_the_middle(qp_ctx *c, qp_tensor **in)
{
    return qp_stack(c, 3, (qp_tensor *[]){ in[0], qp_square(c, in[0]), in[0] }, 1);
}
static qp_tensor *stack_last(qp_ctx *c, qp_tensor **in)
{
    return qp_stack(c, 2, (qp_tensor *[]){ in[0], qp_square(c, in[0]) }, -1);
}
static qp_tensor *expand(qp_ctx *c, qp_tensor **in)
{
    return qp_expand(c, in[2], QP_SHAPE(2, 3, 5, 4));
}
static qp_tensor *expand_and_more(qp_ctx *c, qp_tensor **in)
{
    return qp_mul(c, in[2], qp_expand(c, in[2], QP_SHAPE(3, 5, 4)));
}

static const test_op all[] = { slices,       slice_of_the_first_axis, slice_of_the_last_axis,
                               concat_first, concat_of_one_twice,     concat_last,
                               stack_first,  stack_in_the_middle,     stack_last,
                               expand,       expand_and_more };
enum { COUNT = sizeof all / sizeof *all };

START_TEST(gradients_match_differences)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    for (int i = 0; i < COUNT; i++) {
        qp_tensor *in[] = { test_leaf(&c, QP_F64, QP_SHAPE(3, 5, 4), 1),
                            test_leaf(&c, QP_F64, QP_SHAPE(3, 2, 4), 2),
                            test_leaf(&c, QP_F64, QP_SHAPE(3, 1, 4), 3) };
        const bool narrow = all[i] == expand || all[i] == expand_and_more;
        in[0]->needs_grad = !narrow;
        in[1]->needs_grad = all[i] == concat_of_one_twice;
        in[2]->needs_grad = narrow;
        const double off = gradcheck(&c, all[i], 3, in);
        ck_assert_msg(off < 1e-9, "op %d: %g", i, off);
    }
    qp_ctx_release(&c);
}
END_TEST

/* 0, 1, 2 ... in a tensor. */
static qp_tensor *counted(qp_ctx *c, qp_storage storage, int ndim, const int64_t *shape)
{
    qp_tensor *x = test_leaf(c, storage, ndim, shape, 1);
    for (int64_t i = 0; i < qp_numel(x); i++) test_set(x->data, storage, i, (double)(i % 256));
    return x;
}

/* Large enough for threads; every row kind: contiguous, strided, one element. */
START_TEST(every_build_puts_every_element_in_its_place)
{
    enum { A = 37, B = 9, D = 131, FROM = 2, TO = 7, W = TO - FROM };
    qp_ctx c;
    qp_storage type;
    if (!test_build(_i, &type)) return;
    test_ctx(&c, NULL);
    qp_tensor *x = counted(&c, type, QP_SHAPE(A, B, D));
    const qp_tensor *part = qp_slice(&c, x, 1, FROM, TO), *last = qp_slice(&c, x, 2, D - 1, D);
    test_expect_shape(part, QP_SHAPE(A, W, D));
    test_expect_shape(last, QP_SHAPE(A, B, 1));
    for (int64_t i = 0; i < A * W * D; i++) {
        const int64_t from = (i / (W * D) * B + i / D % W + FROM) * D + i % D;
        ck_assert_double_eq(qp_at(part, i), qp_at(x, from));
    }
    for (int64_t i = 0; i < A * B; i++)
        ck_assert_double_eq(qp_at(last, i), qp_at(x, i * D + D - 1));

    for (int axis = 0; axis < 3; axis++) { /* cut and joined, nothing has changed */
        qp_tensor *cut[] = { qp_slice(&c, x, axis, 0, 4), qp_slice(&c, x, axis, 4, 4),
                             qp_slice(&c, x, axis, 4, 5), qp_slice(&c, x, axis, 5, 1000) };
        const qp_tensor *y = qp_concat(&c, 4, cut, axis);
        test_expect_shape(y, x->ndim, x->shape);
        ck_assert_mem_eq(y->data, x->data, qp_value_bytes(x));
    }
    for (int axis = 0; axis < 4; axis++) { /* stacked is reshaped and joined */
        int64_t shape[4] = { A, B, D, 1 };
        for (int d = 3; d > axis; d--) shape[d] = shape[d - 1];
        shape[axis] = 1;
        qp_tensor *z = qp_affine(&c, x, -1, 0);
        qp_tensor *flat[] = { qp_reshape(&c, x, 4, shape), qp_reshape(&c, z, 4, shape) };
        const qp_tensor *y = qp_stack(&c, 2, (qp_tensor *[]){ x, z }, axis),
                        *w = qp_concat(&c, 2, flat, axis);
        test_expect_shape(y, w->ndim, w->shape);
        ck_assert_mem_eq(y->data, w->data, qp_value_bytes(w));
    }
    qp_tensor *row = qp_slice(&c, x, 1, 3, 4); /* (A, 1, D) */
    const qp_tensor *wide = qp_expand(&c, row, QP_SHAPE(2, A, B, D));
    for (int64_t i = 0; i < 2 * A * B * D; i++)
        ck_assert_double_eq(qp_at(wide, i), qp_at(row, i / (B * D) % A * D + i % D));
    const qp_tensor *columns = qp_expand(&c, (qp_tensor *)last, QP_SHAPE(A, B, 200));
    for (int64_t i = 0; i < A * B * 200; i++)
        ck_assert_double_eq(qp_at(columns, i), qp_at(last, i / 200));
    qp_ctx_release(&c);
}
END_TEST

START_TEST(threads_change_no_bit)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    for (int i = 0; i < COUNT; i++) {
        qp_tensor *in[] = { test_leaf(&c, QP_BF16, QP_SHAPE(61, 5, 137), 1),
                            test_leaf(&c, QP_BF16, QP_SHAPE(61, 2, 137), 2),
                            test_leaf(&c, QP_BF16, QP_SHAPE(3, 1, 4), 3) };
        test_threads_change_no_bit(&c, all[i], 3, in);
    }
    qp_ctx_release(&c);
}
END_TEST

/* list(range(6))[start:end] */
START_TEST(slices_are_cut_as_pythons)
{
    static const struct {
        int64_t start, end, first, count;
    } cut[] = { { 0, 6, 0, 6 },         { 2, 4, 2, 2 },        { -2, 6, 4, 2 },    { 0, -1, 0, 5 },
                { -9, 2, 0, 2 },        { 1, 99, 1, 5 },       { 4, 2, 0, 0 },     { 6, 6, 0, 0 },
                { 99, 9, 0, 0 },        { -1, -3, 0, 0 },      { -99, -98, 0, 0 }, { -6, -5, 0, 1 },
                { 5, INT64_MAX, 5, 1 }, { INT64_MIN, 1, 0, 1 } };
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *x = counted(&c, QP_F64, QP_SHAPE(6));
    for (size_t i = 0; i < sizeof cut / sizeof *cut; i++) {
        qp_tensor *y = qp_slice(&c, x, 0, cut[i].start, cut[i].end);
        test_expect_shape(y, QP_SHAPE(cut[i].count));
        for (int64_t j = 0; j < cut[i].count; j++)
            ck_assert_double_eq(qp_at(y, j), (double)(cut[i].first + j));
    }
    qp_ctx_release(&c);
}
END_TEST

START_TEST(beside_a_slice_the_gradient_is_0)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    const double want[] = { 0, 0, 3, 3, 0, 0 };
    qp_tensor *x = counted(&c, QP_F64, QP_SHAPE(6));
    qp_backward(&c, qp_sum(&c, qp_slice(&c, x, 0, 2, 4), QP_ALL, false), 3);
    expect_grad(x, want, 0);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(size_0_goes_through_everything)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    const double zeros[] = { 0, 0, 0 };
    qp_tensor *none = counted(&c, QP_F64, QP_SHAPE(0, 3)), *x = counted(&c, QP_F64, QP_SHAPE(3));
    qp_tensor *parts[] = { none, qp_stack(&c, 1, &x, 0), none };
    qp_tensor *y = qp_concat(&c, 3, parts, 0);
    test_expect_shape(y, QP_SHAPE(1, 3));
    expect_values(y, x->data, 0);
    qp_backward(&c, qp_sum(&c, y, QP_ALL, false), 1);
    ck_assert_ptr_nonnull(none->grad);

    test_expect_shape(qp_stack(&c, 2, (qp_tensor *[]){ none, none }, 1), QP_SHAPE(0, 2, 3));
    qp_tensor *wide = qp_expand(&c, x, QP_SHAPE(0, 3)); /* summed over nothing */
    test_expect_shape(wide, QP_SHAPE(0, 3));
    x->grad = NULL;
    qp_backward_from(&c, wide, NULL);
    expect_grad(x, zeros, 0);
    x->grad = NULL;
    qp_backward_from(&c, qp_slice(&c, x, 0, 2, 2), NULL);
    expect_grad(x, zeros, 0);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(rank_0_is_stacked_and_expanded)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    const double two = 2;
    qp_tensor *x = test_input(&c, QP_F64, 0, NULL, &two);
    qp_tensor *y = qp_stack(&c, 3, (qp_tensor *[]){ x, x, x }, -1);
    test_expect_shape(y, QP_SHAPE(3));
    qp_tensor *z = qp_expand(&c, x, QP_SHAPE(2, 3));
    qp_backward(&c, qp_sum(&c, qp_add(&c, y, z), QP_ALL, false), 1);
    expect_grad(x, (double[]){ 12 }, 0); /* each of y's three in two sums, and six of z */
    test_expect_shape(qp_expand(&c, x, 0, NULL), 0, NULL);
    qp_ctx_release(&c);
}
END_TEST

static qp_tensor *concat_with_a_constant(qp_ctx *c, qp_tensor **in)
{
    return qp_concat(c, 2, (qp_tensor *[]){ qp_detach(c, in[0]), in[0] }, 2);
}
static qp_tensor *stack_with_a_constant(qp_ctx *c, qp_tensor **in)
{
    return qp_stack(c, 2, (qp_tensor *[]){ qp_detach(c, in[0]), in[0] }, 2);
}

/* Both passes' gradients are f32 when they meet: 1 + 2^-10 is no bf16. */
START_TEST(bf16_parameters_get_f32_gradients)
{
    static const test_op some[] = { slice_of_the_last_axis, concat_with_a_constant,
                                    stack_with_a_constant, expand };
    qp_ctx c;
    test_ctx(&c, NULL);
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        qp_tensor *p = test_param(&c, QP_BF16, QP_SHAPE(3, 1, 4), 1);
        const double times = some[i] == expand ? 10 : 1;
        for (int pass = 0; pass < 2; pass++) {
            qp_tensor *y = some[i](&c, (qp_tensor *[]){ p, p, p });
            const qp_tensor *dy = qp_full(&c, QP_BF16, y->ndim, y->shape, pass ? 0x1p-10 : 1);
            qp_backward_from(&c, y, dy->data);
        }
        ck_assert_double_eq(test_get(p->grad, QP_F32, 9), times * (1 + 0x1p-10));
    }
    qp_ctx_release(&c);
}
END_TEST

static void parts(int count, int axis, bool stack, qp_storage type, int64_t a, int64_t b, int64_t d)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *x[] = { qp_full(&c, QP_F32, QP_SHAPE(2, 3, 4), 0),
                       qp_full(&c, type, QP_SHAPE(a, b, d), 0) };
    if (stack)
        qp_stack(&c, count, x, axis);
    else
        qp_concat(&c, count, x, axis);
}
START_TEST(concat_of_other_sizes_exits_70) { parts(2, 1, false, QP_F32, 2, 9, 5); }
END_TEST
START_TEST(concat_of_another_type_exits_70) { parts(2, 1, false, QP_F64, 2, 3, 4); }
END_TEST
START_TEST(concat_along_no_axis_exits_70) { parts(2, 3, false, QP_F32, 2, 3, 4); }
END_TEST
START_TEST(concat_of_nothing_exits_70) { parts(0, 0, false, QP_F32, 2, 3, 4); }
END_TEST
START_TEST(stack_of_other_shapes_exits_70) { parts(2, 0, true, QP_F32, 1, 3, 4); }
END_TEST
START_TEST(stack_along_no_axis_exits_70) { parts(2, 4, true, QP_F32, 2, 3, 4); }
END_TEST
START_TEST(stack_before_the_first_axis_exits_70) { parts(2, -5, true, QP_F32, 2, 3, 4); }
END_TEST
START_TEST(stack_of_nothing_exits_70) { parts(0, 0, true, QP_F32, 2, 3, 4); }
END_TEST
START_TEST(stack_above_the_highest_rank_exits_70)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *x = qp_full(&c, QP_F32, QP_SHAPE(1, 1, 1, 1, 1, 1, 1, 1), 0);
    qp_stack(&c, 1, &x, 0);
}
END_TEST
static void widen(int64_t n, int64_t to)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_expand(&c, qp_full(&c, QP_F32, QP_SHAPE(3, n), 0), QP_SHAPE(3, to));
}
START_TEST(expand_of_a_size_above_1_exits_70) { widen(2, 4); }
END_TEST
START_TEST(expand_to_a_smaller_size_exits_70) { widen(2, 1); }
END_TEST
START_TEST(expand_to_a_lower_rank_exits_70)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_expand(&c, qp_full(&c, QP_F32, QP_SHAPE(1, 3), 0), QP_SHAPE(3));
}
END_TEST
START_TEST(slice_of_no_axis_exits_70)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_slice(&c, qp_scalar(&c, QP_F32, 0), 0, 0, 1);
}
END_TEST

Suite *suite_parts(void)
{
    Suite *s = suite_create("parts");
    TCase *t = tcase_create("parts");
    tcase_add_test(t, gradients_match_differences);
    tcase_add_loop_test(t, every_build_puts_every_element_in_its_place, 0, TEST_BUILDS);
    tcase_add_test(t, threads_change_no_bit);
    tcase_add_test(t, slices_are_cut_as_pythons);
    tcase_add_test(t, beside_a_slice_the_gradient_is_0);
    tcase_add_test(t, size_0_goes_through_everything);
    tcase_add_test(t, rank_0_is_stacked_and_expanded);
    tcase_add_test(t, bf16_parameters_get_f32_gradients);
    tcase_add_exit_test(t, concat_of_other_sizes_exits_70, 70);
    tcase_add_exit_test(t, concat_of_another_type_exits_70, 70);
    tcase_add_exit_test(t, concat_along_no_axis_exits_70, 70);
    tcase_add_exit_test(t, concat_of_nothing_exits_70, 70);
    tcase_add_exit_test(t, stack_of_other_shapes_exits_70, 70);
    tcase_add_exit_test(t, stack_along_no_axis_exits_70, 70);
    tcase_add_exit_test(t, stack_before_the_first_axis_exits_70, 70);
    tcase_add_exit_test(t, stack_of_nothing_exits_70, 70);
    tcase_add_exit_test(t, stack_above_the_highest_rank_exits_70, 70);
    tcase_add_exit_test(t, expand_of_a_size_above_1_exits_70, 70);
    tcase_add_exit_test(t, expand_to_a_smaller_size_exits_70, 70);
    tcase_add_exit_test(t, expand_to_a_lower_rank_exits_70, 70);
    tcase_add_exit_test(t, slice_of_no_axis_exits_70, 70);
    suite_add_tcase(s, t);
    return s;
}
