#include "eval/stream.h"
#include "tests/suites.h"
#include <string.h>

/* Feeds `bytes` in pieces of `size`; returns the text and whether it stopped. Every piece shown
 * must end a character. */
static bool feed(qp_stream *s, const char *bytes, size_t size, qp_buf *out)
{
    bool on = true;
    for (size_t at = 0, n = strlen(bytes); at < n && on; at += size)
        on = qp_stream_add(s, bytes + at, size < n - at ? size : n - at, out);
    if (on) qp_stream_end(s, out);
    return !on;
}

static void check(const char *bytes, const char *const *stop, int n_stop, const char *expected)
{
    for (size_t size = 1; size < 8; size++) {
        qp_stream s = { .stop = stop, .n_stop = n_stop };
        qp_buf out = { 0 };
        bool stopped = feed(&s, bytes, size, &out);
        ck_assert_str_eq(out.data ? out.data : "", expected);
        ck_assert_int_eq(stopped, strlen(expected) < strlen(bytes) && n_stop > 0 &&
                                      !strstr(expected, "\xef\xbf\xbd"));
        qp_buf_release(&out);
        qp_stream_release(&s);
    }
}

START_TEST(characters_come_whole)
{
    check("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z", NULL, 0,
          "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z");
    qp_stream s = { 0 };
    qp_buf out = { 0 };
    qp_stream_add(&s, "x\xf0\x9f", 3, &out);
    ck_assert_str_eq(out.data, "x");
    qp_stream_add(&s, "\x98\x80", 2, &out);
    ck_assert_str_eq(out.data, "x\xf0\x9f\x98\x80");
    qp_buf_release(&out);
    qp_stream_release(&s);
}
END_TEST

START_TEST(bytes_that_are_no_text_become_replacement_characters)
{
    check("a\xff"
          "b",
          NULL, 0,
          "a\xef\xbf\xbd"
          "b");
    check("\xe2\x82", NULL, 0, "\xef\xbf\xbd\xef\xbf\xbd"); /* cut short at the end */
    check("\xe2(", NULL, 0, "\xef\xbf\xbd(");
    check("\xed\xa0\x80", NULL, 0, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"); /* a surrogate */
    check("\xc0\xaf", NULL, 0, "\xef\xbf\xbd\xef\xbf\xbd");                 /* overlong */
}
END_TEST

START_TEST(a_stop_text_ends_it_however_it_is_cut)
{
    static const char *const stop[] = { "\n\n", "END" };
    check("one\ntwo\n\nthree", stop, 2, "one\ntwo");
    check("an ENd, an ENEND and more", stop, 2, "an ENd, an EN");
    check("EN", stop, 2, "EN"); /* held back, then shown */
    check("no stop", stop, 2, "no stop");
}
END_TEST

Suite *suite_stream(void)
{
    Suite *s = suite_create("stream");
    TCase *t = tcase_create("stream");
    tcase_add_test(t, characters_come_whole);
    tcase_add_test(t, bytes_that_are_no_text_become_replacement_characters);
    tcase_add_test(t, a_stop_text_ends_it_however_it_is_cut);
    suite_add_tcase(s, t);
    return s;
}
