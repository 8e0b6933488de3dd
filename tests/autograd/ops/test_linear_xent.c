#include "autograd/cpu/quant.h"
#include "autograd/cpu/weight.h"
#include "autograd/general.h"
#include "tests/suites.h"
#include "tests/support/gradcheck.h"
#include <math.h>
#include <omp.h>
#include <string.h>

enum { ROWS = 6, SIZE = 7, WORDS = 11 };
static int32_t targets[ROWS] = { 3, -1, 10, 0, -1, 3 };
static int64_t chunk = 4; /* three chunks, the last shorter */
static qp_tensor *op(qp_ctx *c, qp_tensor **in)
{
    return qp_linear_xent_in_chunks(c, in[0], in[1], targets, NULL, chunk);
}
/* w is the embedding too: head and look-up both write its gradient, whichever comes first. */
static qp_tensor *tied(qp_ctx *c, qp_tensor **in)
{
    static const int32_t ids[ROWS] = { 1, 3, 3, 0, 9, 2 };
    qp_tensor *x = qp_add(c, in[0], qp_embedding(c, in[1], ids, ROWS, in[1]->storage));
    return qp_linear_xent_in_chunks(c, x, in[1], targets, NULL, chunk);
}

static void inputs(qp_ctx *c, qp_storage s, qp_tensor *in[2])
{
    in[0] = test_leaf(c, s, 2, (int64_t[]){ ROWS, SIZE }, 1);
    in[1] = test_param(c, s, 2, (int64_t[]){ WORDS, SIZE }, 2);
}

START_TEST(gradient_matches_differences)
{
    chunk = (int64_t[]){ 4, 1, 11, 1000 }[_i];
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[2];
    inputs(&c, QP_F64, in);
    ck_assert_double_lt(gradcheck(&c, op, 2, in), 1e-9);
    ck_assert_double_lt(gradcheck(&c, tied, 2, in), 1e-9);
    in[1]->needs_grad = false;
    ck_assert_double_lt(gradcheck(&c, op, 2, in), 1e-9);
    in[1]->needs_grad = true;
    in[0]->needs_grad = false;
    ck_assert_double_lt(gradcheck(&c, op, 2, in), 1e-9);
    qp_ctx_release(&c);
}
END_TEST

/* Against the definition, logits whole; nll is written only where there is a target. */
START_TEST(loss_is_minus_log_softmax)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[2];
    inputs(&c, QP_F64, in);
    double nll[ROWS], sum = 0;
    qp_tensor *loss = qp_linear_xent_in_chunks(&c, in[0], in[1], targets, nll, 4);
    c.recording = false;
    const double *z = qp_logits(&c, in[0], in[1])->data;
    for (int i = 0; i < ROWS; i++) {
        double total = 0;
        for (int j = 0; j < WORDS; j++) total += exp(z[i * WORDS + j]);
        const double expected = targets[i] < 0 ? 0 : log(total) - z[i * WORDS + targets[i]];
        ck_assert_double_eq_tol(nll[i], expected, 1e-14);
        sum += expected;
    }
    ck_assert_double_eq_tol(*(double *)loss->data, sum, 1e-13);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(without_targets_loss_and_gradients_are_zero)
{
    static const int32_t none[ROWS] = { -1, -1, -1, -1, -1, -1 };
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[2];
    inputs(&c, QP_F32, in);
    double nll[ROWS];
    qp_tensor *loss = qp_linear_xent(&c, in[0], in[1], none, nll);
    ck_assert_double_eq(test_get(loss->data, QP_F32, 0), 0);
    qp_backward(&c, loss, 1);
    for (int i = 0; i < ROWS * SIZE; i++) ck_assert_double_eq(test_get(in[0]->grad, QP_F32, i), 0);
    for (int i = 0; i < WORDS * SIZE; i++) ck_assert_double_eq(test_get(in[1]->grad, QP_F32, i), 0);
    for (int i = 0; i < ROWS; i++) ck_assert_double_eq(nll[i], 0);
    qp_ctx_release(&c);
}
END_TEST

/* A second micro-batch without a target leaves the gradients of the first as they are. */
START_TEST(nothing_is_added_without_targets)
{
    static const int32_t none[ROWS] = { -1, -1, -1, -1, -1, -1 };
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[2];
    inputs(&c, QP_F64, in);
    double before[2][WORDS * SIZE];
    qp_backward(&c, op(&c, in), 1);
    for (int i = 0; i < 2; i++) memcpy(before[i], in[i]->grad, qp_value_bytes(in[i]));
    qp_backward(&c, qp_linear_xent(&c, in[0], in[1], none, NULL), 1);
    for (int i = 0; i < 2; i++) ck_assert_mem_eq(before[i], in[i]->grad, qp_value_bytes(in[i]));
    qp_ctx_release(&c);
}
END_TEST

/* Logits near 10^4, whose exponentials overflow. */
START_TEST(large_logits_stay_finite)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[2];
    inputs(&c, QP_F32, in);
    for (int i = 0; i < ROWS * SIZE; i++)
        test_set(in[0]->data, QP_F32, i, 1e4 * test_get(in[0]->data, QP_F32, i));
    qp_tensor *loss = test_run(&c, op, 2, in);
    ck_assert_double_finite(test_get(loss->data, QP_F32, 0));
    for (int i = 0; i < ROWS * SIZE; i++) ck_assert_double_finite(test_get(in[0]->grad, QP_F32, i));
    qp_ctx_release(&c);
}
END_TEST

START_TEST(nan_reaches_the_loss)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    for (int s = QP_F64; s < QP_NCOMPUTE; s++) {
        qp_tensor *in[2];
        inputs(&c, (qp_storage)s, in);
        test_set(in[0]->data, (qp_storage)s, 3, NAN);
        ck_assert_double_nan(test_get(op(&c, in)->data, qp_sum_storage((qp_storage)s), 0));
    }
    qp_ctx_release(&c);
}
END_TEST

/* A row's loss and gradient, to the bit, do not depend on the rows beside it or the threads,
   whether w's gradient is made as well or not. */
START_TEST(row_alone_equals_row_among_130)
{
    enum { MANY = 130, D = 33, V = 300, CHUNKS = 256 }; /* the first takes several threads */
    static int32_t all[MANY];
    qp_storage st;
    if (!test_build(_i, &st)) return;
    qp_ctx c;
    test_ctx(&c, NULL);
    for (int i = 0; i < MANY; i++) all[i] = i % 7 ? i * 2 : -1;
    for (int threads = 1; threads <= 3; threads++) {
        qp_tensor *x = test_leaf(&c, st, 2, (int64_t[]){ MANY, D }, 1);
        qp_tensor *w = test_leaf(&c, st, 2, (int64_t[]){ V, D }, 2);
        double nll[MANY], one;
        omp_set_num_threads(threads);
        w->needs_grad = threads == 2;
        qp_backward(&c, qp_linear_xent_in_chunks(&c, x, w, all, nll, CHUNKS), 0.25);
        omp_set_num_threads(1);
        w->needs_grad = false;
        for (int i = 0; i < MANY; i += 43) {
            qp_tensor *row = test_leaf(&c, st, 2, (int64_t[]){ 1, D }, 1);
            const size_t bytes = qp_value_bytes(row);
            memcpy(row->data, (char *)x->data + (size_t)i * bytes, bytes);
            qp_backward(&c, qp_linear_xent_in_chunks(&c, row, w, all + i, &one, CHUNKS), 0.25);
            ck_assert_mem_eq(&one, &nll[i], sizeof one);
            ck_assert_mem_eq(row->grad, (char *)x->grad + (size_t)i * bytes, bytes);
        }
    }
    qp_ctx_release(&c);
}
END_TEST

/* Q4_1 blocks of random bytes under scales of which no product fits bf16; a type whose values every
   product rounds. */
static void *blocks(qp_ctx *c, int64_t n)
{
    const size_t bytes = qp_storage_bytes(QP_Q4_1, n);
    uint8_t *w = qp_arena_alloc(&c->arena, bytes);
    for (size_t i = 0; i < bytes; i++) w[i] = (uint8_t)qp_rng_below(5, 0, i, 256);
    for (int64_t b = 0; b < n / 32; b++) {
        const float d = 0.1f + 0.001f * (float)b;
        memcpy(w + b * 20, (uint16_t[]){ qp_to_f16(d), qp_to_f16(-7.7f * d) }, 4);
    }
    return w;
}

/* A frozen head is used as loading it in the compute type would have it: the targets' rows too. */
START_TEST(a_stored_head_equals_its_values_in_the_compute_type)
{
    enum { N = 20, D = 64, V = 70 };
    static int32_t all[N];
    qp_storage st;
    if (!test_build(_i, &st)) return;
    qp_ctx c;
    test_ctx(&c, NULL);
    for (int i = 0; i < N; i++) all[i] = i * 3;
    qp_tensor *w[2] = { qp_wrap_data(&c, QP_Q4_1, 2, (int64_t[]){ V, D }, blocks(&c, V * D)),
                        qp_new(&c, st, 2, (int64_t[]){ V, D }) };
    qp_weight_convert(w[1]->data, st, w[0]->data, QP_Q4_1, V * D);
    double nll[2][N];
    void *dx[2];
    for (int i = 0; i < 2; i++) {
        qp_tensor *x = test_leaf(&c, st, 2, (int64_t[]){ N, D }, 1);
        qp_backward(&c, qp_linear_xent_in_chunks(&c, x, w[i], all, nll[i], 32), 0.25);
        dx[i] = x->grad;
    }
    ck_assert_mem_eq(nll[0], nll[1], sizeof *nll);
    ck_assert_mem_eq(dx[0], dx[1], qp_storage_bytes(st, N * D));
    qp_ctx_release(&c);
}
END_TEST

/* A copy in the context's arena; the place itself is clean again. */
static double *gradient(qp_ctx *c, qp_tensor *t)
{
    double *d = qp_arena_alloc(&c->arena, (size_t)qp_numel(t) * sizeof *d);
    for (int64_t i = 0; i < qp_numel(t); i++) d[i] = test_get(t->grad, qp_grad_storage(t), i);
    t->grad = NULL;
    return d;
}

static double run_back(qp_ctx *c, qp_tensor *loss, qp_storage type)
{
    qp_backward(c, loss, 0.25);
    return test_get(loss->data, qp_sum_storage(type), 0);
}

/* Blocks of rows, and chunks whose logits lie far above those of the first, or far below: what was
   summed up before them is scaled. Against the op made of others. */
START_TEST(many_rows_and_far_logits_equal_whole_logits)
{
    enum { MANY = 1100, WIDE = 23, D = 5 };
    static int32_t all[MANY];
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *x = test_leaf(&c, QP_F64, 2, (int64_t[]){ MANY, D }, 1);
    qp_tensor *w = test_param(&c, QP_F64, 2, (int64_t[]){ WIDE, D }, 2);
    for (int i = 0; i < MANY; i++) all[i] = i % 3 ? i * 5 % WIDE : -1;
    const double far[] = { 1, 60, 1000 };
    for (int i = 0; i < WIDE * D; i++) ((double *)w->data)[i] *= far[i / D / 4 % 3];
    double *dx[2], *dw[2], loss[2];
    for (int i = 0; i < 2; i++) {
        qp_tensor *l = i ? qp_linear_xent_in_chunks(&c, x, w, all, NULL, 4)
                         : qp_cross_entropy(&c, qp_logits(&c, x, w), all, 0, QP_SUM);
        loss[i] = run_back(&c, l, QP_F64);
        dx[i] = gradient(&c, x);
        dw[i] = gradient(&c, w);
    }
    ck_assert_double_eq_tol(loss[0], loss[1], 1e-12 * loss[0]);
    for (int i = 0; i < MANY * D; i++) ck_assert_double_eq_tol(dx[0][i], dx[1][i], 1e-10);
    for (int i = 0; i < WIDE * D; i++) ck_assert_double_eq_tol(dw[0][i], dw[1][i], 1e-10);
    qp_ctx_release(&c);
}
END_TEST

/* Where nearly all is the target's, the gradient is the little that is not. */
START_TEST(small_losses_and_gradients_keep_their_precision)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *x = test_leaf(&c, QP_F32, 2, (int64_t[]){ 1, 2 }, 1);
    qp_tensor *w = test_param(&c, QP_F32, 2, (int64_t[]){ 3, 2 }, 2);
    const float one[] = { 1, 0 }, words[] = { 24, 1, 0, 0, 0, 3 };
    memcpy(x->data, one, sizeof one);
    memcpy(w->data, words, sizeof words);
    double nll;
    qp_backward(&c, qp_linear_xent(&c, x, w, (int32_t[]){ 0 }, &nll), 1);
    const double others = 2 * exp(-24);
    ck_assert_double_eq_tol(nll, log1p(others), 1e-6 * others);
    const float *dx = x->grad;
    ck_assert_double_eq_tol((double)dx[0], -24 * others, 24e-6 * others);
    ck_assert_double_eq_tol((double)dx[1], exp(-24) * 3 - others, 1e-6 * others);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(late_is_the_same_but_for_when)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    for (int s = QP_F64; s < QP_NCOMPUTE; s++) {
        const qp_storage type = (qp_storage)s;
        qp_tensor *in[2];
        inputs(&c, type, in);
        double nll[ROWS], late[ROWS];
        const double loss = run_back(&c, qp_linear_xent(&c, in[0], in[1], targets, nll), type);
        double *d[2][2];
        for (int i = 0; i < 2; i++) d[0][i] = gradient(&c, in[i]);
        qp_tensor *l = qp_linear_xent_late(&c, in[0], in[1], targets, late);
        ck_assert_double_nan(test_get(l->data, qp_sum_storage(type), 0));
        ck_assert_double_eq(run_back(&c, l, type), loss);
        ck_assert_mem_eq(late, nll, sizeof nll);
        for (int i = 0; i < 2; i++) {
            d[1][i] = gradient(&c, in[i]);
            ck_assert_mem_eq(d[0][i], d[1][i], (size_t)qp_numel(in[i]) * sizeof(double));
        }
        /* Where nothing is trained nobody waits. */
        c.recording = false;
        l = qp_linear_xent_late(&c, in[0], in[1], targets, late);
        c.recording = true;
        ck_assert_double_eq(test_get(l->data, qp_sum_storage(type), 0), loss);
    }
    qp_ctx_release(&c);
}
END_TEST

START_TEST(target_beyond_the_vocabulary_exits_70)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[2];
    inputs(&c, QP_F32, in);
    targets[1] = WORDS;
    op(&c, in);
}
END_TEST

START_TEST(wrong_shape_exits_70)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[2];
    inputs(&c, QP_F32, in);
    qp_linear_xent(&c, in[0], test_param(&c, QP_F32, 2, (int64_t[]){ SIZE, WORDS }, 1), targets,
                   NULL);
}
END_TEST

Suite *suite_linear_xent(void)
{
    Suite *s = suite_create("linear_xent");
    TCase *t = tcase_create("linear_xent");
    tcase_add_loop_test(t, gradient_matches_differences, 0, 4);
    tcase_add_test(t, loss_is_minus_log_softmax);
    tcase_add_test(t, without_targets_loss_and_gradients_are_zero);
    tcase_add_test(t, nothing_is_added_without_targets);
    tcase_add_test(t, large_logits_stay_finite);
    tcase_add_test(t, nan_reaches_the_loss);
    tcase_add_loop_test(t, row_alone_equals_row_among_130, 0, TEST_BUILDS);
    tcase_add_loop_test(t, a_stored_head_equals_its_values_in_the_compute_type, 0, TEST_BUILDS);
    tcase_add_test(t, many_rows_and_far_logits_equal_whole_logits);
    tcase_add_test(t, small_losses_and_gradients_keep_their_precision);
    tcase_add_test(t, late_is_the_same_but_for_when);
    tcase_add_exit_test(t, target_beyond_the_vocabulary_exits_70, 70);
    tcase_add_exit_test(t, wrong_shape_exits_70, 70);
    suite_add_tcase(s, t);
    return s;
}
