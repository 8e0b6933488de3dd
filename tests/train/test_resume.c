/* Whole runs of the program as a child process: stopped in every way there is, gone on with, and
   compared byte for byte with the run that never stopped. */
#include "autograd/cpu/dispatch.h"
#include "autograd/cpu/product.h"
#include "base/thread.h"
#include "tests/train/runs.h"
#include <sys/file.h>

/* The kinds of run: everything or adapters, f32 or bf16. Adapters need a base, made by a short run.
 */
static const char *const kinds[] = { "adapter=none dtype=f32", "adapter=none dtype=bf16",
                                     "lora f32", "lora bf16" };
enum { KINDS = 4 };

static const char *words_of(int kind)
{
    static char words[400];
    if (kind < 2) return kinds[kind];
    char *base = qp_xformat("%s/base/final", dir);
    if (!qp_path_exists(base)) train("base", "dtype=f32 max_steps=2");
    snprintf(words, sizeof words, "adapter=lora model_config=null base_model=%s dtype=%s", base,
             strchr(kinds[kind], ' ') + 1);
    free(base);
    return words;
}

START_TEST(killed_at_every_fault_point_it_ends_in_the_same_bytes)
{
    static const char *const faults[] = { "micro_mid:2",     "save_begin:1",   "save_mid:1",
                                          "save_manifest:2", "save_renamed:1", "save_linked:1",
                                          "eval_mid:1",      "micro_mid:4",    "eval_end:1",
                                          "save_mid:2",      "save_begin:1",   "final_mid:1" };
    const char *words = words_of(_i);
    train("whole", words);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        expect("cut", finish(start("cut", faults[i], 1, 0, words)), 1000 + SIGKILL);
    train("cut", words);
    same_result("whole", "cut");
    same_metrics("whole", "cut");
    same_links("whole", "cut");
    no_temporaries("cut");
}
END_TEST

/* Moments are drawn from the time that a whole run takes, so that they fall everywhere in it. */
START_TEST(killed_at_random_moments_it_ends_in_the_same_bytes)
{
    char *words = qp_xformat("%s max_steps=24", words_of(_i));
    uint64_t random = 12345 + (uint64_t)_i;
    int code, kills = 0, tries = 0;
    double begun = qp_now();
    train("whole", words);
    double whole = qp_now() - begun;
    do {
        if (tries && !kills) forget("cut"); /* it was through before the signal came: again */
        pid_t pid = start("cut", NULL, 1, 0, words);
        random = random * 6364136223846793005U + 1442695040888963407U;
        if (++tries < 100 && kills < 6) {
            usleep((useconds_t)(whole * 1e6 * (double)(random >> 33) / 2147483648.0));
            kill(pid, SIGKILL);
        }
        code = finish(pid);
        kills += code == 1000 + SIGKILL;
    } while (code == 1000 + SIGKILL || (!kills && tries < 100));
    expect("cut", code, QP_OK);
    ck_assert_int_gt(kills, 0);
    same_result("whole", "cut");
    same_metrics("whole", "cut");
    same_links("whole", "cut");
    no_temporaries("cut");
    free(words);
}
END_TEST

START_TEST(one_thread_and_two_give_the_same_bytes)
{
    const char *words = words_of(_i);
    train("one", words);
    expect("two", finish(start("two", NULL, 2, 0, words)), QP_OK);
    same_result("one", "two");
    same_metrics("one", "two");
}
END_TEST

START_TEST(recompute_and_logging_change_no_byte)
{
    const char *words = words_of(_i);
    train("one", words);
    char *more = qp_xformat(
        "%s gradient_checkpointing=true logging_steps=3 save_steps=5 eval_steps=0", words);
    train("two", more);
    free(more);
    same_result("one", "two");
}
END_TEST

START_TEST(a_signal_saves_and_leaves_with_75)
{
    train("whole", "");
    pid_t pid = start("cut", NULL, 1, 0, "");
    char *first = qp_xformat("%s/cut/checkpoint-000002", dir);
    for (int i = 0; i < 20000 && !qp_path_exists(first); i++) usleep(500);
    kill(pid, SIGTERM);
    int code = finish(pid);
    if (code != QP_OK) { /* it may have been too quick */
        expect("cut", code, QP_STOPPED);
        says("cut", "save checkpoint-");
        says("cut", "stopped by signal 15");
    }
    train("cut", "");
    same_result("whole", "cut");
    same_metrics("whole", "cut");
    free(first);
}
END_TEST

START_TEST(two_signals_at_once_are_one)
{
    pid_t pid = start("out", NULL, 1, 0, "max_steps=1000000 eval_steps=0 save_steps=0");
    char *begun = qp_xformat("%s/out/metrics.jsonl", dir);
    for (int i = 0; i < 20000 && !qp_path_exists(begun); i++) usleep(500);
    kill(pid, SIGTERM);
    kill(pid, SIGTERM);
    expect("out", finish(pid), QP_STOPPED);
    free(begun);
}
END_TEST

/* Two evaluations of some tenths of a second: before the first step and after the last. */
START_TEST(a_signal_in_the_last_evaluation_leaves_it_to_the_next_session)
{
    static const char words[] = "max_steps=1 logging_steps=1 eval_steps=0";
    qp_buf valid = { 0 }, seen = { 0 };
    for (int i = 0; i < 1500; i++)
        qp_buf_printf(&valid, "{\"prompt\": \"%d plus 6 is\", \"completion\": \"11\"}\n", i);
    write_text("valid.jsonl", valid.data);
    train("whole", words);
    pid_t pid = start("cut", NULL, 1, 0, words);
    char *path = qp_xformat("%s/cut/metrics.jsonl", dir);
    qp_buf_str(&seen, "");
    for (int i = 0; i < 20000 && !strstr(seen.data, "{\"step\""); i++) {
        usleep(500);
        qp_buf_clear(&seen);
        qp_buf_str(&seen, "");
        if (qp_path_exists(path)) ck_assert(!qp_file_read(path, &seen, &err));
    }
    kill(pid, SIGTERM);
    expect("cut", finish(pid), QP_STOPPED);
    train("cut", words);
    same_metrics("whole", "cut");
    same_links("whole", "cut");
    qp_buf_release(&valid);
    qp_buf_release(&seen);
    free(path);
}
END_TEST

START_TEST(a_finished_run_says_so_and_changes_nothing)
{
    char before[65], after[65];
    train("out", "");
    digest("out", before);
    train("out", "");
    says("out", "finished, at step 8");
    digest("out", after);
    ck_assert_str_eq(before, after);
}
END_TEST

START_TEST(other_settings_in_a_used_folder_are_refused_by_name)
{
    train("out", "");
    expect("out", finish(start("out", NULL, 1, 0, "learning_rate=0.02 seed=1")), QP_USAGE);
    says("out", "learning_rate: 0.01 there, 0.02 here");
    says("out", "seed: 42 there, 1 here");
    expect("out", finish(start("out", NULL, 1, 0, "max_steps=9")), QP_USAGE);
    says("out", "max_steps: 8 there, 9 here");
    write_text("train.jsonl", "{\"prompt\": \"other \", \"completion\": \"data\"}\n");
    expect("out", finish(start("out", NULL, 1, 0, "")), QP_USAGE);
    says("out", "data (SHA-256)");
}
END_TEST

START_TEST(a_constant_rate_lets_a_run_be_made_longer)
{
    train("whole", "lr_scheduler=constant max_steps=8");
    train("out", "lr_scheduler=constant max_steps=5");
    expect("out", finish(start("out", "final_mid:1", 1, 0, "lr_scheduler=constant max_steps=8")),
           1000 + SIGKILL); /* final/ is the shorter run's */
    train("out", "lr_scheduler=constant max_steps=8");
    same_result("whole", "out");
}
END_TEST

static void flip_byte(const char *file)
{
    char *path = qp_path_join(dir, file);
    FILE *f = fopen(path, "r+b");
    ck_assert_msg(f != NULL, "%s", path);
    fseek(f, 5000, SEEK_SET);
    int c = fgetc(f);
    fseek(f, 5000, SEEK_SET);
    fputc(c ^ 4, f);
    fclose(f);
    free(path);
}

START_TEST(a_corrupt_newest_checkpoint_is_reported_and_the_one_before_used)
{
    train("whole", "");
    expect("cut", finish(start("cut", "save_linked:2", 1, 0, "")),
           1000 + SIGKILL); /* 2 and 3 are there */
    flip_byte("cut/latest/state.h5");
    train("cut", "");
    says("cut", "state.h5: SHA-256");
    says("cut", "going on from");
    same_result("whole", "cut");
    same_metrics("whole", "cut");
}
END_TEST

START_TEST(a_second_process_on_the_folder_is_refused)
{
    char *out = qp_path_join(dir, "out"), *lock = qp_path_join(out, ".lock");
    ck_assert(!qp_mkdirs(out, &err));
    int fd = open(lock, O_RDWR | O_CREAT, 0644);
    ck_assert_int_eq(flock(fd, LOCK_EX), 0);
    expect("out", finish(start("out", NULL, 1, 0, "")), QP_FAIL);
    says("out", "in use by");
    close(fd);
    train("out", "");
    free(out);
    free(lock);
}
END_TEST

/* A product for bf16 that could serve here but does not; NULL: there is one only. */
static const char *other_product(void)
{
    const qp_product *p[QP_CANDIDATES];
    int n = qp_product_candidates(QP_BF16, p);
    for (int i = 0; i < n; i++)
        if (p[i] != qp_product_for(QP_BF16) && p[i] != &qp_amx_emulated && !qp_product_fault(p[i]))
            return p[i]->name;
    return NULL;
}

START_TEST(other_kernels_are_warned_of)
{
    const char *variable = _i ? "QP_PRODUCT" : "QP_ISA";
    const char *value = _i ? other_product() : qp_cpu_build(1) ? "base" : NULL;
    if (!value) {
        fprintf(stderr, "NOT TESTED: %s: this CPU has one only\n", variable);
        return;
    }
    expect("cut", finish(start("cut", "save_linked:1", 1, 0, "dtype=bf16 save_steps=1")),
           1000 + SIGKILL);
    setenv(variable, value, 1);
    train("cut", "dtype=bf16 save_steps=1");
    unsetenv(variable);
    says("cut", "was made by kernels");
}
END_TEST

/* Without a word of warning: the numbers are those of a run that never stopped. */
START_TEST(a_run_goes_on_with_the_product_that_it_began_with)
{
    const char *other = other_product();
    if (!other) {
        fprintf(stderr, "NOT TESTED: another product for bf16: this CPU has one only\n");
        return;
    }
    setenv("QP_PRODUCT", other, 1);
    train("whole", "dtype=bf16");
    expect("cut", finish(start("cut", "save_linked:1", 1, 0, "dtype=bf16")), 1000 + SIGKILL);
    unsetenv("QP_PRODUCT");
    train("cut", "dtype=bf16");
    same_result("whole", "cut");
    char *log = log_of("cut");
    ck_assert_msg(!strstr(log, "was made by kernels") && strstr(log, other), "%s", log);
    free(log);
}
END_TEST

START_TEST(a_fresh_start_in_a_used_folder_is_refused)
{
    train("out", "max_steps=2");
    expect("out", finish(start("out", NULL, 1, 0, "max_steps=2 resume_from_checkpoint=none")),
           QP_USAGE);
    says("out", "is there already");
}
END_TEST

START_TEST(what_is_no_number_stops_the_run_before_the_update)
{
    train("whole", "");
    expect("cut", finish(start("cut", "nan_loss:8", 1, 0, "")), QP_FAIL); /* the second of step 3 */
    says("cut", "step 3: loss is nan in micro-batch 1 of epoch 1's position 0");
    says("cut", "plus");
    expect("cut", finish(start("cut", "inf_gradient:2", 1, 0, "")), QP_FAIL); /* from step 2 on */
    says("cut", "step 4: gradient norm is inf");
    train("cut", "");
    same_result("whole", "cut");
    same_metrics("whole", "cut");
    expect("first", finish(start("first", "nan_loss:1", 1, 0, "")), QP_FAIL);
    char *record = qp_xformat("%s/first/run.json", dir); /* in its first step */
    ck_assert(qp_path_exists(record));
    free(record);
}
END_TEST

START_TEST(a_step_that_is_no_number_can_be_skipped)
{
    expect("out", finish(start("out", "nan_loss:8", 1, 0, "on_nonfinite=skip")), QP_OK);
    says("out", "step 3: loss is nan");
    says("out", "step 8/8");
}
END_TEST

START_TEST(a_run_records_what_made_it)
{
    static const char *const words[] = { "\"base_sha256\"", "\"data_sha256\"", "\"binary_sha256\"",
                                         "\"quipu\"",       "\"compiler\"",    "\"openblas\"",
                                         "\"onednn\"",      "\"kernels\"",     "\"seed\": 42" };
    train("whole", "");
    qp_buf text = { 0 };
    char *path = qp_xformat("%s/whole/run.json", dir);
    ck_assert(!qp_file_read(path, &text, &err));
    qp_buf_char(&text, '\0');
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        ck_assert_msg(strstr(text.data, words[i]) != NULL, "no %s in %s", words[i], text.data);
    qp_buf_release(&text);
    free(path);
}
END_TEST

START_TEST(the_resolved_configuration_repeats_the_run)
{
    train("one", "");
    char *yaml = qp_xformat("%s/one/config.yaml", dir), *to = qp_xformat("%s/run.yaml", dir);
    qp_buf text = { 0 };
    ck_assert(!qp_file_read(yaml, &text, &err) && !qp_file_write(to, text.data, text.len, &err));
    train("two", "");
    same_result("one", "two");
    qp_buf_release(&text);
    free(yaml);
    free(to);
}
END_TEST

START_TEST(patience_ends_a_run_that_gets_no_better)
{
    train("out", "learning_rate=0 eval_steps=1 early_stopping_patience=2 save_steps=0");
    says("out", "eval step 3");
    char *all = metrics("out");
    ck_assert_ptr_null(strstr(all, "\n-1 4 "));
    free(all);
    train("out", "learning_rate=0 eval_steps=1 early_stopping_patience=2 save_steps=0");
    says("out", "finished, at step 3");
}
END_TEST

Suite *suite_resume(void)
{
    Suite *s = suite_create("resume");
    TCase *t = tcase_create("runs");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, runs_set_up, runs_tear_down);
    tcase_add_loop_test(t, killed_at_every_fault_point_it_ends_in_the_same_bytes, 0, KINDS);
    tcase_add_loop_test(t, killed_at_random_moments_it_ends_in_the_same_bytes, 0, KINDS);
    tcase_add_loop_test(t, one_thread_and_two_give_the_same_bytes, 0, KINDS);
    tcase_add_loop_test(t, recompute_and_logging_change_no_byte, 0, KINDS);
    tcase_add_test(t, a_signal_saves_and_leaves_with_75);
    tcase_add_test(t, two_signals_at_once_are_one);
    tcase_add_test(t, a_signal_in_the_last_evaluation_leaves_it_to_the_next_session);
    tcase_add_test(t, a_finished_run_says_so_and_changes_nothing);
    tcase_add_test(t, other_settings_in_a_used_folder_are_refused_by_name);
    tcase_add_test(t, a_constant_rate_lets_a_run_be_made_longer);
    tcase_add_test(t, a_corrupt_newest_checkpoint_is_reported_and_the_one_before_used);
    tcase_add_test(t, a_second_process_on_the_folder_is_refused);
    tcase_add_loop_test(t, other_kernels_are_warned_of, 0, 2);
    tcase_add_test(t, a_run_goes_on_with_the_product_that_it_began_with);
    tcase_add_test(t, a_fresh_start_in_a_used_folder_is_refused);
    tcase_add_test(t, what_is_no_number_stops_the_run_before_the_update);
    tcase_add_test(t, a_step_that_is_no_number_can_be_skipped);
    tcase_add_test(t, a_run_records_what_made_it);
    tcase_add_test(t, the_resolved_configuration_repeats_the_run);
    tcase_add_test(t, patience_ends_a_run_that_gets_no_better);
    suite_add_tcase(s, t);
    return s;
}
