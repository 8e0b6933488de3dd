/* What a program that embeds quipu counts on: it outlives a stop in the core, and contexts in
   several threads do not know of each other. */
#include "autograd/general.h"
#include "autograd/segment.h"
#include "base/buf.h"
#include "optim/optim.h"
#include "tests/suites.h"
#include "tests/support/gradcheck.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    jmp_buf out;
    qp_status status;
    char message[200];
} landing;

static void jump(void *arg, qp_status status, const char *message)
{
    landing *l = arg;
    l->status = status;
    snprintf(l->message, sizeof l->message, "%s", message);
    longjmp(l->out, 1);
}

/* Calls fn(c, arg) and says how it ended: QP_OK, or what stopped it. */
static qp_status attempt(landing *l, void (*fn)(qp_ctx *, void *), qp_ctx *c, void *arg)
{
    *l = (landing){ 0 };
    qp_on_fatal(jump, l);
    if (!setjmp(l->out)) fn(c, arg);
    qp_on_fatal(NULL, NULL);
    return l->status;
}

/* Just large enough for the head to use threads. */
enum { N = 80, D = 96, F = 128, V = 300, STEPS = 6 };

typedef struct {
    qp_params *params;
    qp_tensor *embedding, *norm, *up, *down, *head;
    bool fail_forward; /* the block stops in its middle, by a bug */
} net;

static net new_net(qp_storage compute)
{
    static const struct {
        const char *name;
        int ndim;
        int64_t shape[2];
    } weight[] = { { "embedding", 2, { V, D } },
                   { "norm", 1, { D } },
                   { "up", 2, { F, D } },
                   { "down", 2, { D, F } },
                   { "head", 2, { V, D } } };
    net m = { .params = qp_params_new(compute) };
    qp_tensor **t[] = { &m.embedding, &m.norm, &m.up, &m.down, &m.head };
    for (int i = 0; i < 5; i++)
        *t[i] = qp_params_add(m.params, weight[i].name, weight[i].ndim, weight[i].shape);
    qp_err err = { 0 };
    ck_assert_int_eq(qp_params_seal(m.params, &err), QP_OK);
    for (int64_t i = 0; i < m.params->n; i++)
        test_set(m.params->master, qp_sum_storage(compute), i, 0.1 * qp_rng_normal(7, 0, i));
    qp_params_publish(m.params);
    return m;
}

static qp_tensor *block(qp_ctx *c, void *module, const void *env, qp_tensor *x)
{
    (void)env;
    const net *m = module;
    qp_tensor *h = qp_linear(c, qp_rmsnorm(c, x, m->norm, 1e-5), m->up);
    if (m->fail_forward) qp_add(c, h, x);
    return qp_add(c, x, qp_linear(c, qp_swiglu(c, h, h), m->down));
}

static int32_t ids[N], targets[N];
static qp_tensor *loss(qp_ctx *c, net *m)
{
    qp_tensor *x = qp_embedding(c, m->embedding, ids, N, m->params->compute);
    x = qp_segment(c, block, m, NULL, x, x->ndim, x->shape);
    x = qp_segment(c, block, m, NULL, x, x->ndim, x->shape);
    return qp_linear_xent(c, x, m->head, targets, NULL);
}

static void fill_batch(void)
{
    for (int i = 0; i < N; i++) {
        ids[i] = i * 37 % V;
        targets[i] = i * 53 % V;
    }
}

static void one_step(qp_ctx *c, void *arg)
{
    net *m = arg;
    qp_scope s;
    qp_scope_open(&c->arena, &s);
    qp_params_begin_step(m->params);
    qp_backward(c, loss(c, m), 1. / N);
    qp_params_end_grads(m->params);
    qp_scope_close(&c->arena, &s);
}

static size_t grad_bytes(const net *m)
{
    return qp_storage_bytes(qp_sum_storage(m->params->compute), m->params->n);
}

/* A net on a context, and the gradients of its undisturbed step. */
typedef struct {
    net net;
    qp_ctx c;
    void *grad;
    size_t peak;
} bench;

static void setup(bench *b, bool recompute)
{
    fill_batch();
    b->net = new_net(QP_F32);
    test_ctx(&b->c, NULL);
    b->c.recompute = recompute;
    one_step(&b->c, &b->net);
    b->grad = qp_xmalloc(grad_bytes(&b->net));
    memcpy(b->grad, b->net.params->grad, grad_bytes(&b->net));
    b->peak = b->c.arena.peak;
}

/* The same step after a stop as before it: gradients to the bit, and the memory it takes. */
static void check_usable(bench *b)
{
    qp_ctx_reset(&b->c);
    ck_assert_uint_eq(b->c.arena.used, 0);
    ck_assert_ptr_null(b->c.tape);
    ck_assert(b->c.recording);
    one_step(&b->c, &b->net);
    ck_assert_mem_eq(b->net.params->grad, b->grad, grad_bytes(&b->net));
    ck_assert_uint_eq(b->c.arena.peak, b->peak);
}

static void teardown(bench *b)
{
    free(b->grad);
    qp_params_free(b->net.params);
    qp_ctx_release(&b->c);
}

START_TEST(a_bug_inside_a_segment_leaves_a_context_that_can_be_reset)
{
    bench b;
    landing l;
    setup(&b, _i);
    b.net.fail_forward = true;
    ck_assert_int_eq(attempt(&l, one_step, &b.c, &b.net), QP_BUG);
    ck_assert_msg(strstr(l.message, "add"), "%s", l.message);
    b.net.fail_forward = false;
    check_usable(&b);
    teardown(&b);
}
END_TEST

/* Every budget from nothing to just too little: the stop comes in one allocation of the step after
   the other, forward, recomputed and backward. */
START_TEST(a_step_may_run_out_of_memory_anywhere)
{
    bench b;
    landing l;
    setup(&b, _i);
    const size_t cap = b.c.arena.cap;
    for (size_t budget = 0; budget < b.peak; budget += b.peak / 60) {
        b.c.arena.cap = budget;
        ck_assert_int_eq(attempt(&l, one_step, &b.c, &b.net), QP_NOMEM);
        ck_assert_msg(strstr(l.message, "budget"), "%s", l.message);
        b.c.arena.cap = cap;
        check_usable(&b);
    }
    teardown(&b);
}
END_TEST

static void fail_back(qp_ctx *c, qp_node *n)
{
    (void)c;
    QP_ASSERT(false, "backward of %s", qp_str(n->out));
}
static const qp_op bad_op = { "bad", fail_back };
static qp_tensor *bad_block(qp_ctx *c, void *module, const void *env, qp_tensor *x)
{
    (void)module, (void)env;
    qp_tensor *y = qp_add(c, x, x);
    qp_record(c, sizeof(qp_node), &bad_op, y, QP_IN(x));
    return qp_add(c, y, x);
}
static void bad_step(qp_ctx *c, void *arg)
{
    qp_tensor *x = qp_embedding(c, ((net *)arg)->embedding, ids, N, QP_F32);
    qp_tensor *y = qp_segment(c, bad_block, NULL, NULL, x, x->ndim, x->shape);
    qp_backward_from(c, y, x->data);
}

START_TEST(a_bug_in_backward_leaves_a_context_that_can_be_reset)
{
    bench b;
    landing l;
    setup(&b, _i);
    ck_assert_int_eq(attempt(&l, bad_step, &b.c, &b.net), QP_BUG);
    ck_assert_str_eq(l.message, "backward of f32(80, 96)");
    check_usable(&b);
    teardown(&b);
}
END_TEST

static void wrong_shape(qp_ctx *c, void *arg)
{
    qp_tensor **in = arg;
    qp_add(c, in[0], in[1]);
}
static void wrong_dimension(qp_ctx *c, void *arg)
{
    (void)arg;
    qp_new(c, QP_F32, QP_SHAPE(3, -1));
}
static void too_large(qp_ctx *c, void *arg)
{
    (void)arg;
    qp_new(c, QP_F64, QP_SHAPE(INT32_MAX, INT32_MAX, 1, 4));
}

START_TEST(a_wrong_shape_is_found_before_anything_is_allocated)
{
    void (*const wrong[])(qp_ctx *, void *) = { wrong_shape, wrong_dimension, too_large };
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[] = { test_leaf(&c, QP_F32, QP_SHAPE(5, 7), 1),
                        test_leaf(&c, QP_F32, QP_SHAPE(7, 5), 2) };
    const size_t used = c.arena.used;
    for (int i = 0; i < 3; i++) {
        landing l;
        ck_assert_int_eq(attempt(&l, wrong[i], &c, in), QP_BUG);
        ck_assert_uint_eq(c.arena.used, used);
        ck_assert_ptr_null(c.tape);
    }
    qp_ctx_release(&c);
}
END_TEST

static void exp_of(qp_ctx *c, void *arg) { qp_exp(c, *(qp_tensor **)arg); }
static void sum_of(qp_ctx *c, void *arg) { qp_sum(c, *(qp_tensor **)arg, QP_ALL, false); }
static void add_of(qp_ctx *c, void *arg)
{
    qp_tensor **in = arg;
    qp_add(c, in[0], in[0]);
}
static void softmax_of(qp_ctx *c, void *arg) { qp_softmax(c, *(qp_tensor **)arg, -1); }
static void norm_of(qp_ctx *c, void *arg)
{
    qp_tensor **in = arg;
    qp_rmsnorm(c, in[1], in[2], 1e-5);
}
static void matmul_of(qp_ctx *c, void *arg)
{
    qp_tensor **in = arg;
    qp_matmul(c, in[0], in[0], false, true);
}
static void linear_of(qp_ctx *c, void *arg)
{
    qp_tensor **in = arg;
    qp_linear(c, in[0], in[1]);
}
static void linear_with(qp_ctx *c, void *arg)
{
    qp_tensor **in = arg;
    qp_linear(c, in[1], in[0]);
}
static void embedding_of(qp_ctx *c, void *arg)
{
    qp_embedding(c, *(qp_tensor **)arg, ids, N, QP_F32);
}
static void head_of(qp_ctx *c, void *arg)
{
    qp_tensor **in = arg;
    qp_linear_xent(c, in[1], in[0], targets, NULL);
}

/* Integers have no kernels, and no thread of a kernel may be the one to find out: its stop could
   not be jumped out of. Large enough for threads to be used. */
START_TEST(integers_where_numbers_belong_stop_before_any_kernel)
{
    void (*const wrong[])(qp_ctx *, void *) = { exp_of,       sum_of,    add_of,    softmax_of,
                                                norm_of,      matmul_of, linear_of, linear_with,
                                                embedding_of, head_of };
    qp_ctx c;
    fill_batch();
    test_ctx(&c, NULL);
    qp_tensor *in[] = { qp_new(&c, QP_I32, QP_SHAPE(V, V)), qp_new(&c, QP_F32, QP_SHAPE(V, V)),
                        qp_new(&c, QP_I32, QP_SHAPE(V)) };
    const size_t used = c.arena.used;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        landing l;
        ck_assert_msg(attempt(&l, wrong[i], &c, in) == QP_BUG, "op %zu went on", i);
        ck_assert_msg(strstr(l.message, "i32"), "%s", l.message);
        ck_assert_uint_eq(c.arena.used, used);
    }
    qp_ctx_release(&c);
}
END_TEST

/* One thread's work: a net of its own, trained for some steps on a context of its own. */
typedef struct {
    qp_storage compute;
    void *weights;
    pthread_barrier_t *together; /* NULL: alone */
} job;

static void *train(void *arg)
{
    job *j = arg;
    net m = new_net(j->compute);
    qp_ctx c;
    qp_err err = { 0 };
    qp_optim o;
    const qp_optim_settings settings = { 0.9, 0.999, 1e-8, 0.1 };
    ck_assert_int_eq(qp_ctx_init(&c, qp_cpu_backend(), 1 << 26, &err), QP_OK);
    ck_assert_int_eq(qp_optim_init(&o, "adamw", &settings, m.params, &err), QP_OK);
    c.recompute = j->compute == QP_BF16;
    if (j->together) pthread_barrier_wait(j->together);
    for (int i = 1; i <= STEPS; i++) {
        one_step(&c, &m);
        double scale = qp_clip_scale(qp_grad_norm(&c, m.params), 1);
        qp_optim_step(&o, &c, 1e-2, scale, i);
    }
    j->weights = qp_xmalloc(grad_bytes(&m));
    memcpy(j->weights, m.params->master, grad_bytes(&m));
    qp_optim_release(&o);
    qp_params_free(m.params);
    qp_ctx_release(&c);
    return NULL;
}

/* Also the first use of everything that is chosen once happens in all of them together. */
START_TEST(contexts_in_several_threads_train_as_each_alone)
{
    enum { THREADS = 6 };
    fill_batch();
    pthread_barrier_t together;
    pthread_barrier_init(&together, NULL, THREADS);
    job j[THREADS];
    pthread_t thread[THREADS];
    for (int i = 0; i < THREADS; i++) {
        j[i] = (job){ (qp_storage)(i % QP_NCOMPUTE), NULL, &together };
        ck_assert_int_eq(pthread_create(&thread[i], NULL, train, &j[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    for (int s = 0; s < QP_NCOMPUTE; s++) {
        job alone = { .compute = (qp_storage)s };
        train(&alone);
        net m = new_net(alone.compute);
        ck_assert_mem_ne(alone.weights, m.params->master, grad_bytes(&m));
        for (int i = s; i < THREADS; i += QP_NCOMPUTE) {
            ck_assert_mem_eq(j[i].weights, alone.weights, grad_bytes(&m));
            free(j[i].weights);
        }
        qp_params_free(m.params);
        free(alone.weights);
    }
    pthread_barrier_destroy(&together);
}
END_TEST

/* Mistakes, most with what a walk leaves behind: each of those would otherwise read memory that is
   someone else's by now, or silently train nothing. */

static qp_tensor *weighed(qp_ctx *c, qp_tensor **square)
{
    qp_tensor *x = qp_want_grad(qp_full(c, QP_F32, QP_SHAPE(3), 2));
    *square = qp_square(c, x);
    return qp_sum(c, *square, QP_ALL, false);
}

static void use_a_value_that_is_gone(qp_ctx *c, void *second)
{
    qp_tensor *square, *loss = weighed(c, &square);
    qp_backward(c, loss, 1);
    qp_less(c, second ? loss : square, square);
}

static void run_back_twice(qp_ctx *c, void *arg)
{
    (void)arg;
    qp_tensor *square, *loss = weighed(c, &square);
    qp_backward(c, loss, 1);
    qp_backward(c, loss, 1);
}

static void compare_what_does_not_fit(qp_ctx *c, void *arg)
{
    (void)arg;
    qp_mse(c, qp_full(c, QP_F32, QP_SHAPE(3, 4), 0), qp_full(c, QP_F32, QP_SHAPE(5), 0), QP_MEAN);
}

static void compare_in_no_way_there_is(qp_ctx *c, void *arg)
{
    (void)arg;
    qp_tensor *x = qp_full(c, QP_F32, QP_SHAPE(3), 0);
    qp_mse(c, x, x, (qp_how)7);
}

static void leave_open_what_nothing_decides(qp_ctx *c, void *arg)
{
    (void)arg;
    qp_reshape(c, qp_full(c, QP_F32, QP_SHAPE(0, 3), 0), QP_SHAPE(0, -1));
}

static void ask_for_more_than_there_are_numbers(qp_ctx *c, void *arg)
{
    const int64_t huge = INT64_C(1) << 40;
    (void)arg;
    qp_reshape(c, qp_full(c, QP_F32, QP_SHAPE(3), 0), QP_SHAPE(huge, huge));
}

static qp_params *unsealed; /* the jump leaves it to the test */
static void use_a_parameter_before_it_is_there(qp_ctx *c, void *arg)
{
    (void)arg;
    qp_params *p = qp_params_new(QP_F32);
    qp_tensor *w = qp_params_add(p, "w", QP_SHAPE(3, 4));
    unsealed = p;
    qp_linear(c, qp_full(c, QP_F32, QP_SHAPE(2, 4), 1), w);
}

static void close_over_a_tape(qp_ctx *c, void *arg)
{
    qp_tensor *square;
    qp_scope scope;
    qp_scope_open(&c->arena, &scope);
    weighed(c, &square);
    if (arg) c->tape = NULL;
    qp_scope_close(&c->arena, &scope);
}

START_TEST(mistakes_around_a_walk_stop_with_their_name)
{
    static const struct {
        void (*fn)(qp_ctx *, void *);
        bool arg;
        const char *message; /* NULL: legal */
    } cases[] = {
        { use_a_value_that_is_gone, false,
          "less: the value of f32(3) is gone: use it before backward passes it" },
        { use_a_value_that_is_gone, true,
          "less: the value of f32(3) is gone: use it before backward passes it" },
        { run_back_twice, false,
          "backward from f32(): it depends on nothing that is trained, or was run back before" },
        { compare_what_does_not_fit, false,
          "mse: f32(3, 4) and f32(5): sizes, counted from the last dimension, must be equal or 1" },
        { compare_in_no_way_there_is, false, "mse: how 7: QP_MEAN, QP_SUM or QP_NONE" },
        { leave_open_what_nothing_decides, false,
          "reshape: f32(0, 3): beside a size of 0 any would fit: say which" },
        { ask_for_more_than_there_are_numbers, false,
          "reshape: f32(3): more values than can be addressed" },
        { use_a_parameter_before_it_is_there, false,
          "linear: the value of f32(3, 4) is not there yet: qp_params_seal makes it" },
        { close_over_a_tape, false,
          "a scope closes over a tape that was not walked: run backward, drop it with c->tape = "
          "NULL, or do not record" },
        { close_over_a_tape, true, NULL },
    };
    qp_ctx c;
    landing l;
    test_ctx(&c, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *message = cases[i].message;
        ck_assert_int_eq(attempt(&l, cases[i].fn, &c, cases[i].arg ? &c : NULL),
                         message ? QP_BUG : QP_OK);
        ck_assert_str_eq(l.message, message ? message : "");
        qp_ctx_reset(&c);
    }
    qp_params_free(unsealed);
    qp_ctx_release(&c);
}
END_TEST

Suite *suite_contexts(void)
{
    Suite *s = suite_create("contexts");
    TCase *t = tcase_create("contexts");
    tcase_set_timeout(t, 30);
    tcase_add_loop_test(t, a_bug_inside_a_segment_leaves_a_context_that_can_be_reset, 0, 2);
    tcase_add_loop_test(t, a_step_may_run_out_of_memory_anywhere, 0, 2);
    tcase_add_loop_test(t, a_bug_in_backward_leaves_a_context_that_can_be_reset, 0, 2);
    tcase_add_test(t, a_wrong_shape_is_found_before_anything_is_allocated);
    tcase_add_test(t, integers_where_numbers_belong_stop_before_any_kernel);
    tcase_add_test(t, mistakes_around_a_walk_stop_with_their_name);
    tcase_add_test(t, contexts_in_several_threads_train_as_each_alone);
    suite_add_tcase(s, t);
    return s;
}
