#include "base/json.h"
#include "base/zio.h"
#include "tests/base/files.h"
#include "tests/suites.h"
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char letter[] = { '$', 'n', 'f', 't', '#', 's', 'k', '[', ']', '{', '}', '!' };

/* The events of a text as letters, from a copy without a byte to spare: ASan sees a read past the
 * end. */
static char *events(const char *text, size_t len, qp_err *err)
{
    char *copy = qp_xmalloc(len);
    memcpy(copy, text, len);
    qp_json j;
    qp_buf out = { 0 };
    qp_json_init(&j, copy, len, err);
    for (;;) {
        qp_json_kind kind = qp_json_next(&j);
        qp_buf_char(&out, letter[kind]);
        if (kind == QP_JSON_END || kind == QP_JSON_ERROR) break;
    }
    ck_assert_int_eq(qp_json_next(&j), j.kind); /* and so again */
    qp_json_release(&j);
    free(copy);
    return out.data;
}

static const struct {
    const char *text, *events;
} good[] = {
    { "null", "n$" },
    { " true\n", "t$" },
    { "false", "f$" },
    { "0", "#$" },
    { "\"\"", "s$" },
    { "[]", "[]$" },
    { "{}", "{}$" },
    { "[ [ ] , { } ]", "[[]{}]$" },
    { "[1,2.5,-3e2,\"x\",null,true,false]", "[###sntf]$" },
    { "{\"a\":1,\"b\":[{\"c\":null}]}", "{k#k[{kn}]}$" },
    { "\t\r\n {\t\"a\"\r:\n1 } ", "{k#}$" },
};

START_TEST(good_texts_give_their_events)
{
    qp_err err = { 0 };
    char *got = events(good[_i].text, strlen(good[_i].text), &err);
    ck_assert_str_eq(got, good[_i].events);
    free(got);
}
END_TEST

static const struct {
    const char *text, *message;
} bad[] = {
    { "", "a value wanted, found the end" },
    { "  ", "a value wanted, found the end" },
    { "nul", "a value wanted" },
    { "nulll", "nothing more wanted, found 'l'" },
    { "True", "a value wanted, found 'T'" },
    { "NaN", "a value wanted" },
    { "Infinity", "a value wanted" },
    { "1 2", "nothing more wanted" },
    { "{} x", "nothing more wanted" },
    { "[", "a value wanted" },
    { "[1", "',' or ']' wanted" },
    { "[1,]", "a value wanted, found ']'" },
    { "[,1]", "a value wanted, found ','" },
    { "[1 2]", "',' or ']' wanted" },
    { "[1}", "',' or ']' wanted" },
    { "]", "a value wanted" },
    { "{", "a key in quotes wanted" },
    { "{1:2}", "a key in quotes wanted" },
    { "{a:2}", "a key in quotes wanted" },
    { "{\"a\"}", "':' wanted" },
    { "{\"a\" 1}", "':' wanted" },
    { "{\"a\":}", "a value wanted" },
    { "{\"a\":1,}", "a key in quotes wanted" },
    { "{\"a\":1 \"b\":2}", "',' or '}' wanted" },
    { "{\"a\":1]", "',' or '}' wanted" },
    { "01", "malformed number" },
    { "-", "malformed number" },
    { "+1", "a value wanted" },
    { ".5", "a value wanted" },
    { "1.", "malformed number" },
    { "1e", "malformed number" },
    { "1e+", "malformed number" },
    { "-01", "malformed number" },
    { "0x10", "nothing more wanted" },
    { "1e999", "too large for a double" },
    { "\"", "string without an end" },
    { "\"abc", "string without an end" },
    { "\"\\\"", "string without an end" },
    { "\"\\", "unknown escape" },
    { "\"\\x41\"", "unknown escape" },
    { "\"\\u12\"", "four hexadecimal digits" },
    { "\"\\u12G4\"", "four hexadecimal digits" },
    { "\"\\u123", "four hexadecimal digits" },
    { "\"\\ud800\"", "surrogate" },
    { "\"\\ud800x\"", "surrogate" },
    { "\"\\ud800\\u0041\"", "surrogate" },
    { "\"\\ud800\\ud800\"", "surrogate" },
    { "\"\\ud800\\u", "surrogate" },
    { "\"\\udc00\"", "surrogate" },
    { "\"a\tb\"", "control character" },
    { "\"a\nb\"", "control character" },
    { "\"\x80\"", "UTF-8" },         /* a continuation alone */
    { "\"\xC3\"", "UTF-8" },         /* cut off by the quote */
    { "\"\xC3", "UTF-8" },           /* cut off by the end */
    { "\"\xC0\x80\"", "UTF-8" },     /* overlong */
    { "\"\xE0\x9F\x80\"", "UTF-8" }, /* overlong */
    { "\"\xF0\x8F\x80\x80\"", "UTF-8" },
    { "\"\xED\xA0\x80\"", "UTF-8" },     /* a surrogate */
    { "\"\xF4\x90\x80\x80\"", "UTF-8" }, /* above U+10FFFF */
    { "\"\xFF\"", "UTF-8" },
    { "\xEF\xBB\xBF{}", "a value wanted, found byte 0xEF" },
    { "// no\n1", "a value wanted, found '/'" },
    { "'a'", "a value wanted" },
    { "{\n \"a\": 1,\n \"b\" 2}", "line 3, column 6: ':' wanted" },
};

START_TEST(bad_texts_are_refused_with_their_place)
{
    qp_err err = { 0 };
    char *got = events(bad[_i].text, strlen(bad[_i].text), &err);
    ck_assert_msg(strchr(got, '!') != NULL, "%s: accepted as %s", bad[_i].text, got);
    ck_assert_int_eq(err.status, QP_BADFILE);
    ck_assert_msg(strstr(err.msg, bad[_i].message), "%s: %s, wanted %s", bad[_i].text, err.msg,
                  bad[_i].message);
    ck_assert_msg(strstr(err.msg, "column"), "%s", err.msg);
    free(got);
}
END_TEST

START_TEST(a_nul_byte_is_no_white_space)
{
    qp_err err = { 0 };
    char *got = events("1\0", 2, &err);
    ck_assert_str_eq(got, "#!");
    free(got);
}
END_TEST

START_TEST(depth_64_is_read_and_65_refused)
{
    qp_err err = { 0 };
    char text[131];
    memset(text, '[', 65);
    memset(text + 65, ']', 65);
    char *got = events(text + 1, 128, &err);
    ck_assert_int_eq(got[strlen(got) - 1], '$');
    free(got);
    got = events(text, 130, &err);
    ck_assert_int_eq(got[strlen(got) - 1], '!');
    ck_assert(strstr(err.msg, "deeper than 64"));
    free(got);
}
END_TEST

START_TEST(escapes_become_utf8)
{
    static const char text[] =
        "\"\\\"\\\\\\/"
        "\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20AC\\ud83d\\uDE00\\u0000|\xC3\xA9\xF0\x9F\x98\x80\"";
    static const char want[] =
        "\"\\/\b\f\n\r\tA\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\0|\xC3\xA9\xF0\x9F\x98\x80";
    qp_err err = { 0 };
    qp_json j;
    qp_json_init(&j, text, sizeof text - 1, &err);
    ck_assert_int_eq(qp_json_next(&j), QP_JSON_STRING);
    ck_assert_uint_eq(j.str.len, sizeof want - 1);
    ck_assert_mem_eq(j.str.data, want, sizeof want);
    qp_json_release(&j);
}
END_TEST

static const struct {
    const char *text;
    double number;
    bool is_integer;
    int64_t integer;
} numbers[] = {
    { "0", 0, true, 0 },
    { "-7", -7, true, -7 },
    { "9223372036854775807", 9223372036854775807., true, INT64_MAX },
    { "-9223372036854775808", -9223372036854775808., true, INT64_MIN },
    { "9223372036854775808", 9223372036854775808., false, 0 },
    { "-9223372036854775809", -9223372036854775808., false, 0 },
    { "1.0", 1, false, 0 },
    { "1e3", 1000, false, 0 },
    { "1E-05", 1e-5, false, 0 },
    { "2.2250738585072011e-308", 2.2250738585072011e-308, false, 0 },
    { "1e-999", 0, false, 0 },
    { "9007199254740993", 9007199254740992., true, 9007199254740993 },
};

START_TEST(numbers_are_exact)
{
    qp_err err = { 0 };
    qp_json j;
    qp_json_init(&j, numbers[_i].text, strlen(numbers[_i].text), &err);
    ck_assert_int_eq(qp_json_next(&j), QP_JSON_NUMBER);
    ck_assert_msg(j.number == numbers[_i].number, "%s: %.17g", numbers[_i].text, j.number);
    ck_assert_int_eq(j.is_integer, numbers[_i].is_integer);
    if (j.is_integer) ck_assert_int_eq(j.integer, numbers[_i].integer);
    qp_json_release(&j);
}
END_TEST

START_TEST(minus_zero_keeps_its_sign)
{
    qp_err err = { 0 };
    qp_json j;
    qp_json_init(&j, "-0", 2, &err);
    ck_assert_int_eq(qp_json_next(&j), QP_JSON_NUMBER);
    ck_assert(j.is_integer && j.integer == 0 && signbit(j.number));
    qp_json_release(&j);
}
END_TEST

START_TEST(skip_passes_over_a_whole_value)
{
    static const char text[] = "{\"a\":{\"x\":[1,{}]},\"b\":[],\"c\":3,\"d\":4}";
    qp_err err = { 0 };
    qp_json j;
    qp_json_init(&j, text, sizeof text - 1, &err);
    qp_json_next(&j);
    while (qp_json_next(&j) == QP_JSON_KEY && !qp_json_is(&j, "d")) qp_json_skip(&j);
    ck_assert(qp_json_is(&j, "d") && !qp_json_is(&j, "dd") && !qp_json_is(&j, ""));
    ck_assert_mem_eq(j.start, "\"d\":4", 5);
    ck_assert_int_eq(qp_json_next(&j), QP_JSON_NUMBER);
    ck_assert(j.integer == 4);
    ck_assert_int_eq(qp_json_next(&j), QP_JSON_OBJECT_END);
    ck_assert_int_eq(qp_json_next(&j), QP_JSON_END);
    qp_json_release(&j);
}
END_TEST

START_TEST(a_document_is_a_tree_in_order)
{
    static const char text[] = "{\"b\": [1, \"two\", null, [true]], \"a\": {\"c\": 0.5}, "
                               "\"n\\u0000\\u0041\": \"x\\u0000y\"}";
    qp_err err = { 0 };
    qp_value *v;
    ck_assert_int_eq(qp_json_parse(&v, text, sizeof text - 1, &err),
                     QP_BADFILE); /* the NUL in a key */
    ck_assert_ptr_null(v);
    static const char fine[] =
        "{\"b\": [1, \"two\", null, [true]], \"a\": {\"c\": 0.5}, \"n\": \"x\\u0000y\"}";
    ck_assert_msg(!qp_json_parse(&v, fine, sizeof fine - 1, &err), "%s", err.msg);
    ck_assert_int_eq(v->count, 3);
    ck_assert_str_eq(v->child->key, "b");
    const qp_value *b = qp_json_get(v, "b");
    ck_assert_int_eq(b->count, 4);
    ck_assert(qp_json_at(b, 0)->integer == 1);
    ck_assert_str_eq(qp_json_at(b, 1)->str, "two");
    ck_assert_int_eq(qp_json_at(qp_json_at(b, 3), 0)->kind, QP_JSON_TRUE);
    ck_assert_ptr_null(qp_json_at(b, 4));
    ck_assert_ptr_null(qp_json_at(b, -1));
    ck_assert(qp_json_get(qp_json_get(v, "a"), "c")->number == 0.5);
    ck_assert_uint_eq(qp_json_get(v, "n")->str_len, 3);
    ck_assert_ptr_null(qp_json_get(v, "z"));
    ck_assert_ptr_null(qp_json_get(b, "z"));
    ck_assert_ptr_null(qp_json_get(NULL, "z"));
    qp_json_free(v);
    qp_json_free(NULL);
}
END_TEST

START_TEST(a_key_twice_is_refused_in_a_document)
{
    static const char text[] = "{\"x\": {\"a\": 1, \"b\": 2, \"a\": 3}}";
    qp_err err = { 0 };
    qp_value *v;
    ck_assert_int_eq(qp_json_parse(&v, text, sizeof text - 1, &err), QP_BADFILE);
    ck_assert_str_eq(err.msg, "key \"a\" twice");
}
END_TEST

START_TEST(a_loaded_file_is_named_in_errors)
{
    char path[] = "/tmp/qp_json_XXXXXX";
    ck_assert_int_ge(close(mkstemp(path)), 0);
    qp_err err = { 0 };
    qp_value *v;
    ck_assert(!qp_file_write(path, "{\"a\": [1, 2}", 12, &err));
    ck_assert_int_eq(qp_json_load(&v, path, &err), QP_BADFILE);
    ck_assert(!strncmp(err.msg, path, strlen(path)) &&
              strstr(err.msg, ": column 12: ',' or ']' wanted"));
    ck_assert(!qp_file_write(path, "", 0, &err));
    ck_assert_int_eq(qp_json_load(&v, path, &err), QP_BADFILE);
    unlink(path);
    ck_assert_int_eq(qp_json_load(&v, path, &err), QP_USAGE);
}
END_TEST

static void write_sample(qp_json_writer *w)
{
    qp_json_open_object(w);
    qp_json_key(w, "a");
    qp_json_open_array(w);
    qp_json_int(w, INT64_MIN);
    qp_json_bool(w, true);
    qp_json_null(w);
    qp_json_open_object(w);
    qp_json_close_object(w);
    qp_json_close_array(w);
    qp_json_key(w, "q\"\\");
    qp_json_cstring(w, "\x01\n\x7F\xC3\xA9");
    qp_json_key(w, "e");
    qp_json_open_array(w);
    qp_json_close_array(w);
    qp_json_close_object(w);
}

START_TEST(the_writer_puts_commas_quotes_and_indents)
{
    qp_buf out = { 0 };
    write_sample(&(qp_json_writer){ .out = &out });
    ck_assert_str_eq(out.data, "{\"a\": [-9223372036854775808, true, null, {}], "
                               "\"q\\\"\\\\\": \"\\u0001\\n\x7F\xC3\xA9\", \"e\": []}");
    qp_buf_clear(&out);
    write_sample(&(qp_json_writer){ .out = &out, .indent = 2 });
    ck_assert_str_eq(
        out.data, "{\n  \"a\": [\n    -9223372036854775808,\n    true,\n    null,\n    {}\n  ],\n"
                  "  \"q\\\"\\\\\": \"\\u0001\\n\x7F\xC3\xA9\",\n  \"e\": []\n}");
    qp_buf_release(&out);
}
END_TEST

START_TEST(what_is_not_utf8_is_written_as_the_replacement_character)
{
    qp_buf out = { 0 };
    qp_json_writer w = { .out = &out };
    qp_json_string(&w, "a\xF0\x9F\x98", 4);
    ck_assert_str_eq(out.data, "\"a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
    qp_buf_release(&out);
}
END_TEST

static const struct {
    double v;
    const char *text;
} doubles[] = {
    { 0, "0.0" },
    { -0.0, "-0.0" },
    { 100, "100.0" },
    { 0.1, "0.1" },
    { 1e-5, "1e-05" },
    { 1e22, "1e+22" },
    { 1.0 / 3, "0.3333333333333333" },
    { 0.1 + 0.2, "0.30000000000000004" },
    { 5e-324, "5e-324" },
    { DBL_MAX, "1.7976931348623157e+308" },
    { 2e-4, "0.0002" },
    { NAN, "null" },
    { -INFINITY, "null" },
    { 1234.5, "1234.5" },
    { 1e15, "1e+15" },
    { 123456789012345678., "1.2345678901234568e+17" },
};

START_TEST(doubles_are_the_shortest_that_read_back_equal)
{
    qp_buf out = { 0 };
    qp_json_writer w = { .out = &out };
    qp_json_double(&w, doubles[_i].v);
    ck_assert_str_eq(out.data, doubles[_i].text);
    if (isfinite(doubles[_i].v)) ck_assert(strtod(out.data, NULL) == doubles[_i].v);
    qp_buf_release(&out);
}
END_TEST

/* The library in a program that talks German. */
START_TEST(numbers_have_a_point_whatever_the_programs_locale)
{
    char *dir = test_dir(), *command = qp_xformat("localedef -i de_DE -f UTF-8 %s/de", dir);
    setenv("LOCPATH", dir, 1);
    if (system(command) || !setlocale(LC_ALL, "de")) {
        fprintf(stderr, "NOT TESTED: no German locale to be had (localedef, package locales)\n");
    } else {
        ck_assert_str_eq(localeconv()->decimal_point, ",");
        qp_err err = { 0 };
        qp_json j;
        qp_json_init(&j, "1.5", 3, &err);
        ck_assert_int_eq(qp_json_next(&j), QP_JSON_NUMBER);
        ck_assert_double_eq(j.number, 1.5);
        qp_json_release(&j);
        qp_buf out = { 0 };
        qp_json_writer w = { .out = &out };
        qp_json_open_array(&w);
        qp_json_double(&w, 1);
        qp_json_double(&w, 2.5e-7);
        qp_json_close_array(&w);
        ck_assert_ptr_nonnull(strstr(out.data, "1.0"));
        ck_assert_ptr_nonnull(strstr(out.data, "2.5e-07"));
        qp_buf_release(&out);
        ck_assert_str_eq(localeconv()->decimal_point, ","); /* and the program's stays */
    }
    free(command);
    test_remove_dir(dir);
}
END_TEST

#define COUNT(a) (int)(sizeof(a) / sizeof *(a))

Suite *suite_json(void)
{
    Suite *s = suite_create("json");
    TCase *t = tcase_create("json");
    tcase_add_loop_test(t, good_texts_give_their_events, 0, COUNT(good));
    tcase_add_loop_test(t, bad_texts_are_refused_with_their_place, 0, COUNT(bad));
    tcase_add_test(t, a_nul_byte_is_no_white_space);
    tcase_add_test(t, depth_64_is_read_and_65_refused);
    tcase_add_test(t, escapes_become_utf8);
    tcase_add_loop_test(t, numbers_are_exact, 0, COUNT(numbers));
    tcase_add_test(t, minus_zero_keeps_its_sign);
    tcase_add_test(t, skip_passes_over_a_whole_value);
    tcase_add_test(t, a_document_is_a_tree_in_order);
    tcase_add_test(t, a_key_twice_is_refused_in_a_document);
    tcase_add_test(t, a_loaded_file_is_named_in_errors);
    tcase_add_test(t, the_writer_puts_commas_quotes_and_indents);
    tcase_add_test(t, what_is_not_utf8_is_written_as_the_replacement_character);
    tcase_add_loop_test(t, doubles_are_the_shortest_that_read_back_equal, 0, COUNT(doubles));
    tcase_add_test(t, numbers_have_a_point_whatever_the_programs_locale);
    suite_add_tcase(s, t);
    return s;
}
