#include "base/batch.h"
#include "base/thread.h"
#include "tests/suites.h"
#include <unistd.h>
#include <stdatomic.h>
#include <sys/resource.h>

enum { COUNT = 10000 };
static void add_one(void *arg, int64_t i) { ((int *)arg)[i]++; }

START_TEST(every_index_runs_once)
{
    for (int threads = -1; threads < 9; threads++) {
        static int hits[COUNT];
        for (int i = 0; i < COUNT; i++) hits[i] = 0;
        qp_parallel_for(threads, COUNT, add_one, hits);
        for (int i = 0; i < COUNT; i++) ck_assert_int_eq(hits[i], 1);
    }
}
END_TEST

START_TEST(nothing_runs_for_count_zero) { qp_parallel_for(4, 0, add_one, NULL); }
END_TEST

START_TEST(the_work_is_done_even_when_no_thread_can_be_made)
{
    static int hits[COUNT];
    struct rlimit none = { 0, 0 };
    setrlimit(RLIMIT_NPROC, &none); /* has no effect for root: then this is a plain run */
    qp_parallel_for(8, COUNT, add_one, hits);
    for (int i = 0; i < COUNT; i++) ck_assert_int_eq(hits[i], 1);
}
END_TEST

START_TEST(there_is_a_cpu_and_time_goes_on)
{
    ck_assert_int_ge(qp_cpu_count(), 1);
    double t = qp_now();
    ck_assert(qp_now() >= t);
}
END_TEST

START_TEST(a_batch_lays_documents_end_to_end)
{
    qp_batch b = { 0 };
    const int32_t one[] = { 10, 11, 12 }, two[] = { 20, 21 }, targets[] = { -1, 99 };
    qp_batch_add(&b, one, NULL, 3);
    qp_batch_add(&b, two, targets, 2);
    qp_batch_add(&b, two, NULL, 0); /* an empty document adds nothing */
    ck_assert_int_eq(b.n, 5);
    ck_assert_int_eq(b.documents, 2);
    ck_assert_int_eq(b.targets_n, 3);
    static const int32_t want[][5] = {
        { 10, 11, 12, 20, 21 }, { 11, 12, -1, -1, 99 }, { 0, 1, 2, 0, 1 },
        { 0, 0, 0, 3, 3 },      { 0, 1, 2, 3, 4 },
    };
    int32_t *got[] = { b.tokens, b.targets, b.pos, b.first, b.last };
    for (int i = 0; i < 5; i++) ck_assert_mem_eq(got[i], want[i], sizeof want[i]);
    qp_batch_clear(&b);
    ck_assert_int_eq(b.n + b.documents + b.targets_n, 0);
    ck_assert_int_ge(b.cap, 5);
    qp_batch_release(&b);
    ck_assert_ptr_null(b.tokens);
}
END_TEST

typedef struct {
    atomic_int at; /* how far the work is, and how far it may go */
    atomic_int may;
} stages;

static void wait_for(atomic_int *value, int least)
{
    while (atomic_load(value) < least) usleep(100);
}

static void in_stages(qp_task *t, void *arg)
{
    stages *s = arg;
    wait_for(&s->may, 1);
    atomic_store(&s->at, 1);
    qp_task_pass(t);
    wait_for(&s->may, 2);
    atomic_store(&s->at, 2);
}

START_TEST(a_task_is_waited_for_at_its_point_and_at_its_end)
{
    stages s = { 0 };
    qp_task *t = qp_task_start("test", in_stages, &s);
    ck_assert(!qp_task_ended(t));
    atomic_store(&s.may, 1);
    qp_task_await_pass(t);
    ck_assert_int_eq(atomic_load(&s.at), 1);
    ck_assert(!qp_task_ended(t));
    atomic_store(&s.may, 2);
    qp_task_finish(t);
    ck_assert_int_eq(atomic_load(&s.at), 2);
}
END_TEST

static void at_once(qp_task *t, void *arg)
{
    (void)t;
    atomic_store((atomic_int *)arg, 1);
}

START_TEST(a_task_that_never_says_so_passes_with_its_end)
{
    atomic_int done = 0;
    qp_task *t = qp_task_start("test", at_once, &done);
    qp_task_await_pass(t);
    ck_assert_int_eq(atomic_load(&done), 1);
    while (!qp_task_ended(t)) usleep(100);
    qp_task_finish(t);
}
END_TEST

Suite *suite_thread(void)
{
    Suite *s = suite_create("thread");
    TCase *t = tcase_create("thread");
    tcase_add_test(t, every_index_runs_once);
    tcase_add_test(t, nothing_runs_for_count_zero);
    tcase_add_test(t, the_work_is_done_even_when_no_thread_can_be_made);
    tcase_add_test(t, there_is_a_cpu_and_time_goes_on);
    tcase_add_test(t, a_batch_lays_documents_end_to_end);
    tcase_add_test(t, a_task_is_waited_for_at_its_point_and_at_its_end);
    tcase_add_test(t, a_task_that_never_says_so_passes_with_its_end);
    suite_add_tcase(s, t);
    return s;
}
