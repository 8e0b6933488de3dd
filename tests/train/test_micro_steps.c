#include "train/step.h"
#include "autograd/cpu/dispatch.h"
#include "base/asan.h"
#include "tests/data/corpora.h"
#include "tests/model/tiny.h"
#include "tests/support/allocations.h"
#include "tests/suites.h"
#include "train/plan.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { ROWS = 6, LONGEST = 24 };

typedef struct {
    qp_ctx c;
    qp_corpus corpus;
    qp_loader *loader;
    qp_model *model;
    qp_optim optim;
    qp_stepper s;
} bench;

/* A step of `micros` micro-batches that together are the first ROWS documents. */
static void open_bench(bench *b, qp_storage compute, bool lora, int64_t micros)
{
    qp_err err = { 0 };
    qp_config cfg = tiny_config();
    cfg.vocab_size = 512;
    *b = (bench){ .corpus = test_corpus(ROWS, LONGEST, 3) };
    qp_loader_options lo = { .sequence_len = LONGEST, .micro_batch_size = ROWS / micros };
    qp_optim_settings settings = { .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8 };
    ck_assert(!qp_loader_new(&b->loader, &b->corpus, &lo, &err));
    tiny_ctx(&b->c);
    b->model = tiny_model(&cfg, compute, !lora);
    if (lora) tiny_add_lora(b->model, 0);
    tiny_seal(b->model);
    if (lora) tiny_randomise(b->model, "lora_B", 0.3);
    ck_assert(!qp_optim_init(&b->optim, "adamw", &settings, qp_model_params(b->model), &err));
    b->s = (qp_stepper){ .ctx = &b->c,
                         .model = b->model,
                         .optim = &b->optim,
                         .loader = b->loader,
                         .objective = &qp_objective_sft,
                         .schedule = { .kind = QP_SCHEDULE_CONSTANT },
                         .peak_lr = 1e-3,
                         .max_grad_norm = 1,
                         .accumulate = micros,
                         .tree = lora };
    qp_stepper_init(&b->s);
}

static void close_bench(bench *b)
{
    qp_stepper_release(&b->s);
    qp_optim_release(&b->optim);
    qp_model_free(b->model);
    qp_loader_free(b->loader);
    qp_corpus_release(&b->corpus);
    qp_ctx_release(&b->c);
}

/* The step's summed gradient, copied. */
static double *gradient(bool lora, int64_t micros, qp_step_result *r, int64_t *n)
{
    bench b;
    qp_err err = { 0 };
    qp_position p = { 0 };
    open_bench(&b, QP_F64, lora, micros);
    ck_assert_msg(!qp_step(&b.s, &p, micros, 1, 1, r, &err), "%s", err.msg);
    *n = b.optim.params->n;
    double *g = malloc((size_t)*n * sizeof *g);
    memcpy(g, b.optim.params->grad, (size_t)*n * sizeof *g);
    close_bench(&b);
    return g;
}

/* The loss is one sum over one count, so how rows are spread over micro-batches is a matter of
 * rounding. */
START_TEST(any_split_of_a_step_gives_the_same_gradient)
{
    qp_step_result whole, split;
    int64_t n, m;
    double *a = gradient(_i, 1, &whole, &n);
    for (int64_t micros = 2; micros <= ROWS; micros++) {
        if (ROWS % micros) continue;
        double *b = gradient(_i, micros, &split, &m), worst = 0, largest = 0;
        ck_assert_int_eq(n, m);
        for (int64_t i = 0; i < n; i++) {
            worst = fmax(worst, fabs(a[i] - b[i]));
            largest = fmax(largest, fabs(a[i]));
        }
        ck_assert_double_lt(worst, 1e-13 * largest * ROWS); /* f64 has 1.1e-16 */
        ck_assert_int_eq(whole.trained, split.trained);
        ck_assert_double_lt(fabs(whole.nll - split.nll), 1e-10);
        free(b);
    }
    free(a);
}
END_TEST

/* A tree: what 2^l micro-batches from a multiple of 2^l give may be computed elsewhere. Here by
   another stepper that sees only these. */
START_TEST(the_tree_is_the_sum_of_its_subtrees_to_the_last_bit)
{
    enum { G = 6 };
    bench b;
    qp_err err = { 0 };
    qp_step_result r;
    qp_position p = { 0 };
    open_bench(&b, QP_F32, true, G);
    qp_params *ps = b.optim.params;
    size_t bytes = (size_t)ps->n * sizeof(float);
    float *single[G], *want = malloc(bytes);
    b.s.peak_lr = 0;
    ck_assert(!qp_step(&b.s, &p, G, 1, 1, &r, &err));
    memcpy(want, ps->grad, bytes);
    for (int i = 0; i < G; i++) {
        qp_batch one = { 0 };
        qp_scope scope;
        qp_position at = { 0, i };
        qp_loader_next(b.loader, &at, &one);
        qp_scope_open(&b.c.arena, &scope);
        qp_params_begin_step(ps);
        qp_backward(&b.c, qp_model_loss(&b.c, b.model, &one, NULL), 1 / (double)r.trained);
        qp_params_end_grads(ps);
        qp_scope_close(&b.c.arena, &scope);
        single[i] = malloc(bytes);
        memcpy(single[i], ps->grad, bytes);
        qp_batch_release(&one);
    }
    for (int64_t i = 0; i < ps->n; i++) {
        float **g = single;
        float sum = ((g[0][i] + g[1][i]) + (g[2][i] + g[3][i])) + (g[4][i] + g[5][i]);
        ck_assert_msg(!memcmp(&sum, &want[i], sizeof sum), "element %lld: %g, %g", (long long)i,
                      (double)sum, (double)want[i]);
    }
    for (int i = 0; i < G; i++) free(single[i]);
    free(want);
    close_bench(&b);
}
END_TEST

static bool stop_at_second(void *arg) { return ++*(int *)arg > 1; }

START_TEST(a_step_that_is_stopped_changes_nothing)
{
    bench b;
    qp_err err = { 0 };
    qp_step_result r;
    qp_position p = { 0 };
    int asked = 0;
    open_bench(&b, QP_F32, true, 3);
    size_t bytes = (size_t)b.optim.params->n * sizeof(float);
    float *before = malloc(bytes);
    memcpy(before, b.optim.params->master, bytes);
    b.s.stop = stop_at_second;
    b.s.arg = &asked;
    ck_assert(!qp_step(&b.s, &p, 3, 1, 1, &r, &err));
    ck_assert(r.stopped && p.position == 0 && p.epoch == 0);
    ck_assert(!memcmp(before, b.optim.params->master, bytes));
    b.s.stop = NULL;
    ck_assert(!qp_step(&b.s, &p, 3, 1, 1, &r, &err));
    ck_assert(!r.stopped && (p.position || p.epoch));
    ck_assert(memcmp(before, b.optim.params->master, bytes));
    free(before);
    close_bench(&b);
}
END_TEST

/* The plan's step has full rows, so the real one is given full rows too. */
START_TEST(the_planned_peak_is_the_real_one_to_the_byte)
{
    enum { TOKENS = 40 };
    bench b;
    qp_err err = { 0 };
    qp_memory_plan plan;
    qp_scope scope;
    qp_batch full = { 0 };
    int32_t ids[TOKENS];
    open_bench(&b, _i & 1 ? QP_BF16 : QP_F32, _i & 2, 1);
    b.c.recompute = _i & 4;
    for (int i = 0; i < TOKENS; i++) ids[i] = i;
    qp_batch_add(&full, ids, ids, TOKENS);
    qp_batch_add(&full, ids, ids, TOKENS);
    ck_assert_msg(!qp_plan_memory(b.model, &b.optim, &qp_objective_sft, full.n, 2, 0, b.c.recompute,
                                  0, &plan, &err),
                  "%s", err.msg);
    qp_scope_open(&b.c.arena, &scope);
    qp_params_begin_step(b.optim.params);
    qp_backward(&b.c, qp_model_loss(&b.c, b.model, &full, NULL), 1);
    qp_scope_close(&b.c.arena, &scope);
    ck_assert_int_eq(plan.activations, b.c.arena.peak);
    qp_batch_release(&full);
    close_bench(&b);
}
END_TEST

/* The first steps find the places of everything; from then on a step takes no memory from anybody:
   not from the arena's unused end, not from malloc, not a page from the kernel. Every step of this
   corpus is an epoch; the loader, which packs each anew, is kept in the first. */
START_TEST(from_the_third_step_on_no_memory_is_asked_for)
{
    bench b;
    qp_err err = { 0 };
    qp_step_result r;
    qp_position p = { 0 };
    struct rusage before, after;
    int64_t asked = 0;
    int failed = 0;
    size_t peak = 0;
    open_bench(&b, _i & 1 ? QP_BF16 : QP_F32, _i & 2, 2);
    b.c.recompute = _i & 4;
    for (int64_t step = 1; step <= 5; step++) {
        if (step == 3) {
            peak = b.c.arena.peak;
            getrusage(RUSAGE_SELF, &before);
            asked = test_allocations();
        }
        p = (qp_position){ 0 };
        failed |= qp_step(&b.s, &p, 2, step, step, &r, &err);
    }
    asked = test_allocations() - asked;
    getrusage(RUSAGE_SELF, &after);
    ck_assert_msg(!failed, "%s", err.msg); /* not in between: Check itself asks for memory */
    ck_assert_uint_eq(b.c.arena.peak, peak);
    ck_assert_int_eq(asked, 0);
    if (test_allocations() >= 0) /* sanitizers touch pages of their own */
        ck_assert_int_le(after.ru_minflt - before.ru_minflt, 4); /* stacks of threads */
    close_bench(&b);
}
END_TEST

/* Every thread has a work area: 512 of them take more than a gigabyte. */
START_TEST(the_peak_is_measured_with_any_number_of_threads)
{
    qp_err err = { 0 };
    double flops = 0;
    qp_cpu_threads(512);
    ck_assert_msg(!qp_plan_peak(qp_null_backend(), QP_F32, &flops, &err), "%s", err.msg);
    ck_assert(flops > 0);
}
END_TEST

#ifndef QP_ASAN /* whose shadow memory is beyond any such limit */
START_TEST(a_step_is_planned_under_a_limit_on_address_space)
{
    struct rlimit limit = { (size_t)3 << 30, (size_t)3 << 30 };
    bench b;
    qp_err err = { 0 };
    qp_memory_plan plan;
    open_bench(&b, QP_F32, true, 1);
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
    ck_assert_msg(!qp_plan_memory(b.model, &b.optim, &qp_objective_sft, 2 * LONGEST, 2, 0, false, 0,
                                  &plan, &err),
                  "%s", err.msg);
    ck_assert(plan.activations > 0);
    close_bench(&b);
}
END_TEST
#endif

Suite *suite_micro_steps(void)
{
    Suite *s = suite_create("micro_steps");
    TCase *t = tcase_create("step");
    tcase_add_loop_test(t, any_split_of_a_step_gives_the_same_gradient, 0, 2);
    tcase_add_test(t, the_tree_is_the_sum_of_its_subtrees_to_the_last_bit);
    tcase_add_test(t, a_step_that_is_stopped_changes_nothing);
    tcase_add_loop_test(t, the_planned_peak_is_the_real_one_to_the_byte, 0, 8);
    tcase_add_loop_test(t, from_the_third_step_on_no_memory_is_asked_for, 0, 8);
    tcase_add_test(t, the_peak_is_measured_with_any_number_of_threads);
#ifndef QP_ASAN
    tcase_add_test(t, a_step_is_planned_under_a_limit_on_address_space);
#endif
    suite_add_tcase(s, t);
    return s;
}
