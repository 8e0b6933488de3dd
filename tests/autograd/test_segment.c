#include "autograd/segment.h"
#include "tests/suites.h"
#include "tests/support/gradcheck.h"
#include <string.h>

enum { N = 5, D = 8, F = 6, R = 2, WEIGHTS = 4 };

/* dropout(x w0^T + lora) + more: draws two streams. Of x's shape, or (N, F) when env says so. */
static qp_tensor *block(qp_ctx *c, void *module, const void *env, qp_tensor *x)
{
    qp_tensor **w = module;
    qp_tensor *y = qp_lora(c, qp_linear(c, x, w[0]), x, w[1], w[2], 0.5, 0.25);
    y = qp_dropout(c, qp_rmsnorm(c, y, w[3], 1e-5), 0.25);
    return env ? y : qp_linear(c, qp_swiglu(c, y, y), w[4]);
}

static const int narrow = 1;
static qp_tensor *segment(qp_ctx *c, qp_tensor **w, qp_tensor *x)
{
    return qp_segment(c, block, w, NULL, x, 2, (int64_t[]){ N, D });
}

/* x also goes round the segment, so that its gradient is there before or after the segment's. */
static qp_tensor *net(qp_ctx *c, qp_tensor **in)
{
    qp_tensor *h = qp_add(c, in[0], in[0]);
    h = qp_add(c, h, segment(c, in + 1, h));
    h = qp_add(c, segment(c, in + 1, h), h);
    return qp_segment(c, block, in + 1, &narrow, h, 2, (int64_t[]){ N, F });
}

/* A segment of segments. */
static qp_tensor *two(qp_ctx *c, void *module, const void *env, qp_tensor *x)
{
    (void)env;
    return segment(c, module, segment(c, module, x));
}

static qp_tensor *nested(qp_ctx *c, qp_tensor **in)
{
    return qp_segment(c, two, in + 1, NULL, in[0], 2, (int64_t[]){ N, D });
}

static void inputs(qp_ctx *c, qp_storage s, qp_tensor *in[6])
{
    in[0] = test_leaf(c, s, 2, (int64_t[]){ N, D }, 1);
    in[1] = test_param(c, s, 2, (int64_t[]){ F, D }, 2);
    in[2] = test_param(c, s, 2, (int64_t[]){ R, D }, 3);
    in[3] = test_param(c, s, 2, (int64_t[]){ F, R }, 4);
    in[4] = test_param(c, s, 1, (int64_t[]){ F }, 5);
    in[5] = test_param(c, s, 2, (int64_t[]){ D, F }, 6);
}

START_TEST(recompute_equals_kept_bit_for_bit)
{
    const test_op op = _i % 2 ? nested : net;
    const qp_storage s = (qp_storage)(_i / 2);
    qp_ctx kept, again;
    qp_tensor *a[6], *b[6];
    test_ctx(&kept, NULL);
    test_ctx(&again, NULL);
    again.recompute = true;
    inputs(&kept, s, a);
    inputs(&again, s, b);
    qp_tensor *y = test_run(&kept, op, 6, a), *z = test_run(&again, op, 6, b);
    ck_assert_mem_eq(y->data, z->data, qp_value_bytes(y));
    for (int i = 0; i < 6; i++)
        ck_assert_mem_eq(a[i]->grad, b[i]->grad,
                         qp_storage_bytes(qp_grad_storage(a[i]), qp_numel(a[i])));
    ck_assert_uint_eq(kept.rng.next, again.rng.next);
    qp_ctx_release(&kept);
    qp_ctx_release(&again);
}
END_TEST

/* As a caller may who records only in forward. */
START_TEST(recording_may_be_off_during_backward)
{
    qp_ctx on, off;
    qp_tensor *a[6], *b[6];
    test_ctx(&on, NULL);
    test_ctx(&off, NULL);
    on.recompute = off.recompute = true;
    inputs(&on, QP_F64, a);
    inputs(&off, QP_F64, b);
    qp_tensor *y = net(&off, b);
    const double dy[N * F] = { 1, -2, 3 };
    off.recording = false;
    qp_backward_from(&off, y, dy);
    ck_assert(!off.recording);
    qp_backward_from(&on, net(&on, a), dy);
    ck_assert(on.recording);
    for (int i = 0; i < 6; i++)
        ck_assert_mem_eq(a[i]->grad, b[i]->grad, sizeof(double) * (size_t)qp_numel(a[i]));
    qp_ctx_release(&off);
    qp_ctx_release(&on);
}
END_TEST

START_TEST(gradient_matches_differences)
{
    qp_ctx c;
    qp_tensor *in[6];
    test_ctx(&c, NULL);
    c.recompute = true;
    inputs(&c, QP_F64, in);
    ck_assert_double_lt(gradcheck(&c, net, 6, in), 1e-9);
    ck_assert_double_lt(gradcheck(&c, nested, 6, in), 1e-9);
    in[0]->needs_grad = false; /* only what is inside the first segment is trained */
    ck_assert_double_lt(gradcheck(&c, nested, 6, in), 1e-9);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(frozen_segment_leaves_no_knot)
{
    qp_ctx c;
    qp_tensor *in[6];
    test_ctx(&c, NULL);
    c.recompute = true;
    inputs(&c, QP_F32, in);
    for (int i = 0; i < 6; i++) in[i]->needs_grad = false;
    ck_assert(!nested(&c, in)->needs_grad);
    ck_assert_ptr_null(c.tape);
    qp_ctx_release(&c);
}
END_TEST

static qp_tensor *ignores_x(qp_ctx *c, void *module, const void *env, qp_tensor *x)
{
    (void)env, (void)x;
    return qp_add(c, module, module);
}

/* x has a place for its gradient and nobody writes there: it must be zero, not what memory held. */
START_TEST(unused_input_gets_a_zero_gradient)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    c.recompute = true;
    qp_tensor *x = test_leaf(&c, QP_F32, 1, (int64_t[]){ 3 }, 1);
    qp_tensor *w = test_param(&c, QP_F32, 1, (int64_t[]){ 3 }, 2);
    memset(x->grad_home, 0xff, 3 * sizeof(float));
    qp_tensor *y = qp_segment(&c, ignores_x, w, NULL, x, 1, (int64_t[]){ 3 });
    qp_backward_from(&c, y, w->data);
    for (int i = 0; i < 3; i++) {
        ck_assert_double_eq(test_get(x->grad, QP_F32, i), 0);
        ck_assert_double_eq(test_get(w->grad, QP_F32, i), 2 * test_get(w->data, QP_F32, i));
    }
    qp_ctx_release(&c);
}
END_TEST

/* What is inside is gone after forward, and after backward. */
START_TEST(only_the_output_outlives_the_segment)
{
    qp_ctx c;
    qp_tensor *in[6];
    test_ctx(&c, NULL);
    inputs(&c, QP_F32, in);
    size_t used[2];
    for (int recompute = 0; recompute < 2; recompute++) {
        c.recompute = recompute;
        c.recording = recompute;
        const size_t before = c.arena.used;
        for (int i = 0; i < 10; i++) in[0] = segment(&c, in + 1, in[0]);
        used[recompute] = c.arena.used - before;
    }
    ck_assert_uint_le(used[0], 10 * (N * D * sizeof(float) + sizeof(qp_tensor) + 128));
    ck_assert_uint_le(used[1], used[0] + 10 * 256); /* the knots */
    qp_ctx_release(&c);
}
END_TEST

static char calls[64];
static void enter(void *state, void *module) { (void)state, (void)module, strcat(calls, "("); }
static void leave(void *state, void *module) { (void)state, (void)module, strcat(calls, ")"); }

START_TEST(weights_are_resident_in_forward_and_in_backward)
{
    qp_ctx c;
    qp_tensor *in[6];
    test_ctx(&c, NULL);
    c.recompute = true;
    c.residency = (qp_residency){ enter, leave, NULL };
    inputs(&c, QP_F32, in);
    test_run(&c, net, 6, in);
    ck_assert_str_eq(calls, "()()()()()()");
    qp_ctx_release(&c);
}
END_TEST

static qp_tensor *wrong_shape(qp_ctx *c, void *module, const void *env, qp_tensor *x)
{
    (void)env;
    return qp_linear(c, x, module);
}

START_TEST(wrong_shape_exits_70)
{
    qp_ctx c;
    qp_tensor *in[6];
    test_ctx(&c, NULL);
    c.recompute = true;
    inputs(&c, QP_F32, in);
    qp_segment(&c, wrong_shape, in[1], NULL, in[0], 2, (int64_t[]){ N, D });
}
END_TEST

Suite *suite_segment(void)
{
    Suite *s = suite_create("segment");
    TCase *t = tcase_create("segment");
    tcase_add_loop_test(t, recompute_equals_kept_bit_for_bit, 0, 2 * QP_NCOMPUTE);
    tcase_add_test(t, recording_may_be_off_during_backward);
    tcase_add_test(t, gradient_matches_differences);
    tcase_add_test(t, frozen_segment_leaves_no_knot);
    tcase_add_test(t, unused_input_gets_a_zero_gradient);
    tcase_add_test(t, only_the_output_outlives_the_segment);
    tcase_add_test(t, weights_are_resident_in_forward_and_in_backward);
    tcase_add_exit_test(t, wrong_shape_exits_70, 70);
    suite_add_tcase(s, t);
    return s;
}
