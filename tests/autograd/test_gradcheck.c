/* qp_gradcheck finds what it is for, says where, and leaves no trace. */
#include "autograd/general.h"
#include "autograd/grad.h"
#include "tests/suites.h"
#include "tests/support/gradcheck.h"
#include <math.h>
#include <string.h>

/* An op from outside: y = x, whose gradient is `slope` times dy at element 4, dy elsewhere. */
typedef struct {
    qp_node node;
    double slope;
} slip_node;

static void slip_backward(qp_ctx *c, qp_node *node)
{
    const qp_tensor *y = node->out;
    ((double *)y->grad)[4] *= ((slip_node *)node)->slope;
    qp_grad_pass(c, node->in[0], y, y->grad, 1);
}
static const qp_op slip_op = { "slip", slip_backward };

static qp_tensor *slip(qp_ctx *c, qp_tensor *x, double slope)
{
    qp_tensor *y = qp_like(c, x);
    slip_node *n = qp_record(c, sizeof *n, &slip_op, y, QP_IN(x));
    if (n) n->slope = slope;
    memcpy(y->data, x->data, qp_value_bytes(x));
    return y;
}

static qp_tensor *product_with_slip(qp_ctx *c, qp_tensor **in, void *slope)
{
    return qp_mul(c, in[0], slip(c, in[1], *(double *)slope));
}

START_TEST(a_slip_of_a_thousandth_is_found_and_named)
{
    qp_ctx c;
    qp_err err = { 0 };
    qp_gradcheck_report r;
    test_ctx(&c, NULL);
    qp_tensor *in[] = { test_leaf(&c, QP_F64, 1, (int64_t[]){ 6 }, 1),
                        test_leaf(&c, QP_F64, 2, (int64_t[]){ 2, 6 }, 2) };
    double slope = 1;
    ck_assert_int_eq(qp_gradcheck(&c, product_with_slip, &slope, 2, in, 1e-7, &r, &err), QP_OK);
    ck_assert_double_lt(r.worst, 1e-10);
    ck_assert_double_lt(r.worst_5_point, 1e-7);
    ck_assert_int_eq(r.checked, 18);
    slope = 1.001;
    ck_assert_int_eq(qp_gradcheck(&c, product_with_slip, &slope, 2, in, 1e-7, &r, &err), QP_FAIL);
    ck_assert_int_eq(r.input, 1);
    ck_assert_int_eq(r.element, 4);
    ck_assert_double_eq_tol(r.got / r.expected, 1.001, 1e-9);
    ck_assert_double_gt(r.worst_5_point, 1e-5);
    ck_assert_ptr_nonnull(strstr(err.msg, "input 1, f64(2, 6), element 4"));
    qp_ctx_release(&c);
}
END_TEST

static qp_tensor *forgets(qp_ctx *c, qp_tensor **in, void *arg)
{
    (void)arg;
    qp_tensor *hidden = qp_wrap_data(c, QP_F64, in[0]->ndim, in[0]->shape, in[0]->data);
    return qp_mul(c, hidden, in[1]);
}

START_TEST(a_gradient_nobody_wrote_counts_as_0)
{
    qp_ctx c;
    qp_err err = { 0 };
    qp_gradcheck_report r;
    test_ctx(&c, NULL);
    qp_tensor *in[] = { test_leaf(&c, QP_F64, 1, (int64_t[]){ 6 }, 1),
                        test_leaf(&c, QP_F64, 1, (int64_t[]){ 6 }, 2) };
    ck_assert_int_eq(qp_gradcheck(&c, forgets, NULL, 2, in, 1e-7, &r, &err), QP_FAIL);
    ck_assert_int_eq(r.input, 0);
    ck_assert_double_eq(r.got, 0);
    ck_assert_double_eq_tol(r.worst, 1, 1e-9);
    in[0]->needs_grad = false;
    ck_assert_int_eq(qp_gradcheck(&c, forgets, NULL, 2, in, 1e-7, NULL, &err), QP_OK);
    qp_ctx_release(&c);
}
END_TEST

static qp_tensor *product(qp_ctx *c, qp_tensor **in, void *arg)
{
    (void)arg;
    return qp_dropout(c, qp_mul(c, in[0], in[2]), 0.3);
}

START_TEST(inputs_and_context_stay_as_they_were)
{
    qp_ctx c;
    qp_err err = { 0 };
    test_ctx(&c, NULL);
    qp_tensor *x = test_leaf(&c, QP_F64, 1, (int64_t[]){ 6 }, 1);
    qp_tensor *earlier = qp_square(&c, x); /* something is on the tape */
    qp_tensor *in[] = { x, NULL, x };
    x->grad = x->grad_home;
    memset(x->grad, 7, qp_value_bytes(x));
    const qp_tensor before = *x;
    double values[6];
    memcpy(values, x->data, sizeof values);
    qp_node *const tape = c.tape;
    const qp_rng rng = c.rng;
    const size_t used = c.arena.used;
    ck_assert_int_eq(qp_gradcheck(&c, product, NULL, 3, in, 1e-7, NULL, &err), QP_OK);
    ck_assert_mem_eq(x, &before, sizeof before);
    ck_assert_mem_eq(x->data, values, sizeof values);
    for (size_t i = 0; i < sizeof values; i++) ck_assert_int_eq(((char *)x->grad)[i], 7);
    ck_assert_ptr_eq(c.tape, tape);
    ck_assert_ptr_nonnull(earlier->data);
    ck_assert_mem_eq(&c.rng, &rng, sizeof rng);
    ck_assert_uint_eq(c.arena.used, used);
    qp_ctx_release(&c);
}
END_TEST

static qp_tensor *counts_calls(qp_ctx *c, qp_tensor **in, void *calls)
{
    return qp_affine(c, in[0], ++*(int *)calls, 0);
}
static qp_tensor *narrow(qp_ctx *c, qp_tensor **in, void *arg)
{
    (void)arg;
    return qp_cast(c, in[0], QP_F32);
}
static qp_tensor *root(qp_ctx *c, qp_tensor **in, void *arg)
{
    (void)arg;
    return qp_sqrt(c, in[0]);
}

START_TEST(what_cannot_be_checked_is_refused)
{
    qp_ctx c;
    qp_err err = { 0 };
    qp_gradcheck_report r;
    int calls = 0;
    test_ctx(&c, NULL);
    qp_tensor *x = test_leaf(&c, QP_F64, 1, (int64_t[]){ 6 }, 1),
              *f = test_leaf(&c, QP_F32, 1, (int64_t[]){ 6 }, 1);
    ck_assert_int_eq(qp_gradcheck(&c, root, NULL, 1, &f, 1e-7, NULL, &err), QP_USAGE);
    ck_assert_str_eq(err.msg, "gradcheck: input 0 is f32(6); it must be f64");
    ck_assert_int_eq(qp_gradcheck(&c, narrow, NULL, 1, &x, 1e-7, NULL, &err), QP_USAGE);
    ck_assert_str_eq(err.msg, "gradcheck: the result is f32(6); it must be f64");
    ck_assert_int_eq(qp_gradcheck(&c, counts_calls, &calls, 1, &x, 1e-7, NULL, &err), QP_USAGE);
    ck_assert_int_eq(calls, 2);
    ck_assert_int_eq(qp_gradcheck(&c, root, NULL, 1, &x, 1e-7, &r, &err), QP_FAIL);
    ck_assert_double_infinite(r.worst); /* the square root of a negative number */
    qp_ctx_release(&c);
}
END_TEST

Suite *suite_gradcheck(void)
{
    Suite *s = suite_create("gradcheck");
    TCase *t = tcase_create("gradcheck");
    tcase_add_test(t, a_slip_of_a_thousandth_is_found_and_named);
    tcase_add_test(t, a_gradient_nobody_wrote_counts_as_0);
    tcase_add_test(t, inputs_and_context_stay_as_they_were);
    tcase_add_test(t, what_cannot_be_checked_is_refused);
    suite_add_tcase(s, t);
    return s;
}
