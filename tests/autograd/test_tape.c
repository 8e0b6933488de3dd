#include "autograd/general.h"
#include "base/asan.h"
#include "tests/suites.h"
#include "tests/support/gradcheck.h"
#include <math.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static qp_tensor *x(qp_ctx *c) { return test_leaf(c, QP_F32, 2, (int64_t[]){ 50, 100 }, 1); }

/* x reaches y by three ways, one of them through a value that two ops read. */
static qp_tensor *diamond(qp_ctx *c, qp_tensor **in)
{
    qp_tensor *s = qp_add(c, in[0], in[1]);
    return qp_add(c, qp_swiglu(c, s, in[0]), qp_swiglu(c, in[1], s));
}

START_TEST(gradients_add_up_where_paths_meet)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[] = { test_leaf(&c, QP_F64, 2, (int64_t[]){ 3, 5 }, 1),
                        test_leaf(&c, QP_F64, 2, (int64_t[]){ 3, 5 }, 2) };
    ck_assert_double_lt(gradcheck(&c, diamond, 2, in), 1e-9);
    qp_ctx_release(&c);
}
END_TEST

/* What the loss does not depend on is neither computed back nor in the way. */
START_TEST(dead_branches_are_passed_over)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[] = { x(&c), x(&c) };
    qp_tensor *live = qp_add(&c, in[0], in[0]);
    qp_tensor *dead = qp_swiglu(&c, live, in[1]);
    qp_backward_from(&c, live, in[0]->data);
    ck_assert_ptr_null(c.tape);
    ck_assert_ptr_null(in[1]->grad);
    ck_assert_ptr_null(dead->data);
    for (int64_t i = 0; i < qp_numel(in[0]); i++)
        ck_assert_double_eq(test_get(in[0]->grad, QP_F32, i), 2 * test_get(in[0]->data, QP_F32, i));
    qp_ctx_release(&c);
}
END_TEST

START_TEST(nothing_is_recorded_for_nothing)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *a = x(&c), *b = x(&c);
    c.recording = false;
    ck_assert(!qp_add(&c, a, b)->needs_grad);
    c.recording = true;
    a->needs_grad = b->needs_grad = false;
    ck_assert(!qp_add(&c, a, b)->needs_grad);
    ck_assert_ptr_null(c.tape);
    qp_ctx_release(&c);
}
END_TEST

/* The second step in a scope takes no block that the first one had: it reuses them, all but the
   root's value and the small structs, which nobody gives back. */
START_TEST(values_and_gradients_come_back_during_the_walk)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[] = { x(&c), x(&c) };
    const size_t value = qp_value_bytes(in[0]), before = c.arena.used;
    test_run(&c, diamond, 2, in);
    /* live at once: four values, dy, and the gradients of the root, of both swiglus, of s */
    ck_assert_uint_le(c.arena.used - before, 9 * (value + 64) + 4096);
    const size_t first = c.arena.used;
    test_run(&c, diamond, 2, in);
    ck_assert_uint_le(c.arena.used - first, 2 * (value + 64) + 4096); /* root's value and dy */
    qp_ctx_release(&c);
}
END_TEST

START_TEST(scale_and_value_of_the_loss)
{
    static const int32_t targets[50] = { 1, 2, 3 };
    qp_ctx c;
    test_ctx(&c, NULL);
    for (int s = QP_F64; s < QP_NCOMPUTE; s++) {
        qp_tensor *h = test_leaf(&c, (qp_storage)s, 2, (int64_t[]){ 50, 8 }, 1);
        qp_tensor *w = test_param(&c, (qp_storage)s, 2, (int64_t[]){ 9, 8 }, 2);
        qp_tensor *loss = qp_linear_xent(&c, h, w, targets, NULL);
        const double value = test_get(loss->data, loss->storage, 0);
        qp_backward(&c, loss, 0.5);
        ck_assert_double_eq(test_get(loss->data, loss->storage, 0), value);
        const double first = test_get(w->grad, qp_grad_storage(w), 0);
        w->grad = h->grad = NULL;
        qp_backward(&c, qp_linear_xent(&c, h, w, targets, NULL), 1);
        ck_assert_double_eq(test_get(w->grad, qp_grad_storage(w), 0), 2 * first);
    }
    qp_ctx_release(&c);
}
END_TEST

START_TEST(gradients_begin_in_any_memory)
{
    qp_ctx c;
    qp_scope scope;
    test_ctx(&c, NULL);
    for (int i = 0; i < 2; i++) {
        qp_tensor *v = test_leaf(&c, QP_F64, 0, NULL, 1), *y = qp_exp(&c, v);
        const double slope = exp(test_get(v->data, QP_F64, 0)), dy = 0.5;
        qp_scope_open(&c.arena, &scope);
        memset(qp_arena_alloc(&c.arena, 4096), 0xff, 4096); /* NaN where the root's will lie */
        qp_scope_close(&c.arena, &scope);
        if (i)
            qp_backward_from(&c, y, &dy);
        else
            qp_backward(&c, y, dy);
        ck_assert_double_eq_tol(test_get(v->grad, QP_F64, 0), dy * slope, 1e-12);
    }
    qp_ctx_release(&c);
}
END_TEST

START_TEST(backward_of_what_depends_on_nothing_exits_70)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *a = x(&c);
    a->needs_grad = false;
    qp_backward_from(&c, qp_add(&c, a, a), a->data);
}
END_TEST

START_TEST(backward_of_a_matrix_exits_70)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *a = x(&c);
    qp_backward(&c, qp_add(&c, a, a), 1);
}
END_TEST

START_TEST(gradient_that_would_die_with_its_scope_exits_70)
{
    qp_ctx c;
    qp_scope s;
    test_ctx(&c, NULL);
    qp_tensor *a = x(&c);
    qp_tensor *outer = qp_add(&c, a, a);
    qp_scope_open(&c.arena, &s);
    qp_tensor *inner = qp_add(&c, outer, outer);
    qp_backward_from(&c, inner, a->data);
}
END_TEST

START_TEST(negative_dimension_exits_70)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_new(&c, QP_F32, 2, (int64_t[]){ 3, -1 });
}
END_TEST

START_TEST(text_of_a_tensor)
{
    qp_tensor t = { .storage = QP_BF16, .ndim = 2, .shape = { 5, 7 } }, one = { .storage = QP_F64 };
    ck_assert_str_eq(qp_str(&t), "bf16(5, 7)");
    ck_assert_str_eq(qp_str(&one), "f64()");
}
END_TEST

#ifndef QP_ASAN /* whose shadow memory is beyond any such limit */
START_TEST(a_limit_on_address_space_leaves_a_smaller_budget)
{
    size_t machine = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    struct rlimit limit = { machine / 2, machine / 2 };
    qp_ctx c;
    qp_err err = { 0 };
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
    ck_assert_int_eq(qp_ctx_init(&c, qp_cpu_backend(), machine, &err), QP_NOMEM);
    ck_assert_int_eq(qp_ctx_init(&c, qp_cpu_backend(), 0, &err), QP_OK);
    ck_assert_uint_lt(c.arena.cap, machine);
    ck_assert_uint_ge(c.arena.cap, machine / 8);
    qp_ctx_release(&c);
}
END_TEST
#endif

Suite *suite_tape(void)
{
    Suite *s = suite_create("tape");
    TCase *t = tcase_create("tape");
    tcase_add_test(t, gradients_add_up_where_paths_meet);
    tcase_add_test(t, dead_branches_are_passed_over);
    tcase_add_test(t, nothing_is_recorded_for_nothing);
    tcase_add_test(t, values_and_gradients_come_back_during_the_walk);
    tcase_add_test(t, scale_and_value_of_the_loss);
    tcase_add_test(t, gradients_begin_in_any_memory);
    tcase_add_test(t, text_of_a_tensor);
#ifndef QP_ASAN
    tcase_add_test(t, a_limit_on_address_space_leaves_a_smaller_budget);
#endif
    tcase_add_exit_test(t, backward_of_what_depends_on_nothing_exits_70, 70);
    tcase_add_exit_test(t, backward_of_a_matrix_exits_70, 70);
    tcase_add_exit_test(t, gradient_that_would_die_with_its_scope_exits_70, 70);
    tcase_add_exit_test(t, negative_dimension_exits_70, 70);
    suite_add_tcase(s, t);
    return s;
}
