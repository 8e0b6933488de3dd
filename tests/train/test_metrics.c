/* The bar, on a terminal of a chosen width. */
#include "base/zio.h"
#include "tests/suites.h"
#include "train/metrics.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static char dir[64];
static qp_err err;
static int reader;
static qp_metrics m;

static void open_terminal(int columns)
{
    struct winsize w = { .ws_col = (unsigned short)columns, .ws_row = 24 };
    strcpy(dir, "/tmp/qp-metrics-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    reader = posix_openpt(O_RDWR | O_NOCTTY);
    ck_assert(reader >= 0 && !grantpt(reader) && !unlockpt(reader));
    ck_assert_int_eq(ioctl(reader, TIOCSWINSZ, &w), 0);
    FILE *out = fopen(ptsname(reader), "w");
    ck_assert_ptr_nonnull(out);
    setenv("NO_COLOR", "1", 1);
    ck_assert_msg(!qp_metrics_open(&m, dir, 0, 0, out, &err), "%s", err.msg);
}

static void close_terminal(void)
{
    FILE *out = m.out;
    qp_metrics_close(&m);
    fclose(out);
    close(reader);
    ck_assert_msg(!qp_remove_tree(dir, &err), "%s", err.msg);
}

/* Reads until `last` has come: the terminal hands its bytes on in pieces. */
static void shown(char *text, size_t size, const char *last)
{
    size_t at = 0;
    do {
        ssize_t n = read(reader, text + at, size - 1 - at);
        ck_assert_int_gt(n, 0);
        text[at += (size_t)n] = 0;
    } while (!strstr(text, last));
}

START_TEST(the_bar_never_fills_the_last_column)
{
    static const int columns[] = { 10, 30, 60, 79, 80, 200 };
    char text[1000];
    open_terminal(columns[_i]);
    qp_metrics_bar(&m, 0.5, "step 12345, micro-batch 10/20");
    shown(text, sizeof text, "%");
    ck_assert_msg(!strncmp(text, "\r\033[K[", 5), "%s", text);
    ck_assert_int_lt(strlen(text) - 4, columns[_i]);
    if (columns[_i] >= 80) ck_assert(strstr(text, "[####################....") != NULL);
    close_terminal();
}
END_TEST

START_TEST(the_bar_is_drawn_ten_times_a_second_at_most_and_cleared_by_a_line)
{
    char text[1000];
    open_terminal(80);
    for (int i = 0; i < 1000; i++) qp_metrics_bar(&m, 0.1, "a");
    qp_metrics_text(&m, "a line");
    shown(text, sizeof text, "a line\r\n");
    ck_assert_int_lt(strlen(text), 600); /* one bar; a few on a slow machine, a thousand never */
    ck_assert_msg(strstr(text, "\r\033[Ka line\r\n") != NULL, "%s", text);
    close_terminal();
}
END_TEST

Suite *suite_metrics(void)
{
    Suite *s = suite_create("metrics");
    TCase *t = tcase_create("bar");
    tcase_add_loop_test(t, the_bar_never_fills_the_last_column, 0, 6);
    tcase_add_test(t, the_bar_is_drawn_ten_times_a_second_at_most_and_cleared_by_a_line);
    suite_add_tcase(s, t);
    return s;
}
