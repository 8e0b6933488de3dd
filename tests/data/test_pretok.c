#include "base/buf.h"
#include "data/pretok.h"
#include "data/unicode.h"
#include "tests/suites.h"
#include <string.h>

static void collect(void *arg, const char *piece, size_t len)
{
    qp_buf *b = arg;
    if (b->len) qp_buf_char(b, '|');
    qp_buf_add(b, piece, len);
}

static const char *pieces(const qp_pretok *p, const char *text)
{
    static char out[1000];
    qp_buf b = { 0 };
    qp_err err = { 0 };
    ck_assert_msg(!qp_pretok_split(p, text, strlen(text), collect, &b, &err), "%s", err.msg);
    strncpy(out, b.data ? b.data : "", sizeof out - 1);
    qp_buf_release(&b);
    return out;
}

static void add(qp_pretok *p, const char *pattern, qp_split split)
{
    qp_err err = { 0 };
    ck_assert_msg(!qp_pretok_add(p, pattern, strlen(pattern), split, &err), "%s", err.msg);
}

/* A pattern in brackets is none of the known ones: PCRE2 runs it. */
static void add_pcre(qp_pretok *p, const char *pattern)
{
    qp_buf b = { 0 };
    qp_buf_printf(&b, "(?:%s)", pattern);
    add(p, b.data, QP_SPLIT_ISOLATE);
    qp_buf_release(&b);
}

/* Both ways must give what is wanted. */
static void check(const char *const *patterns, const char *const (*cases)[2])
{
    qp_pretok *p = qp_pretok_new(), *pcre = qp_pretok_new();
    for (; *patterns; patterns++) {
        add(p, *patterns, QP_SPLIT_ISOLATE);
        add_pcre(pcre, *patterns);
    }
    for (; (*cases)[0]; cases++) {
        ck_assert_str_eq(pieces(p, (*cases)[0]), (*cases)[1]);
        ck_assert_str_eq(pieces(pcre, (*cases)[0]), (*cases)[1]);
    }
    qp_pretok_free(p);
    qp_pretok_free(pcre);
}

START_TEST(gpt2_pattern)
{
    static const char *const cases[][2] = {
        { "", "" },
        { "Hello world", "Hello| world" },
        { "I'll we'RE", "I|'ll| we|'|RE" },
        { "a  b   ", "a| | b|   " },
        { "a\n\n b", "a|\n\n| b" },
        { "x1234 567", "x|1234| 567" },
        { "!? $a", "!?| $|a" },
        { " \xc3\xa9t\xc3\xa9\xe3\x80\x80z", " \xc3\xa9t\xc3\xa9|\xe3\x80\x80|z" },
        { NULL, NULL },
    };
    check((const char *const[]){ QP_PATTERN_GPT2, NULL }, cases);
}
END_TEST

START_TEST(llama3_pattern)
{
    static const char *const cases[][2] = {
        { "I'll we'RE", "I|'ll| we|'RE" },
        { "a  b   ", "a| | b|   " },
        { "a\n\n b \r\n\tc", "a|\n\n| b| \r\n|\tc" },
        { "x1234567 89", "x|123|456|7| |89" },
        { "!?\n$a", "!?\n|$a" },
        { "(foo)bar", "(foo|)bar" },
        { "'S\xc5\xbf '\xc5\xbf"
          "a",
          "'S|\xc5\xbf| '|\xc5\xbf"
          "a" },
        { NULL, NULL },
    };
    check((const char *const[]){ QP_PATTERN_LLAMA3, NULL }, cases);
}
END_TEST

START_TEST(stages_split_what_the_one_before_left)
{
    static const char *const cases[][2] = { { "ab12 3c", "ab|1|2| |3|c" }, { NULL, NULL } };
    check((const char *const[]){ QP_PATTERN_DIGIT, QP_PATTERN_GPT2, NULL }, cases);
}
END_TEST

START_TEST(mongolian_vowel_separator_is_no_space)
{
    static const char *const cases[][2] = { { "a\xe1\xa0\x8e"
                                              "b \xe1\xa0\x8e",
                                              "a|\xe1\xa0\x8e|b| \xe1\xa0\x8e" },
                                            { NULL, NULL } };
    check((const char *const[]){ QP_PATTERN_GPT2, NULL }, cases);
}
END_TEST

/* Every order of up to six of these: each class, the borders of the rules, contractions and their
   letters. */
START_TEST(written_out_patterns_equal_the_regular_expressions)
{
    static const char *const parts[] = {
        "a", "S", "1",        "\xc2\xbd", " ", "\xc2\xa0", "\n",           "\r",      "\t",
        "!", "'", "\xc5\xbf", "ll",       "V", "e",        "\xe4\xb8\x80", "\xcc\x81"
    };
    static const char *const patterns[] = { QP_PATTERN_GPT2, QP_PATTERN_LLAMA3, QP_PATTERN_QWEN2,
                                            QP_PATTERN_DIGIT, QP_PATTERN_NUMBER };
    enum { PARTS = sizeof parts / sizeof *parts };
    for (int k = 0; k < 5; k++) {
        qp_pretok *p = qp_pretok_new(), *pcre = qp_pretok_new();
        add(p, patterns[k], QP_SPLIT_ISOLATE);
        add_pcre(pcre, patterns[k]);
        uint32_t state = 1;
        for (int i = 0; i < 40000; i++) {
            char text[64] = "", want[1000];
            state = state * 1664525 + 1013904223;
            int n = i < PARTS * PARTS * PARTS ? 3 : 2 + (int)(state >> 28) / 2;
            for (int j = 0, code = i; j < n; j++, code /= PARTS) {
                state = state * 1664525 + 1013904223;
                strcat(text, parts[n == 3 ? code % PARTS : (int)(state >> 16) % PARTS]);
            }
            strcpy(want, pieces(pcre, text));
            ck_assert_str_eq(pieces(p, text), want);
        }
        qp_pretok_free(p);
        qp_pretok_free(pcre);
    }
}
END_TEST

START_TEST(kept_matches_drop_the_rest)
{
    qp_pretok *p = qp_pretok_new();
    add(p, "[a-c]+", QP_SPLIT_KEEP);
    ck_assert_str_eq(pieces(p, "abxxc-"), "ab|c");
    qp_pretok_free(p);
}
END_TEST

START_TEST(empty_matches_cut_and_end)
{
    static const char *const cases[][2] = { { "abxc", "ab|x|c" },
                                            { "\xc3\xa9", "\xc3\xa9" },
                                            { NULL, NULL } };
    check((const char *const[]){ "(?=x)|(?<=x)", NULL }, cases);
}
END_TEST

START_TEST(long_runs_end)
{
    qp_pretok *p = qp_pretok_new();
    qp_buf text = { 0 }, out = { 0 };
    qp_err err = { 0 };
    add(p, QP_PATTERN_LLAMA3, QP_SPLIT_ISOLATE);
    for (int i = 0; i < 1 << 20; i++) qp_buf_char(&text, ' ');
    qp_buf_char(&text, 'x');
    ck_assert_msg(!qp_pretok_split(p, text.data, text.len, collect, &out, &err), "%s", err.msg);
    ck_assert_uint_eq(out.len, text.len + 1);
    ck_assert_str_eq(out.data + out.len - 3, "| x");
    qp_buf_release(&text);
    qp_buf_release(&out);
    qp_pretok_free(p);
}
END_TEST

START_TEST(white_space_is_spelt_out_in_sets_too)
{
    static const char *const cases[][2] = { { "a]b \xe1\xa0\x8e]", "a]b| |\xe1\xa0\x8e|]" },
                                            { NULL, NULL } };
    check((const char *const[]){ "[]a-z[:upper:]]+|[^]a-z\\s]+", NULL }, cases);
}
END_TEST

START_TEST(a_bad_pattern_is_refused)
{
    static const char *const bad[][2] = { { "(a", "(a" },
                                          { "\\h", "\\h is not" },
                                          { "[a[b]]", "set in a set" },
                                          { "[a-z&&[^b]]", "&&" },
                                          { "[[:a]", "[:" } };
    for (int i = 0; i < 5; i++) {
        qp_err err = { 0 };
        qp_pretok *p = qp_pretok_new();
        ck_assert_int_eq(qp_pretok_add(p, bad[i][0], strlen(bad[i][0]), QP_SPLIT_ISOLATE, &err),
                         QP_BADFILE);
        ck_assert_msg(strstr(err.msg, bad[i][1]), "%s", err.msg);
        qp_pretok_free(p);
    }
}
END_TEST

START_TEST(character_classes)
{
    static const struct {
        uint32_t c;
        qp_char_class k;
    } cases[] = {
        { 0, QP_OTHER_CHAR },     { 'z', QP_LETTER },         { '7', QP_NUMBER },
        { ' ', QP_SPACE },        { 0x85, QP_SPACE },         { 0xAA, QP_LETTER },
        { 0xB2, QP_NUMBER },      { 0x2167, QP_NUMBER },      { 0x180E, QP_OTHER_CHAR },
        { 0x3000, QP_SPACE },     { 0x4E00, QP_LETTER },      { 0x9FFF, QP_LETTER },
        { 0x301, QP_OTHER_CHAR }, { 0x10D40, QP_NUMBER },     { 0x1F600, QP_OTHER_CHAR },
        { 0x323AF, QP_LETTER },   { 0x323B0, QP_OTHER_CHAR }, { 0x10FFFF, QP_OTHER_CHAR },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ck_assert_msg(qp_class_of(cases[i].c) == cases[i].k, "U+%04X", cases[i].c);
    int64_t count[4] = { 0 };
    for (uint32_t c = 0; c < 0x110000; c++) count[qp_class_of(c)]++;
    ck_assert_int_eq(count[QP_LETTER], 141028); /* as Unicode 16.0 has them */
    ck_assert_int_eq(count[QP_NUMBER], 1911);
    ck_assert_int_eq(count[QP_SPACE], 25);
}
END_TEST

START_TEST(valid_utf8_ends_at_the_first_bad_byte)
{
    static const struct {
        const char *s;
        size_t valid;
    } cases[] = {
        { "plain ascii, and long", 21 },
        { "0123456\xc3\xa9", 9 },
        { "01234567\xc3", 8 },
        { "\xc0\x80", 0 },
        { "a\xe0\x80\x80", 1 },
        { "\xed\x9f\xbf", 3 },
        { "\xed\xa0\x80", 0 },
        { "\xf4\x8f\xbf\xbf", 4 },
        { "\xf4\x90\x80\x80", 0 },
        { "\xf0\x8f\xbf\xbf", 0 },
        { "\xff", 0 },
        { "a\x80", 1 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ck_assert_uint_eq(qp_utf8_valid(cases[i].s, strlen(cases[i].s)), cases[i].valid);
}
END_TEST

Suite *suite_pretok(void)
{
    Suite *s = suite_create("pretok");
    TCase *t = tcase_create("pretok");
    tcase_add_test(t, gpt2_pattern);
    tcase_add_test(t, llama3_pattern);
    tcase_add_test(t, stages_split_what_the_one_before_left);
    tcase_add_test(t, mongolian_vowel_separator_is_no_space);
    tcase_add_test(t, written_out_patterns_equal_the_regular_expressions);
    tcase_add_test(t, character_classes);
    tcase_add_test(t, kept_matches_drop_the_rest);
    tcase_add_test(t, empty_matches_cut_and_end);
    tcase_add_test(t, long_runs_end);
    tcase_add_test(t, white_space_is_spelt_out_in_sets_too);
    tcase_add_test(t, a_bad_pattern_is_refused);
    tcase_add_test(t, valid_utf8_ends_at_the_first_bad_byte);
    suite_add_tcase(s, t);
    return s;
}
