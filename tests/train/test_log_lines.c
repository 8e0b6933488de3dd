#include "train/metrics.h"
#include "train/usage.h"
#include "base/zio.h"
#include "tests/suites.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[64];
static qp_err err;
static FILE *out;
static char *said;
static size_t said_len;

static void set_up(void)
{
    strcpy(dir, "/tmp/qp_metrics_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    out = tmpfile();
    said = NULL;
}
static void tear_down(void)
{
    free(said);
    fclose(out);
    ck_assert_msg(!qp_remove_tree(dir, &err), "%s", err.msg);
}

static const char *printed(void)
{
    fflush(out);
    said_len = (size_t)ftell(out);
    said = realloc(said, said_len + 1);
    rewind(out);
    ck_assert_int_eq(fread(said, 1, said_len, out), said_len);
    said[said_len] = 0;
    return said;
}

static char *file(void)
{
    qp_buf b = { 0 };
    char *path = qp_path_join(dir, "metrics.jsonl");
    qp_buf_str(&b, "");
    ck_assert(!qp_file_read(path, &b, &err));
    free(path);
    return b.data;
}

static void put(const char *text)
{
    char *path = qp_path_join(dir, "metrics.jsonl");
    ck_assert(!qp_file_write(path, text, strlen(text), &err));
    free(path);
}

START_TEST(lines_look_as_the_interface_shows_them)
{
    qp_metrics m;
    qp_step_line l = { .step = 120,
                       .total = 600,
                       .epoch = 0.6,
                       .loss = 1.8234,
                       .lr = 1.8e-4,
                       .grad_norm = 0.71,
                       .tokens_per_s = 412,
                       .trained_per_s = 233,
                       .mfu = 0.31,
                       .eta = 2470 };
    qp_ppl e = { .nll = 1.7012, .ppl = 5.4805, .stderr_ppl = 0.05, .tokens = 20480 };
    ck_assert(!qp_metrics_open(&m, dir, 0, -1, out, &err));
    ck_assert(!qp_metrics_step(&m, &l, &err) && !qp_metrics_eval(&m, 150, &e, &err));
    qp_metrics_save(&m, "checkpoint-000150", 12300000, 0.08, 0.0004, true);
    qp_metrics_bar(&m, 0.5, "not on a file");
    qp_metrics_close(&m);
    const char *text = printed();
    ck_assert_ptr_nonnull(
        strstr(text, "step 120/600 epoch 0.60 | loss 1.8234 ppl 6.19 | lr 1.80e-04 | gnorm 0.71 | "
                     "tok/s 412 (trained 233) | mfu 31% | rss "));
    ck_assert_ptr_nonnull(strstr(text, " | eta 0:41:10\n"));
    ck_assert_ptr_nonnull(
        strstr(text, "eval step 150 | loss 1.7012 ppl 5.48 ± 0.05 | tokens 20480\n"));
    ck_assert_ptr_nonnull(
        strstr(text, "save checkpoint-000150 (12.3 MB, 0.08 s, training waited 0.000 s, best)\n"));
    ck_assert_ptr_null(strchr(text, '\r'));
}
END_TEST

START_TEST(the_file_has_the_names_of_the_interface)
{
    static const char *const names[] = {
        "step",  "epoch",     "loss",         "ppl",
        "lr",    "grad_norm", "tokens_per_s", "trained_tokens_per_s",
        "mfu",   "rss_bytes", "eval_step",    "stderr",
        "tokens"
    };
    qp_metrics m;
    qp_step_line l = { .step = 1, .loss = NAN, .eta = NAN };
    qp_ppl e = { .nll = 1 };
    ck_assert(!qp_metrics_open(&m, dir, 0, -1, out, &err));
    ck_assert(!qp_metrics_step(&m, &l, &err) && !qp_metrics_eval(&m, 1, &e, &err));
    qp_metrics_close(&m);
    char *text = file();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char key[40];
        snprintf(key, sizeof key, "\"%s\":", names[i]);
        ck_assert_msg(strstr(text, key) != NULL, "no %s in %s", key, text);
    }
    ck_assert_ptr_nonnull(strstr(text, "\"loss\": null")); /* JSON has no NaN */
    free(text);
}
END_TEST

START_TEST(opening_drops_what_will_be_written_again)
{
    qp_metrics m;
    put("{\"eval_step\": 0, \"loss\": 5}\n{\"step\": 1}\n{\"step\": 2}\n{\"eval_step\": "
        "2}\n{\"step\": 3}\n"
        "{\"eval_step\": 3}\nnot json\n{\"step\": 2");
    ck_assert(!qp_metrics_open(&m, dir, 2, 0, out, &err));
    qp_metrics_close(&m);
    char *text = file();
    ck_assert_str_eq(text, "{\"eval_step\": 0, \"loss\": 5}\n{\"step\": 1}\n{\"step\": 2}\n");
    free(text);
}
END_TEST

START_TEST(a_file_that_does_not_reach_the_disk_is_74)
{
    qp_metrics m;
    ck_assert_msg(!qp_metrics_open(&m, dir, 0, 0, out, &err), "%s", err.msg);
    ck_assert_msg(!qp_metrics_sync(&m, &err), "%s", err.msg);
    int whole = m.jsonl;
    m.jsonl = -1;
    ck_assert_int_eq(qp_metrics_sync(&m, &err), QP_IO);
    ck_assert_msg(strstr(err.msg, "metrics.jsonl: fsync: ") != NULL, "%s", err.msg);
    m.jsonl = whole;
    qp_metrics_close(&m);
}
END_TEST

START_TEST(sizes_and_times_are_short)
{
    char b[16], t[24];
    qp_bytes_text(b, 5.9 * 1073741824);
    ck_assert_str_eq(b, "5.9G");
    qp_bytes_text(b, 400.0 * 1048576);
    ck_assert_str_eq(b, "400M");
    qp_bytes_text(b, 0);
    ck_assert_str_eq(b, "0.0K");
    qp_time_text(t, 3661.4);
    ck_assert_str_eq(t, "1:01:01");
}
END_TEST

Suite *suite_log_lines(void)
{
    Suite *s = suite_create("log_lines");
    TCase *t = tcase_create("metrics");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, lines_look_as_the_interface_shows_them);
    tcase_add_test(t, the_file_has_the_names_of_the_interface);
    tcase_add_test(t, opening_drops_what_will_be_written_again);
    tcase_add_test(t, a_file_that_does_not_reach_the_disk_is_74);
    tcase_add_test(t, sizes_and_times_are_short);
    suite_add_tcase(s, t);
    return s;
}
