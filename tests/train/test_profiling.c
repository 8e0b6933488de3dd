/* profile: true of a whole run. */
#include "tests/train/runs.h"

static int64_t count_events(const qp_value *events, const char *name, const char *category)
{
    int64_t n = 0;
    for (const qp_value *e = events->child; e; e = e->next) {
        const qp_value *cat = qp_json_get(e, "cat");
        n += cat && !strcmp(cat->str, category) && !strcmp(qp_json_get(e, "name")->str, name);
    }
    return n;
}

/* Three steps of three micro-batches; two layers of seven linears. */
START_TEST(a_profiled_run_ends_in_the_same_bytes_and_shows_three_of_its_steps)
{
    static const char words[] = "dtype=f32 eval_steps=3 save_steps=2";
    qp_buf text = { 0 };
    qp_value *root;
    char *path = qp_xformat("%s/out/profile.txt", dir),
         *more = qp_xformat("%s profile=true", words);
    train("whole", words);
    train("out", more);
    same_result("whole", "out");
    says("out", "profile of 8 steps");
    ck_assert(!qp_file_read(path, &text, &err));
    place(text.data, "GFLOP/s");
    free(path);
    path = qp_xformat("%s/out/trace.json", dir);
    ck_assert_msg(!qp_json_load(&root, path, &err), "%s", err.msg);
    const qp_value *events = qp_json_get(root, "traceEvents");
    ck_assert_int_eq(count_events(events, "optimizer", "phase"), 3);
    ck_assert_int_eq(count_events(events, "data", "phase"), 3);
    ck_assert_int_eq(count_events(events, "forward", "phase"), 9);
    ck_assert_int_eq(count_events(events, "backward", "phase"), 9);
    ck_assert_int_eq(count_events(events, "evaluation", "phase"), 1);
    ck_assert_int_ge(count_events(events, "checkpoint", "phase"), 1);
    /* q, k, v are one call forward, gate and up another */
    ck_assert_int_eq(count_events(events, "linear", "forward"), 9 * 2 * 4);
    ck_assert_int_eq(count_events(events, "linear", "backward"), 9 * 2 * 7);
    ck_assert_int_eq(count_events(events, "optimizer", "forward"), 3);
    qp_json_free(root);
    qp_buf_release(&text);
    free(path);
    free(more);
}
END_TEST

Suite *suite_profiling(void)
{
    Suite *s = suite_create("profiling");
    TCase *t = tcase_create("run");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, runs_set_up, runs_tear_down);
    tcase_add_test(t, a_profiled_run_ends_in_the_same_bytes_and_shows_three_of_its_steps);
    suite_add_tcase(s, t);
    return s;
}
