#include "base/thread.h"
#include "base/zio.h"
#include "data/tokenizer.h"
#include "tests/data/golden.h"
#include "tests/suites.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GPT2 "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": true}"

static bool yes(const qp_value *v) { return v && v->kind == QP_JSON_TRUE; }

static qp_ids encode(const qp_tokenizer *t, const char *s, size_t len, unsigned flags)
{
    qp_err err = { 0 };
    qp_ids ids = { 0 };
    ck_assert_msg(!qp_tokenizer_encode(t, s, len, flags, &ids, &err), "%s", err.msg);
    return ids;
}

static qp_buf decode(const qp_tokenizer *t, qp_ids ids)
{
    qp_err err = { 0 };
    qp_buf text = { 0 };
    ck_assert_msg(!qp_tokenizer_decode(t, ids.id, ids.n, false, &text, &err), "%s", err.msg);
    return text;
}

/* ids as one text, so that a failure shows both */
static const char *shown(qp_ids ids)
{
    static char text[400];
    qp_buf b = { 0 };
    for (int64_t i = 0; i < ids.n; i++) qp_buf_printf(&b, "%s%d", i ? " " : "", ids.id[i]);
    strncpy(text, b.data ? b.data : "", sizeof text - 1);
    qp_buf_release(&b);
    qp_ids_release(&ids);
    return text;
}

/* ---- golden cases ---- */

static void one_case(void *arg, const qp_value *row, int64_t line)
{
    const qp_tokenizer *t = arg;
    const qp_value *text = qp_json_get(row, "text"), *back = qp_json_get(row, "decoded");
    unsigned flags = (yes(qp_json_get(row, "add_special")) ? QP_TOK_BOS : 0) |
                     (yes(qp_json_get(row, "parse_special")) ? QP_TOK_SPECIAL : 0);
    qp_ids ids = encode(t, text->str, text->str_len, flags),
           plain = encode(t, text->str, text->str_len, flags & ~1u);
    ck_assert_msg(golden_same_ids(&ids, qp_json_get(row, "ids")), "line %lld: %s", (long long)line,
                  text->str);
    qp_buf decoded = decode(t, plain);
    if (!back) back = text;
    ck_assert_uint_eq(decoded.len, back->str_len);
    ck_assert(!decoded.len || memcmp(decoded.data, back->str, decoded.len) == 0);
    qp_ids_release(&ids);
    qp_ids_release(&plain);
    qp_buf_release(&decoded);
}

static void golden(const char *tokenizer, const char *cases)
{
    if (!golden_path(tokenizer) || !golden_path(cases)) return;
    qp_tokenizer *t = open_or_die(golden_path(tokenizer));
    ck_assert_int_gt(golden_rows(golden_path(cases), one_case, t), 0);
    qp_tokenizer_free(t);
}

START_TEST(llama3_ids_are_the_golden_ones)
{
    golden("golden/tokenizers/llama3/tokenizer.json", "golden/tokenizers/llama3/cases.jsonl");
}
END_TEST
START_TEST(smollm2_ids_are_the_golden_ones)
{
    golden("golden/tokenizers/smollm2", "golden/tokenizers/smollm2/cases.jsonl");
}
END_TEST
START_TEST(trained_bpe_ids_are_the_golden_ones)
{
    golden("golden/tokenizers/bpe/tinyshakespeare.tokenizer.json",
           "golden/tokenizers/bpe/tinyshakespeare.cases.jsonl");
}
END_TEST

/* ---- small ones ---- */

START_TEST(bytes_are_their_own_ids)
{
    qp_tokenizer *t = open_or_die("bytes");
    ck_assert_str_eq(shown(encode(t, "a\0\xff", 3, QP_TOK_BOS | QP_TOK_SPECIAL)), "97 0 255");
    ck_assert_int_eq(qp_tokenizer_vocab(t), 256);
    ck_assert_int_eq(qp_tokenizer_bos(t), -1);
    ck_assert_str_eq(qp_tokenizer_kind(t), "bytes");
    qp_tokenizer_free(t);
}
END_TEST

START_TEST(lowest_rank_is_merged_first_then_leftmost)
{
    qp_tokenizer *t =
        open_or_die(scratch_tokenizer("\"b c\", \"a b\", \"bc d\", \"a a\"", GPT2, "", ""));
    ck_assert_str_eq(shown(encode(t, "abc", 3, 0)), "97 256");
    ck_assert_str_eq(shown(encode(t, "abcd", 4, 0)), "97 258");
    ck_assert_str_eq(shown(encode(t, "aaa", 3, 0)), "259 97");
    ck_assert_str_eq(shown(encode(t, "ab abd", 6, 0)), "257 32 257 100");
    qp_tokenizer_free(t);
}
END_TEST

START_TEST(a_whole_word_is_its_token_when_merges_are_ignored)
{
    const char *merges = "\"a b\", \"b c\", \"a bc\"";
    qp_tokenizer *merging = open_or_die(scratch_tokenizer(merges, GPT2, "", ""));
    ck_assert_str_eq(shown(encode(merging, "abc", 3, 0)), "256 99");
    qp_tokenizer_free(merging);
    qp_tokenizer *t = open_or_die(scratch_tokenizer(merges, GPT2, "", "\"ignore_merges\": true,"));
    ck_assert_str_eq(shown(encode(t, "abc abc", 7, 0)), "258 32 256 99");
    qp_tokenizer_free(t);
}
END_TEST

START_TEST(special_text_counts_only_when_asked)
{
    qp_tokenizer *t = open_or_die(scratch_tokenizer(
        "\"a b\"", GPT2,
        "{\"id\": 300, \"content\": \"<s>\", \"special\": true},"
        "{\"id\": 301, \"content\": \"<s>>\", \"special\": true, \"rstrip\": true, \"lstrip\": "
        "true},"
        "{\"id\": 302, \"content\": \"ab\", \"special\": false, \"normalized\": true}",
        ""));
    ck_assert_str_eq(shown(encode(t, "<s>", 3, 0)), "60 115 62");
    ck_assert_str_eq(shown(encode(t, "<s><s>>", 7, QP_TOK_SPECIAL)), "300 301");
    ck_assert_str_eq(shown(encode(t, "x \n<s>>\xc2\xa0x", 10, QP_TOK_SPECIAL)), "120 301 120");
    ck_assert_str_eq(shown(encode(t, "xabx", 4, 0)), "120 302 120");
    ck_assert_int_eq(qp_tokenizer_id(t, "<s>>"), 301);
    ck_assert_int_eq(qp_tokenizer_id(t, "<t>"), -1);
    qp_tokenizer_free(t);
}
END_TEST

START_TEST(offsets_name_the_first_byte_of_each_token)
{
    qp_err err = { 0 };
    qp_tokenizer *t = open_or_die(scratch_tokenizer(
        "\"a b\", \"Ġ ab\"", GPT2, "{\"id\": 300, \"content\": \"<s>\", \"special\": true}", ""));
    qp_ids ids = { 0 }, at = { 0 };
    const char *text = "ab abc<s> abc ab\xff"
                       "ab";
    qp_ids_add(&at, 7); /* offsets are appended, whatever stands there */
    ck_assert(!qp_tokenizer_encode_at(t, text, strlen(text), QP_TOK_SPECIAL, &ids, &at, &err));
    ck_assert_str_eq(shown(ids), "256 257 99 300 257 99 257 255 256");
    ck_assert_str_eq(shown(at), "7 0 2 5 6 9 12 13 16 17");
    qp_tokenizer_free(t);
}
END_TEST

START_TEST(a_prefix_space_has_no_offset_of_its_own)
{
    qp_err err = { 0 };
    qp_tokenizer *t = open_or_die(scratch_tokenizer(
        "\"a b\", \"Ġ ab\"", "{\"type\": \"ByteLevel\", \"add_prefix_space\": true}",
        "{\"id\": 300, \"content\": \"<s>\", \"special\": true}", ""));
    qp_ids ids = { 0 }, at = { 0 };
    const char *text = "ab ab<s>xab";
    ck_assert(!qp_tokenizer_encode_at(t, text, strlen(text), QP_TOK_SPECIAL, &ids, &at, &err));
    ck_assert_str_eq(shown(ids), "257 257 300 32 120 256");
    ck_assert_str_eq(shown(at), "0 2 5 8 8 9");
    qp_tokenizer_free(t);
}
END_TEST

START_TEST(a_split_may_be_a_plain_string)
{
    qp_tokenizer *t = open_or_die(scratch_tokenizer(
        "\"a b\", \"[ ]\"",
        "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": "
        "{\"String\": \"a[\"}, "
        "\"behavior\": \"Isolated\"}, {\"type\": \"ByteLevel\", \"use_regex\": false}]}",
        "", ""));
    ck_assert_str_eq(shown(encode(t, "a[][]ab", 7, 0)), "97 91 93 257 256");
    qp_tokenizer_free(t);
}
END_TEST

START_TEST(invalid_utf8_is_cut_into_bytes)
{
    qp_tokenizer *t = open_or_die(scratch_tokenizer("\"a b\", \"Ã ©\"", GPT2, "", ""));
    ck_assert_str_eq(shown(encode(t, "ab\xc3\xa9", 4, 0)), "256 257");
    ck_assert_str_eq(shown(encode(t, "ab\xc3", 3, 0)), "256 195");
    ck_assert_str_eq(shown(encode(t,
                                  "\xed\xa0\x80"
                                  "ab\xf4\x90\x80\x80",
                                  9, 0)),
                     "237 160 128 256 244 144 128 128");
    qp_tokenizer_free(t);
}
END_TEST

static void random_bytes_come_back(qp_tokenizer *t)
{
    static const char some[] = "ab \n'sA1<|>\xc3\xa9\xe2\x80\x83";
    uint32_t state = 12345;
    for (int round = 0; round < 200; round++) {
        char text[300];
        size_t len = (size_t)round + 3;
        for (size_t i = 0; i < len; i++) {
            state = state * 1664525 + 1013904223;
            text[i] = round % 2 ? (char)(state >> 24) : some[(state >> 20) % (sizeof some - 1)];
        }
        qp_ids ids = encode(t, text, len, 0);
        qp_buf back = decode(t, ids);
        ck_assert_uint_eq(back.len, len);
        ck_assert(memcmp(back.data, text, len) == 0);
        qp_ids_release(&ids);
        qp_buf_release(&back);
    }
    qp_tokenizer_free(t);
}

START_TEST(random_bytes_come_back_from_bytes) { random_bytes_come_back(open_or_die("bytes")); }
END_TEST
START_TEST(random_bytes_come_back_from_bpe)
{
    random_bytes_come_back(
        open_or_die(scratch_tokenizer("\"a b\", \"Ġ ab\", \"Ċ Ċ\"", GPT2, "", "")));
}
END_TEST
START_TEST(random_bytes_come_back_from_llama3)
{
    const char *path = golden_path("golden/tokenizers/llama3");
    if (path) random_bytes_come_back(open_or_die(path));
}
END_TEST

START_TEST(a_megabyte_of_one_letter_takes_no_quadratic_time)
{
    qp_tokenizer *t =
        open_or_die(scratch_tokenizer("\"a a\", \"aa aa\", \"aaaa aaaa\"", GPT2, "", ""));
    size_t len = 1 << 20;
    char *text = malloc(len);
    memset(text, 'a', len);
    qp_ids ids = encode(t, text, len, 0);
    ck_assert_int_eq(ids.n, (int64_t)len / 8);
    ck_assert_int_eq(ids.id[ids.n - 1], 258);
    qp_ids_release(&ids);
    free(text);
    qp_tokenizer_free(t);
}
END_TEST

static void encode_slot(void *arg, int64_t i)
{
    const qp_tokenizer *t = arg;
    static const char text[] = "abab ab 12 \n\nab'll \xff ab ab ba!";
    char *copy = malloc(sizeof text * 50);
    for (int k = 0; k < 50; k++) memcpy(copy + (size_t)k * (sizeof text - 1), text, sizeof text);
    qp_ids one = encode(t, text, sizeof text - 1, 0),
           all = encode(t, copy, 50 * (sizeof text - 1), 0);
    qp_buf back = decode(t, all);
    ck_assert_int_eq(all.n, 50 * one.n);
    ck_assert(memcmp(back.data, copy, back.len) == 0 && i >= 0);
    qp_buf_release(&back);
    qp_ids_release(&one);
    qp_ids_release(&all);
    free(copy);
}

START_TEST(one_tokenizer_serves_many_threads)
{
    qp_tokenizer *t =
        open_or_die(scratch_tokenizer("\"a b\", \"ab ab\", \"Ġ ab\"",
                                      "{\"type\": \"Sequence\", \"pretokenizers\": ["
                                      "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"[0-9]\"}, "
                                      "\"behavior\": \"Isolated\"}, " GPT2 "]}",
                                      "", ""));
    qp_parallel_for(4, 64, encode_slot, t);
    qp_tokenizer_free(t);
}
END_TEST

START_TEST(an_unknown_id_is_refused_by_its_number)
{
    qp_err err = { 0 };
    qp_buf text = { 0 };
    qp_tokenizer *t = open_or_die("bytes");
    ck_assert_int_eq(qp_tokenizer_decode(t, (int32_t[]){ 65, 256 }, 2, false, &text, &err),
                     QP_BADFILE);
    ck_assert_ptr_nonnull(strstr(err.msg, "256"));
    ck_assert_int_eq(qp_tokenizer_decode(t, (int32_t[]){ -1 }, 1, false, &text, &err), QP_BADFILE);
    qp_buf_release(&text);
    qp_tokenizer_free(t);
}
END_TEST

/* ---- refusals ---- */

static void refused(const char *path, const char *word)
{
    qp_err err = { 0 };
    qp_tokenizer *t;
    ck_assert_msg(qp_tokenizer_open(&t, path, &err) == QP_BADFILE, "%s was taken, or: %s", path,
                  err.msg);
    ck_assert_ptr_null(t);
    ck_assert_msg(strstr(err.msg, word) && strstr(err.msg, path), "'%s' does not say %s", err.msg,
                  word);
    ck_assert_msg(!strchr(err.msg, '\n'), "more than a line: %s", err.msg);
}

START_TEST(what_would_change_ids_is_refused_by_name)
{
    static const struct {
        const char *merges, *pre, *added, *model, *word;
    } bad[] = {
        { "\"a b\"", "{\"type\": \"Metaspace\"}", "", "", "Metaspace" },
        { "\"a b\"", "{\"type\": \"Digits\", \"individual_digits\": true}", "", "", "ByteLevel" },
        { "\"a b\"", "null", "", "", "pre_tokenizer" },
        { "\"a b\"", GPT2 ", \"normalizer\": {\"type\": \"NFC\"}", "", "", "NFC" },
        { "\"a b\"", GPT2 ", \"decoder\": {\"type\": \"WordPiece\"}", "", "", "WordPiece" },
        { "\"a b\"", GPT2 ", \"post_processor\": {\"type\": \"BertProcessing\"}", "", "",
          "BertProcessing" },
        { "\"a b\"",
          GPT2 ", \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": "
               "[{\"SpecialToken\": {\"id\": \"<s>\"}}], \"special_tokens\": {\"<s>\": {\"ids\": "
               "[70000]}}}",
          "", "", "70000" },
        { "\"a b\"", GPT2, "", "\"byte_fallback\": true,", "byte_fallback" },
        { "\"a b\"", GPT2, "", "\"dropout\": 0.1,", "dropout" },
        { "\"a b\"", GPT2, "{\"id\": 97, \"content\": \"<x>\"}", "", "<x>" },
        { "\"a b\"", GPT2, "{\"id\": -1, \"content\": \"<x>\"}", "", "added_tokens" },
        { "\"a b\"", GPT2, "{\"id\": 300, \"content\": \"<x>\", \"single_word\": true}", "",
          "single_word" },
        { "\"a b\"",
          "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"(\"}, \"behavior\": \"Isolated\"}", "",
          "", "(" },
        { "\"a b\"",
          "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"a\"}, \"behavior\": "
          "\"MergedWithNext\"}",
          "", "", "MergedWithNext" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refused(scratch_tokenizer(bad[i].merges, bad[i].pre, bad[i].added, bad[i].model),
                bad[i].word);
}
END_TEST

START_TEST(broken_files_are_refused_in_a_line)
{
    static const struct {
        const char *text, *word;
    } bad[] = {
        { "", "" },
        { "[]", "object" },
        { "{\"model\": {\"type\": \"WordPiece\"}}", "WordPiece" },
        { "{\"model\": {\"type\": \"BPE\", \"vocab\": {}}}", "merges" },
        { "{\"model\": {\"vocab\": {\"a\": 0, \"a\": 1}, \"merges\": []}}", "twice" },
        { "{\"model\": {\"vocab\": {\"a\": 0, \"b\": 0}, \"merges\": []}}", "twice" },
        { "{\"model\": {\"vocab\": {\"a\": 2147483647}, \"merges\": []}}", "2147483647" },
        { "{\"model\": {\"merges\": [\"a b\"], \"vocab\": {\"a\": 0, \"b\": 1}}}", "'ab'" },
        { "{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": [\"a\"]}}", "merges" },
        { "{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": [[\"a\"]]}}", "merges" },
        { "{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": [\"a \"]}}", "empty" },
        { "{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": [[\"\", \"a\"]]}}", "empty" },
        { "{\"model\": {\"vocab\": {\"a\\nb\": -7}, \"merges\": []}}", "a?b" },
        { "{\"model\": {\"vocab\": {\"a\": 0}, \"vocab\": {\"b\": 1}, \"merges\": []}}",
          "model.vocab stands there twice" },
        { "{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": [], \"merges\": []}}",
          "model.merges stands there twice" },
        { "{\"model\": {\"merges\": [], \"vocab\": {\"a\": 0}, \"merges\": []}}",
          "model.merges stands there twice" },
        { "{\"model\": {\"unk_token\": \"a\", \"unk_token\": \"b\"}}", "model.vocab is missing" },
        { "{\"version\": 1}", "model" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refused(scratch_file("tokenizer.json", bad[i].text, strlen(bad[i].text)), bad[i].word);
}
END_TEST

Suite *suite_tokenizer(void)
{
    Suite *s = suite_create("tokenizer");
    TCase *t = tcase_create("tokenizer");
    tcase_add_checked_fixture(t, scratch_open, scratch_close);
    tcase_add_test(t, llama3_ids_are_the_golden_ones);
    tcase_add_test(t, smollm2_ids_are_the_golden_ones);
    tcase_add_test(t, trained_bpe_ids_are_the_golden_ones);
    tcase_add_test(t, bytes_are_their_own_ids);
    tcase_add_test(t, lowest_rank_is_merged_first_then_leftmost);
    tcase_add_test(t, a_whole_word_is_its_token_when_merges_are_ignored);
    tcase_add_test(t, special_text_counts_only_when_asked);
    tcase_add_test(t, offsets_name_the_first_byte_of_each_token);
    tcase_add_test(t, a_prefix_space_has_no_offset_of_its_own);
    tcase_add_test(t, a_split_may_be_a_plain_string);
    tcase_add_test(t, invalid_utf8_is_cut_into_bytes);
    tcase_add_test(t, random_bytes_come_back_from_bytes);
    tcase_add_test(t, random_bytes_come_back_from_bpe);
    tcase_add_test(t, random_bytes_come_back_from_llama3);
    tcase_add_test(t, a_megabyte_of_one_letter_takes_no_quadratic_time);
    tcase_add_test(t, one_tokenizer_serves_many_threads);
    tcase_add_test(t, an_unknown_id_is_refused_by_its_number);
    tcase_add_test(t, what_would_change_ids_is_refused_by_name);
    tcase_add_test(t, broken_files_are_refused_in_a_line);
    suite_add_tcase(s, t);
    return s;
}
