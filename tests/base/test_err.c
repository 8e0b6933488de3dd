#include "base/buf.h"
#include "tests/suites.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

START_TEST(a_failure_gives_status_and_message)
{
    qp_err err = { 0 };
    ck_assert_int_eq(qp_fail(&err, QP_IO, "%s: %d", "a.bin", 7), QP_IO);
    ck_assert_int_eq(err.status, QP_IO);
    ck_assert_str_eq(err.msg, "a.bin: 7");
}
END_TEST

START_TEST(each_caller_adds_what_it_was_doing)
{
    qp_err err = { 0 };
    qp_fail(&err, QP_BADFILE, "shape (8, 2048), wanted (16, 2048)");
    ck_assert_int_eq(qp_wrap(&err, "tensor %s", "w"), QP_BADFILE);
    ck_assert_int_eq(qp_wrap(&err, "adapter out/a"), QP_BADFILE);
    ck_assert_str_eq(err.msg, "adapter out/a: tensor w: shape (8, 2048), wanted (16, 2048)");
}
END_TEST

START_TEST(a_message_may_quote_the_one_before)
{
    qp_err err = { 0 };
    qp_fail(&err, QP_IO, "disk full");
    qp_fail(&err, QP_FAIL, "saving: %s; going on", err.msg);
    ck_assert_str_eq(err.msg, "saving: disk full; going on");
}
END_TEST

START_TEST(long_messages_are_cut_and_the_cause_is_kept)
{
    qp_err err = { 0 };
    char long_name[3000];
    memset(long_name, 'n', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    qp_fail(&err, QP_FAIL, "cause");
    qp_wrap(&err, "%s", long_name);
    ck_assert_uint_eq(strlen(err.msg), sizeof err.msg / 2 + strlen(": cause"));
    ck_assert(strstr(err.msg, ": cause"));
    qp_fail(&err, QP_FAIL, "%s", long_name);
    ck_assert_uint_eq(strlen(err.msg), sizeof err.msg - 1);
    qp_wrap(&err, "who");
    ck_assert_uint_eq(strlen(err.msg), sizeof err.msg - 1);
    ck_assert(!strncmp(err.msg, "who: nnn", 8));
}
END_TEST

START_TEST(a_false_assertion_exits_70) { QP_ASSERT(1 + 1 == 3, "sum is %d", 2); }
END_TEST

START_TEST(a_buffer_grows_and_stays_terminated)
{
    qp_buf b = { 0 };
    qp_buf_add(&b, NULL, 0);
    ck_assert_str_eq(b.data, "");
    for (int i = 0; i < 1000; i++) qp_buf_printf(&b, "%d,", i);
    ck_assert_uint_eq(b.len, 10 * 2 + 90 * 3 + 900 * 4);
    ck_assert_uint_eq(strlen(b.data), b.len);
    qp_buf_clear(&b);
    qp_buf_str(&b, "ab");
    qp_buf_char(&b, '\0');
    qp_buf_char(&b, 'c');
    ck_assert_uint_eq(b.len, 4);
    ck_assert_mem_eq(b.data, "ab\0c", 5);
    qp_buf_release(&b);
    ck_assert_ptr_null(b.data);
}
END_TEST

START_TEST(an_overflowing_size_exits_71) { qp_xrealloc(NULL, SIZE_MAX / 2, 3); }
END_TEST
START_TEST(an_overflowing_count_exits_71) { qp_xcalloc(SIZE_MAX / 2, 3); }
END_TEST
START_TEST(an_overflowing_buffer_exits_71)
{
    qp_buf b = { 0 };
    qp_buf_reserve(&b, SIZE_MAX - 1);
}
END_TEST

START_TEST(what_must_work_goes_on_or_exits_with_its_status)
{
    qp_err err = { 0 };
    qp_must(QP_OK, &err);
    qp_must(qp_fail(&err, QP_BADFILE, "a.bin: empty"), &err);
}
END_TEST

/* Where a handler has jumped to, and what it was told. */
static jmp_buf out;
static char told[64];
static void jump(void *arg, qp_status status, const char *message)
{
    snprintf(told, sizeof told, "%s %d: %s", (const char *)arg, status, message);
    longjmp(out, 1);
}

START_TEST(a_handler_may_jump_out_instead_of_exit)
{
    qp_on_fatal(jump, "core");
    if (!setjmp(out)) QP_ASSERT(1 == 2, "add: a (5,\n7), b (%d, 5)", 7);
    ck_assert_str_eq(told, "core 70: add: a (5,?7), b (7, 5)");
    if (!setjmp(out)) qp_xcalloc(SIZE_MAX / 2, 3);
    ck_assert_int_eq(strncmp(told, "core 71: ", 9), 0);
}
END_TEST

static void come_back(void *arg, qp_status status, const char *message)
{
    (void)arg, (void)status, (void)message;
}
START_TEST(a_handler_that_returns_changes_nothing_exits_70)
{
    qp_on_fatal(come_back, NULL);
    QP_ASSERT(false, "as ever");
}
END_TEST

START_TEST(a_handler_taken_back_is_gone_exits_70)
{
    qp_on_fatal(jump, "core");
    qp_on_fatal(NULL, NULL);
    if (!setjmp(out)) QP_ASSERT(false, "as ever");
}
END_TEST

START_TEST(a_handler_on_hold_is_not_called_exits_70)
{
    qp_on_fatal(jump, "core");
    qp_on_fatal_hold(true);
    qp_on_fatal_hold(true);
    qp_on_fatal_hold(false);
    if (!setjmp(out)) QP_ASSERT(false, "still held");
}
END_TEST

static void *fail_here(void *arg)
{
    (void)arg;
    QP_ASSERT(false, "in another thread");
    return NULL;
}
START_TEST(a_handler_is_its_threads_own_exits_70)
{
    qp_on_fatal(jump, "core");
    pthread_t t;
    if (setjmp(out) || pthread_create(&t, NULL, fail_here, NULL)) return;
    pthread_join(t, NULL);
}
END_TEST

Suite *suite_err(void)
{
    Suite *s = suite_create("err");
    TCase *t = tcase_create("err");
    tcase_add_test(t, a_failure_gives_status_and_message);
    tcase_add_test(t, each_caller_adds_what_it_was_doing);
    tcase_add_test(t, a_message_may_quote_the_one_before);
    tcase_add_test(t, long_messages_are_cut_and_the_cause_is_kept);
    tcase_add_exit_test(t, a_false_assertion_exits_70, QP_BUG);
    tcase_add_exit_test(t, what_must_work_goes_on_or_exits_with_its_status, QP_BADFILE);
    tcase_add_test(t, a_buffer_grows_and_stays_terminated);
    tcase_add_exit_test(t, an_overflowing_size_exits_71, QP_NOMEM);
    tcase_add_exit_test(t, an_overflowing_count_exits_71, QP_NOMEM);
    tcase_add_exit_test(t, an_overflowing_buffer_exits_71, QP_NOMEM);
    tcase_add_test(t, a_handler_may_jump_out_instead_of_exit);
    tcase_add_exit_test(t, a_handler_that_returns_changes_nothing_exits_70, QP_BUG);
    tcase_add_exit_test(t, a_handler_taken_back_is_gone_exits_70, QP_BUG);
    tcase_add_exit_test(t, a_handler_on_hold_is_not_called_exits_70, QP_BUG);
    tcase_add_exit_test(t, a_handler_is_its_threads_own_exits_70, QP_BUG);
    suite_add_tcase(s, t);
    return s;
}
