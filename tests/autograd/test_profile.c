#include "autograd/general.h"
#include "autograd/profile.h"
#include "autograd/segment.h"
#include "base/json.h"
#include "base/thread.h"
#include "tests/base/files.h"
#include "tests/suites.h"
#include "tests/support/gradcheck.h"
#include <setjmp.h>
#include <string.h>

static const qp_op_cost *find(const qp_profile *p, const char *op)
{
    for (int i = 0; i < p->count; i++)
        if (!strcmp(p->cost[i].op->name, op)) return &p->cost[i];
    ck_abort_msg("%s was not measured", op);
}

static void idle(double s)
{
    for (double until = qp_now() + s; qp_now() < until;) {
    }
}

/* An op that takes 20 ms itself, half of it backward, and calls another that takes 5 ms each way.
 */
static void inner_backward(qp_ctx *c, qp_node *n)
{
    double beta;
    void *dx = qp_grad(c, n->in[0], &beta);
    qp_k(c, n->out)->axpy(dx, beta, n->out->grad, 1, qp_numel(n->out));
    idle(0.005);
}
static const qp_op inner_op = { "inner", inner_backward };
static qp_tensor *inner(qp_ctx *c, qp_tensor *x)
{
    QP_TIMED(c, &inner_op);
    qp_tensor *y = qp_like(c, x);
    qp_record(c, sizeof(qp_node), &inner_op, y, QP_IN(x));
    qp_k(c, x)->axpy(y->data, 0, x->data, 1, qp_numel(x));
    idle(0.005);
    return y;
}
static void outer_backward(qp_ctx *c, qp_node *n)
{
    idle(0.005);
    inner_backward(c, n);
}
static const qp_op outer_op = { "outer", outer_backward };
static qp_tensor *outer(qp_ctx *c, qp_tensor *x)
{
    QP_TIMED(c, &outer_op);
    x = inner(c, x);
    qp_tensor *y = qp_like(c, x);
    qp_record(c, sizeof(qp_node), &outer_op, y, QP_IN(x));
    qp_k(c, x)->axpy(y->data, 0, x->data, 1, qp_numel(x));
    idle(0.010);
    return y;
}

/* A busy machine makes a time longer, never shorter: the least of up to twenty runs is compared. */
START_TEST(an_op_is_charged_its_own_time_and_not_that_of_ops_it_calls)
{
    const double wanted[] = { 0.010, 0.005, 0.010, 0.005 };
    double least[4] = { 1, 1, 1, 1 };
    bool near = false;
    qp_ctx c;
    test_ctx(&c, NULL);
    for (int run = 0; run < 20 && !near; run++) {
        qp_profile p = { 0 };
        qp_tensor *x = test_leaf(&c, QP_F32, 1, (int64_t[]){ 8 }, 1);
        c.profile = &p;
        qp_backward_from(&c, outer(&c, x), x->data);
        c.profile = NULL;
        ck_assert_int_eq(p.count, 2);
        const qp_op_cost *o = find(&p, "outer"), *i = find(&p, "inner");
        ck_assert(o->forward.calls == 1 && o->backward.calls == 1 && o->again.calls == 0);
        ck_assert(i->forward.calls == 1 && i->backward.calls == 1 && i->again.calls == 0);
        const double s[] = { o->forward.s, i->forward.s, o->backward.s, i->backward.s };
        near = true;
        for (int k = 0; k < 4; k++) {
            least[k] = s[k] < least[k] ? s[k] : least[k];
            near = near && least[k] <= wanted[k] * 1.4; /* with what it calls: 1.5 and more */
        }
    }
    ck_assert(near);
    for (int k = 0; k < 4; k++) ck_assert_double_ge(least[k], wanted[k] * 0.99);
    qp_ctx_release(&c);
}
END_TEST

/* Blocks are whole cache lines. */
static int64_t block(size_t bytes) { return (int64_t)((bytes + 63) / 64 * 64); }

START_TEST(kept_bytes_are_the_outputs_and_nodes_though_blocks_are_reused)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *x = test_leaf(&c, QP_F32, 2, (int64_t[]){ 100, 100 }, 1);
    void *spare = qp_arena_alloc(&c.arena, qp_value_bytes(x));
    qp_arena_recycle(&c.arena, spare, qp_value_bytes(x)); /* used does not grow for the next one */
    qp_profile p = { 0 };
    const size_t before = c.arena.live;
    c.profile = &p;
    qp_tensor *y = qp_exp(&c, x);
    c.profile = NULL;
    ck_assert_ptr_eq(y->data, spare);
    const qp_op_cost *exp = find(&p, "exp");
    ck_assert_int_eq(exp->kept_bytes, (int64_t)(c.arena.live - before));
    ck_assert_int_ge(exp->kept_bytes,
                     block(qp_value_bytes(x)) + block(sizeof(qp_tensor)) + block(sizeof(qp_node)));
    ck_assert_int_le(exp->kept_bytes, block(qp_value_bytes(x)) + block(sizeof(qp_tensor)) + 256);
    ck_assert_uint_eq(exp->most_bytes, (size_t)exp->kept_bytes);
    ck_assert_uint_eq(p.most_bytes, c.arena.live);
    ck_assert_str_eq(p.most_op->name, "exp");
    qp_ctx_release(&c);
}
END_TEST

START_TEST(a_work_area_counts_to_the_most_and_not_to_what_is_kept)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *x = test_leaf(&c, QP_F32, 2, (int64_t[]){ 10, 10 }, 1),
              *w = test_leaf(&c, QP_F32, 2, (int64_t[]){ 10, 10 }, 2);
    qp_profile p = { 0 };
    c.profile = &p;
    qp_linear(&c, x, w);
    const qp_op_cost *linear = find(&p, "linear");
    ck_assert_int_lt(linear->kept_bytes, 1500);
    ck_assert_uint_gt(linear->most_bytes, 4096);
    qp_ctx_release(&c);
}
END_TEST

static qp_tensor *block_of_ops(qp_ctx *c, void *module, const void *env, qp_tensor *x)
{
    (void)module;
    (void)env;
    return qp_tanh(c, qp_mul(c, x, qp_exp(c, x)));
}

static qp_profile segments(bool recompute)
{
    qp_ctx c;
    qp_profile p = { 0 };
    test_ctx(&c, NULL);
    c.recompute = recompute;
    qp_tensor *x = test_leaf(&c, QP_F32, 2, (int64_t[]){ 100, 100 }, 1), *y = x;
    const size_t before = c.arena.live;
    c.profile = &p;
    for (int i = 0; i < 3; i++) y = qp_segment(&c, block_of_ops, NULL, NULL, y, 2, x->shape);
    int64_t kept = 0;
    for (int i = 0; i < p.count; i++) kept += p.cost[i].kept_bytes;
    ck_assert_int_eq(kept, (int64_t)(c.arena.live - before));
    qp_backward_from(&c, y, x->data);
    ck_assert(!p.walking);
    qp_ctx_release(&c);
    return p;
}

START_TEST(what_a_segment_runs_again_is_counted_apart)
{
    const qp_profile once = segments(false), twice = segments(true);
    const char *names[] = { "exp", "mul", "tanh" };
    for (int i = 0; i < 3; i++) {
        const qp_op_cost *a = find(&once, names[i]), *b = find(&twice, names[i]);
        ck_assert(a->forward.calls == 3 && a->again.calls == 0 && a->backward.calls == 3);
        ck_assert(b->forward.calls == 3 && b->again.calls == 3 && b->backward.calls == 3);
        ck_assert_double_gt(b->again.s, 0);
        ck_assert_int_eq(a->kept_bytes, b->kept_bytes);
    }
    const qp_op_cost *s = find(&twice, "segment");
    ck_assert(s->forward.calls == 3 && s->again.calls == 0 && s->backward.calls == 3);
    ck_assert_int_lt(s->kept_bytes, 0); /* its scope gave back more than its output takes */
    ck_assert_uint_lt(twice.most_bytes, once.most_bytes);
}
END_TEST

/* With and without a profile the values are the same, bit for bit, and so is the memory. */
START_TEST(measuring_changes_nothing)
{
    float grad[2][64];
    size_t used[2], live[2];
    for (int i = 0; i < 2; i++) {
        qp_ctx c;
        qp_profile p = { 0 };
        test_ctx(&c, NULL);
        c.profile = i ? &p : NULL;
        qp_tensor *x = test_leaf(&c, QP_F32, 2, (int64_t[]){ 8, 8 }, 1);
        qp_backward(&c, qp_sum(&c, qp_softmax(&c, qp_linear(&c, x, x), 0), QP_ALL, false), 1);
        memcpy(grad[i], x->grad, sizeof grad[i]);
        used[i] = c.arena.used;
        live[i] = c.arena.live;
        qp_ctx_release(&c);
    }
    ck_assert_mem_eq(grad[0], grad[1], sizeof grad[0]);
    ck_assert_uint_eq(used[0], used[1]);
    ck_assert_uint_eq(live[0], live[1]);
}
END_TEST

static jmp_buf back;
static void jump(void *arg, qp_status status, const char *message)
{
    (void)arg;
    (void)status;
    (void)message;
    longjmp(back, 1);
}

static void stop_backward(qp_ctx *c, qp_node *n)
{
    (void)c;
    QP_ASSERT(false, "%s stops", n->op->name);
}
static const qp_op stop_op = { "stop", stop_backward };

/* Once out of a forward inside another op, once out of a backward: what comes next is counted as if
   nothing had been. */
START_TEST(a_handler_that_jumps_out_leaves_the_measurement_usable)
{
    static qp_ctx c;
    static qp_profile p;
    test_ctx(&c, NULL);
    qp_tensor *x = test_leaf(&c, QP_F32, 2, (int64_t[]){ 2, 3 }, 1),
              *y = test_leaf(&c, QP_F32, 2, (int64_t[]){ 2, 4 }, 1);
    c.profile = &p;
    qp_on_fatal(jump, NULL);
    if (!setjmp(back)) {
        QP_TIMED(&c, &outer_op);
        qp_add(&c, x, y);
        ck_abort_msg("shapes that do not fit were added");
    }
    qp_ctx_reset(&c);
    x = test_leaf(&c, QP_F32, 2, (int64_t[]){ 2, 3 }, 1);
    if (!setjmp(back)) {
        qp_tensor *z = qp_like(&c, x);
        qp_record(&c, sizeof(qp_node), &stop_op, z, QP_IN(x));
        qp_backward_from(&c, z, x->data);
        ck_abort_msg("a backward that stops went on");
    }
    qp_on_fatal(NULL, NULL);
    qp_ctx_reset(&c);
    x = test_leaf(&c, QP_F32, 2, (int64_t[]){ 2, 3 }, 1);
    qp_backward_from(&c, qp_exp(&c, x), x->data);
    const qp_op_cost *exp = find(&p, "exp");
    ck_assert(exp->forward.calls == 1 && exp->again.calls == 0 && exp->backward.calls == 1);
    ck_assert(exp->forward.s > 0 && exp->forward.s < 1 && exp->kept_bytes > 0);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(the_table_has_the_dearest_first_and_their_sum)
{
    static const qp_op a = { "cheap", NULL }, b = { "dear", NULL };
    const qp_profile p = {
        .count = 2,
        .cost = { { .op = &a,
                    .forward = { 12, 0.001, { 0 } },
                    .kept_bytes = 1500000,
                    .most_bytes = 2000 },
                  { .op = &b,
                    .forward = { 2, 0.002, { 0 } },
                    .backward = { 2, 0.001, { 0 } },
                    .kept_bytes = -500000,
                    .most_bytes = 3000000 } },
        .most_bytes = 4000000,
        .most_op = &b,
        .most_backward = true,
    };
    qp_buf text = { 0 };
    qp_profile_print(&p, &text);
    ck_assert_str_eq(
        text.data,
        "                            forward           backward   time            memory, MB\n"
        "op                  calls        ms    calls        ms      %       kept    at most\n"
        "dear                    2      2.00        2      1.00   75.0     -0.500      3.000\n"
        "cheap                  12      1.00                      25.0      1.500      0.002\n"
        "all                    14      3.00        2      1.00  100.0      1.000\n"
        "most memory in use at a time: 4.000 MB, in dear's backward\n");
    qp_buf_release(&text);
}
END_TEST

/* x (6, 8), w (5, 8), ids of a table (10, 8): counted by hand. */
static void work_is(const qp_op_time *t, double flop, double bytes)
{
    ck_assert_int_gt(t->calls, 0);
    ck_assert_double_eq(t->work.flop, flop);
    ck_assert_double_eq(t->work.bytes, bytes);
}

START_TEST(operations_and_bytes_are_those_counted_by_hand)
{
    enum { N = 6, K = 8, M = 5, R = 2, V = 10 };
    static const int32_t targets[N] = { 3, -1, 0, 9, -1, 7 }; /* four */
    qp_ctx c;
    qp_profile p = { 0 };
    test_ctx(&c, NULL);
    c.profile = &p;
    qp_tensor *x = test_leaf(&c, QP_F32, 2, (int64_t[]){ N, K }, 1),
              *w = test_leaf(&c, QP_F32, 2, (int64_t[]){ M, K }, 2),
              *a = test_param(&c, QP_F32, 2, (int64_t[]){ R, K }, 3),
              *b = test_param(&c, QP_F32, 2, (int64_t[]){ M, R }, 4),
              *head = test_leaf(&c, QP_F32, 2, (int64_t[]){ V, M }, 5);
    w->needs_grad = head->needs_grad = false; /* frozen */
    qp_backward(&c, qp_sum(&c, qp_linear_lora(&c, x, w, a, b, 2, 0), QP_ALL, false), 1);
    qp_tensor *y = qp_lora(&c, qp_linear(&c, x, w), x, a, b, 2, 0);
    qp_backward(&c, qp_linear_xent(&c, y, head, targets, NULL), 1);
    const qp_op_cost *linear = find(&p, "linear"), *lora = find(&p, "lora"),
                     *joined = find(&p, "linear_lora"), *xent = find(&p, "linear_xent");
    const double product = 2 * N * K * M, narrow = 2 * N * K * R, wide = 2 * N * R * M;
    work_is(&linear->forward, product, 4 * (N * K + M * K + N * M));
    work_is(&linear->backward, product, 4 * (N * M + M * K + N * K));
    work_is(&lora->forward, narrow + wide, 4 * (N * K + R * K + M * R + 2 * N * M + N * R));
    work_is(&lora->backward, 2 * narrow + 2 * wide,
            4 * (N * M + M * R + N * R + N * R + M * R + N * K + R * K + R * K + 2 * N * K));
    work_is(&joined->forward, product + narrow + wide,
            4 * (N * K + M * K + N * M + N * K + R * K + M * R + N * R));
    work_is(&joined->backward, product + 2 * narrow + 2 * wide,
            4 * (N * M + M * K + N * K + M * R + N * R + N * R + M * R + N * K + R * K + R * K));
    work_is(&xent->forward, 2 * 4 * M * V, 4 * (V * M + 2 * 4 * M));
    work_is(&xent->backward, 2 * 2 * 4 * M * V, 4 * (V * M + 4 * 4 * M));
    qp_ctx_release(&c);
}
END_TEST

/* Documents of 3 and 5 rows: 3 4/2 + 5 6/2 = 21 pairs, not the 64 of the square. */
START_TEST(attention_counts_the_pairs_that_see_each_other)
{
    static const int32_t first[] = { 0, 0, 0, 3, 3, 3, 3, 3 }, last[] = { 0, 1, 2, 3, 4, 5, 6, 7 };
    enum { H = 2, E = 4, PAIRS = 21 };
    qp_ctx c;
    qp_profile p = { 0 };
    test_ctx(&c, NULL);
    c.profile = &p;
    qp_tensor *q = test_leaf(&c, QP_F32, 2, (int64_t[]){ 8, H * E }, 1),
              *k = test_leaf(&c, QP_F32, 2, (int64_t[]){ 8, E }, 2),
              *v = test_leaf(&c, QP_F32, 2, (int64_t[]){ 8, E }, 3);
    qp_backward_from(&c, qp_attention(&c, q, k, v, (qp_span){ first, last }, H, 1), q->data);
    const qp_op_cost *attention = find(&p, "attention");
    ck_assert_double_eq(attention->forward.work.flop, 2 * 2 * PAIRS * H * E);
    ck_assert_double_eq(attention->backward.work.flop, 5 * 2 * PAIRS * H * E);
    qp_ctx_release(&c);
}
END_TEST

static double number(const qp_value *v, const char *key)
{
    const qp_value *n = qp_json_get(v, key);
    ck_assert_msg(n && n->kind == QP_JSON_NUMBER, "no number %s", key);
    return n->number;
}

static const qp_value *event(const qp_value *events, const char *name, const char *category)
{
    for (const qp_value *e = events->child; e; e = e->next) {
        const qp_value *cat = qp_json_get(e, "cat");
        if (cat && !strcmp(qp_json_get(e, "name")->str, name) && !strcmp(cat->str, category))
            return e;
    }
    ck_abort_msg("no event %s of %s", name, category);
}

static void lies_in(const qp_value *inner, const qp_value *outer)
{
    const double start = number(inner, "ts"), end = start + number(inner, "dur");
    ck_assert_double_ge(start, number(outer, "ts"));
    ck_assert_double_le(end, number(outer, "ts") + number(outer, "dur") + 0.002); /* rounding */
}

/* The trace by way of a file. */
static qp_value *written(const qp_trace *t)
{
    qp_err err = { 0 };
    qp_value *root;
    char *dir = test_dir(), *path = qp_path_join(dir, "trace.json");
    ck_assert_msg(!qp_trace_write(t, path, &err), "%s", err.msg);
    ck_assert_msg(!qp_json_load(&root, path, &err), "%s", err.msg);
    free(path);
    test_remove_dir(dir);
    return root;
}

START_TEST(a_trace_is_json_of_complete_events_nested_as_the_calls_were)
{
    qp_ctx c;
    qp_value *root;
    qp_profile p = { .trace = qp_trace_new(100) };
    test_ctx(&c, NULL);
    c.profile = &p;
    qp_tensor *x = test_leaf(&c, QP_F32, 2, (int64_t[]){ 6, 8 }, 1),
              *w = test_leaf(&c, QP_F32, 2, (int64_t[]){ 5, 8 }, 2), *y;
    {
        QP_PHASE(&c, "forward");
        y = outer(&c, qp_linear(&c, x, w));
    }
    qp_backward_from(&c, y, y->data);
    root = written(p.trace);
    const qp_value *events = qp_json_get(root, "traceEvents");
    ck_assert_int_eq(qp_trace_events(p.trace), 7); /* two of linear, outer, inner; the phase */
    ck_assert_int_eq(events->count, 7 + 2);        /* and the names of two lanes */
    const qp_value *forward = event(events, "forward", "phase"),
                   *linear = event(events, "linear", "forward"),
                   *args = qp_json_get(linear, "args"), *in = qp_json_get(args, "in");
    ck_assert_str_eq(qp_json_get(linear, "ph")->str, "X");
    ck_assert_double_eq(number(args, "flop"), 2 * 6 * 8 * 5);
    ck_assert_double_eq(number(args, "bytes"), 4 * (48 + 40 + 30));
    ck_assert_str_eq(qp_json_get(args, "out")->str, "f32(6, 5)");
    ck_assert_str_eq(qp_json_at(in, 0)->str, "f32(6, 8)");
    ck_assert_str_eq(qp_json_at(in, 1)->str, "f32(5, 8)");
    lies_in(linear, forward);
    lies_in(event(events, "outer", "forward"), forward);
    lies_in(event(events, "inner", "forward"), event(events, "outer", "forward"));
    ck_assert_double_ge(number(event(events, "linear", "backward"), "ts"),
                        number(forward, "ts") + number(forward, "dur") - 0.002);
    qp_json_free(root);
    qp_trace_free(p.trace);
    qp_ctx_release(&c);
}
END_TEST

/* Text of more than one piece. */
START_TEST(a_long_trace_is_written_whole)
{
    enum { EVENTS = 3000 };
    qp_trace *t = qp_trace_new(EVENTS);
    for (int i = 0; i < EVENTS; i++) qp_trace_add(t, "a", "b", 0, i, i + 1, NULL, NULL);
    qp_value *root = written(t);
    ck_assert_int_eq(qp_json_get(root, "traceEvents")->count, EVENTS + 2);
    qp_json_free(root);
    qp_trace_free(t);
}
END_TEST

START_TEST(a_full_trace_counts_what_it_leaves_out)
{
    qp_trace *t = qp_trace_new(2);
    for (int i = 0; i < 5; i++) qp_trace_add(t, "a", "b", 0, 0, 1, NULL, NULL);
    ck_assert_int_eq(qp_trace_events(t), 2);
    ck_assert_int_eq(qp_trace_left_out(t), 3);
    qp_trace_free(t);
}
END_TEST

START_TEST(the_table_of_work_has_rates_and_shares_of_the_machine)
{
    static const qp_op a = { "linear", NULL }, b = { "view", NULL };
    const qp_profile p = {
        .count = 2,
        .cost = { { .op = &a,
                    .forward = { 2, 0.010, { 5e9, 2e7 } },
                    .backward = { 2, 0.030, { 10e9, 6e7 } } },
                  { .op = &b, .forward = { 1, 0.001, { 0 } } } },
        .phases = 1,
        .phase = { { "data", { 2, 0.002, { 0 } } } },
    };
    qp_buf text = { 0 };
    qp_profile_print_work(&p, 1e12, 20e9, &text);
    ck_assert_str_eq(
        text.data,
        "phase               calls         ms  ms a call\n"
        "data                    2       2.00      1.000\n\n"
        "op               pass        calls         ms     %      GFLOP  GFLOP/s peak%        GB   "
        "  GB/s peak%\n"
        "linear           backward        2      30.00  73.2     10.000    333.3  33.3     0.060   "
        "   2.0  10.0\n"
        "linear           forward         2      10.00  24.4      5.000    500.0  50.0     0.020   "
        "   2.0  10.0\n"
        "view             forward         1       1.00   2.4      0.000                    0.000\n"
        "all                              5      41.00 100.0     15.000    365.9  36.6     0.080   "
        "   2.0   9.8\n");
    qp_buf_release(&text);
}
END_TEST

START_TEST(more_kinds_than_there_is_room_for_share_the_last_line)
{
    static qp_op op[QP_PROFILE_OPS + 5];
    qp_ctx c;
    qp_profile p = { 0 };
    test_ctx(&c, NULL);
    c.profile = &p;
    for (int i = 0; i < QP_PROFILE_OPS + 5; i++) {
        QP_TIMED(&c, &op[i]);
    }
    ck_assert_int_eq(p.count, QP_PROFILE_OPS);
    ck_assert_int_eq(p.cost[QP_PROFILE_OPS - 1].forward.calls, 6);
    qp_ctx_release(&c);
}
END_TEST

Suite *suite_profile(void)
{
    Suite *s = suite_create("profile");
    TCase *t = tcase_create("profile");
    tcase_add_test(t, an_op_is_charged_its_own_time_and_not_that_of_ops_it_calls);
    tcase_add_test(t, kept_bytes_are_the_outputs_and_nodes_though_blocks_are_reused);
    tcase_add_test(t, a_work_area_counts_to_the_most_and_not_to_what_is_kept);
    tcase_add_test(t, what_a_segment_runs_again_is_counted_apart);
    tcase_add_test(t, measuring_changes_nothing);
    tcase_add_test(t, a_handler_that_jumps_out_leaves_the_measurement_usable);
    tcase_add_test(t, the_table_has_the_dearest_first_and_their_sum);
    tcase_add_test(t, operations_and_bytes_are_those_counted_by_hand);
    tcase_add_test(t, attention_counts_the_pairs_that_see_each_other);
    tcase_add_test(t, a_trace_is_json_of_complete_events_nested_as_the_calls_were);
    tcase_add_test(t, a_full_trace_counts_what_it_leaves_out);
    tcase_add_test(t, a_long_trace_is_written_whole);
    tcase_add_test(t, the_table_of_work_has_rates_and_shares_of_the_machine);
    tcase_add_test(t, more_kinds_than_there_is_room_for_share_the_last_line);
    suite_add_tcase(s, t);
    return s;
}
