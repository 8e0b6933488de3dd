/* Checkpoints that are written beside the training. */
#include "tests/train/runs.h"

START_TEST(a_full_disk_is_74_and_leaves_the_earlier_checkpoint)
{
    train("whole", "");
    expect("cut", finish(start("cut", "save_begin:2", 1, 0, "")), 1000 + SIGKILL);
    expect("cut", finish(start("cut", NULL, 1, 20000, "")), QP_IO); /* state.h5 has more */
    no_temporaries("cut");
    train("cut", "");
    says("cut", "checkpoint-000002");
    same_result("whole", "cut");
}
END_TEST

/* The save of step 2 takes half a second; steps of this model a few milliseconds. */
START_TEST(training_goes_on_while_a_checkpoint_is_written)
{
    static const char words[] = "logging_steps=1 save_steps=2 eval_steps=0";
    train("whole", words);
    expect("out", finish(start("out", "save_writes:1", 1, 0, words)), QP_OK);
    char *log = log_of("out");
    const char *saved = place(log, "save checkpoint-000002");
    ck_assert(place(log, "step 3/8") < saved);
    ck_assert(place(log, "step 4/8") < saved); /* whose own save waits */
    ck_assert(place(log, "step 5/8") > saved);
    free(log);
    same_result("whole", "out");
    no_temporaries("out");
}
END_TEST

static double waited(const char *log, const char *save)
{
    return strtod(place(place(log, save), "waited ") + strlen("waited "), NULL);
}

/* What was saved of step 2 must not have step 3's update in it: gone on with, it gives the same. */
START_TEST(an_update_waits_until_a_checkpoint_has_read_what_it_changes)
{
    static const char words[] = "logging_steps=1 save_steps=2 eval_steps=0 save_total_limit=9";
    static const char *const later[] = { "out/checkpoint-000004", "out/checkpoint-000006",
                                         "out/checkpoint-000008", "out/final" };
    train("whole", words);
    expect("out", finish(start("out", "save_reads:1", 1, 0, words)), QP_OK);
    char *log = log_of("out");
    ck_assert_double_ge(waited(log, "save checkpoint-000002"), 0.3);
    free(log);
    for (int i = 0; i < 4; i++) forget(later[i]);
    train("out", words);
    says("out", "checkpoint-000002");
    same_result("whole", "out");
}
END_TEST

Suite *suite_saving(void)
{
    Suite *s = suite_create("saving");
    TCase *t = tcase_create("beside");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, runs_set_up, runs_tear_down);
    tcase_add_test(t, a_full_disk_is_74_and_leaves_the_earlier_checkpoint);
    tcase_add_test(t, training_goes_on_while_a_checkpoint_is_written);
    tcase_add_test(t, an_update_waits_until_a_checkpoint_has_read_what_it_changes);
    suite_add_tcase(s, t);
    return s;
}
