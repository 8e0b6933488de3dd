/* Where a tokenizer comes from and what it leaves: GGUF, Meta's file, the files beside a
 * tokenizer.json, saving. */
#include "base/zio.h"
#include "tests/base/files.h"
#include "tests/data/golden.h"
#include "tests/suites.h"

#define GPT2 "{\"type\": \"ByteLevel\", \"add_prefix_space\": false}"

static const char *ids_of(const qp_tokenizer *t, const char *s, unsigned flags)
{
    static char text[400];
    qp_err err = { 0 };
    qp_ids ids = { 0 };
    size_t at = 0;
    ck_assert_msg(!qp_tokenizer_encode(t, s, strlen(s), flags, &ids, &err), "%s", err.msg);
    text[0] = '\0';
    for (int64_t i = 0; i < ids.n && at < 300; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%d", i ? " " : "", ids.id[i]);
    qp_ids_release(&ids);
    return text;
}

static void same_hash(const char *a, const char *b)
{
    char x[65], y[65];
    qp_tokenizer *t = open_or_die(a);
    qp_tokenizer_hash(t, x);
    qp_tokenizer_free(t);
    t = open_or_die(b);
    qp_tokenizer_hash(t, y);
    qp_tokenizer_free(t);
    ck_assert_str_eq(x, y);
}

static qp_status refusal(const char *path, qp_err *err)
{
    qp_tokenizer *t;
    *err = (qp_err){ 0 };
    qp_status rc = qp_tokenizer_open(&t, path, err);
    qp_tokenizer_free(t);
    return rc;
}

static void refused(const char *path, const char *word)
{
    qp_err err;
    ck_assert_msg(refusal(path, &err) == QP_BADFILE, "%s was taken, or: %s", path, err.msg);
    ck_assert_msg(strstr(err.msg, word), "'%s' does not say %s", err.msg, word);
}

/* ---- GGUF ---- */

static void u32(qp_buf *b, uint32_t v) { qp_buf_add(b, &v, sizeof v); }
static void u64(qp_buf *b, uint64_t v) { qp_buf_add(b, &v, sizeof v); }
static void text(qp_buf *b, const char *s)
{
    u64(b, strlen(s));
    qp_buf_str(b, s);
}
enum { I32 = 5, BOOL = 7, STRING = 8, ARRAY = 9 };
static void key(qp_buf *b, const char *name, uint32_t type)
{
    text(b, name);
    u32(b, type);
}
static void array(qp_buf *b, const char *name, uint32_t type, uint64_t count)
{
    key(b, name, ARRAY);
    u32(b, type);
    u64(b, count);
}

/* a, b, Ġ, ab, Ġab, <s> (control), <u> (user-defined), <n> (unused) */
static const char *small_gguf(const char *model, const char *pre, const char *merge)
{
    static const char *const token[] = { "a", "b", "Ġ", "ab", "Ġab", "<s>", "<u>", "<n>" };
    static const uint32_t type[] = { 1, 1, 1, 1, 1, 3, 4, 5 };
    qp_buf b = { 0 };
    qp_buf_str(&b, "GGUF");
    u32(&b, 3);
    u64(&b, 0);
    u64(&b, 8);
    key(&b, "tokenizer.ggml.model", STRING);
    text(&b, model);
    key(&b, "tokenizer.ggml.pre", STRING);
    text(&b, pre);
    array(&b, "tokenizer.ggml.tokens", STRING, 8);
    for (int i = 0; i < 8; i++) text(&b, token[i]);
    array(&b, "tokenizer.ggml.token_type", I32, 8);
    for (int i = 0; i < 8; i++) u32(&b, type[i]);
    array(&b, "tokenizer.ggml.merges", STRING, 2);
    text(&b, "a b");
    text(&b, merge);
    key(&b, "tokenizer.ggml.bos_token_id", I32);
    u32(&b, 5);
    key(&b, "tokenizer.ggml.add_bos_token", BOOL);
    qp_buf_char(&b, 1);
    key(&b, "tokenizer.chat_template", STRING);
    text(&b, "<|im_start|>");
    while (b.len % 32) qp_buf_char(&b, 0);
    const char *path = scratch_file("t.gguf", b.data, b.len);
    qp_buf_release(&b);
    return path;
}

START_TEST(gguf_token_types_say_what_counts)
{
    qp_tokenizer *t = open_or_die(small_gguf("gpt2", "gpt-2", "Ġ ab"));
    ck_assert_str_eq(ids_of(t, "ab ab<s>", QP_TOK_BOS | QP_TOK_SPECIAL), "5 3 4 5");
    ck_assert_str_eq(ids_of(t, "a<s>", 0), "0");         /* <, s and > have no token here */
    ck_assert_str_eq(ids_of(t, "a<u>b<n>", 0), "0 6 1"); /* unused ones never count */
    ck_assert_int_eq(qp_tokenizer_bos(t), 5);
    ck_assert_str_eq(qp_tokenizer_template(t), "<|im_start|>");
    qp_tokenizer_free(t);
}
END_TEST

START_TEST(gguf_of_another_kind_is_refused_by_name)
{
    refused(small_gguf("llama", "gpt-2", "Ġ ab"), "tokenizer.ggml.model llama");
    refused(small_gguf("gpt2", "tekken", "Ġ ab"), "tokenizer.ggml.pre tekken");
    refused(small_gguf("gpt2", "gpt-2", "Ġ ba"), "'ba'");
    refused(small_gguf("gpt2", "gpt-2", "ab"), "ab");
}
END_TEST

START_TEST(gguf_token_types_that_are_no_whole_numbers_are_refused)
{
    static const char name[] = "tokenizer.ggml.token_type";
    const char *path = small_gguf("gpt2", "gpt-2", "Ġ ab");
    qp_buf b = { 0 };
    qp_err err = { 0 };
    ck_assert_msg(!qp_file_read(path, &b, &err), "%s", err.msg);
    char *at = memmem(b.data, b.len, name, sizeof name - 1);
    const uint32_t f32 = 6;
    memcpy(at + sizeof name - 1 + sizeof(uint32_t), &f32, sizeof f32);
    refused(scratch_file("t.gguf", b.data, b.len), name);
    qp_buf_release(&b);
}
END_TEST

START_TEST(saved_gguf_reads_the_same)
{
    static const char *const pres[] = { "gpt-2", "llama-bpe", "smollm", "default", "qwen2" };
    char from[1000];
    for (int i = 0; i < 5; i++) {
        qp_err err = { 0 };
        snprintf(from, sizeof from, "%s", small_gguf("gpt2", pres[i], "Ġ ab"));
        qp_tokenizer *t = open_or_die(from);
        ck_assert_msg(!qp_tokenizer_save(t, scratch_path(""), &err), "%s", err.msg);
        qp_tokenizer *again = open_or_die(scratch_path(""));
        ck_assert_str_eq(qp_tokenizer_template(again), "<|im_start|>");
        qp_tokenizer_free(again);
        qp_tokenizer_free(t);
        same_hash(from, scratch_path("tokenizer.json"));
    }
}
END_TEST

static void one_case(void *arg, const qp_value *row, int64_t line)
{
    qp_err err = { 0 };
    qp_ids ids = { 0 };
    const qp_value *s = qp_json_get(row, "text");
    unsigned flags = qp_json_get(row, "parse_special")->kind == QP_JSON_TRUE
                         ? QP_TOK_BOS | QP_TOK_SPECIAL
                         : QP_TOK_BOS;
    if (qp_json_get(row, "add_special")->kind != QP_JSON_TRUE) flags &= ~(unsigned)QP_TOK_BOS;
    ck_assert(!qp_tokenizer_encode(arg, s->str, s->str_len, flags, &ids, &err));
    ck_assert_msg(golden_same_ids(&ids, qp_json_get(row, "ids")), "line %lld", (long long)line);
    qp_ids_release(&ids);
}

static void check_cases(const char *path, const char *cases)
{
    qp_tokenizer *t = open_or_die(path);
    char *file = test_shared(cases);
    if (file) ck_assert_int_gt(golden_rows(file, one_case, t), 0);
    free(file);
    qp_tokenizer_free(t);
}

START_TEST(smollm2_gguf_is_its_tokenizer_json)
{
    char *gguf = test_shared("models/SmolLM2-135M-Instruct.Q4_1.gguf"),
         *hf = test_shared("golden/tokenizers/smollm2");
    qp_err err = { 0 };
    if (gguf) {
        check_cases(gguf, "golden/tokenizers/smollm2/cases.jsonl");
        qp_tokenizer *t = open_or_die(gguf);
        ck_assert_msg(!qp_tokenizer_save(t, scratch_path(""), &err), "%s", err.msg);
        qp_tokenizer_free(t);
        check_cases(scratch_path(""), "golden/tokenizers/smollm2/cases.jsonl");
    }
    if (gguf && hf) same_hash(gguf, hf);
    free(gguf);
    free(hf);
}
END_TEST

/* ---- Meta's file ---- */

START_TEST(llama3_model_file_is_its_tokenizer_json)
{
    char *model = test_shared("golden/tokenizers/llama3/tokenizer.model"),
         *json = test_shared("golden/tokenizers/llama3");
    if (model) check_cases(model, "golden/tokenizers/llama3/cases.jsonl");
    if (model && json) same_hash(model, json);
    free(model);
    free(json);
}
END_TEST

START_TEST(a_model_file_is_read_line_by_line)
{
    static const char good[] = "YQ== 0\nYg== 1\n\nYWI= 2\r\nYmFi 3";
    qp_tokenizer *t = open_or_die(scratch_file("tokenizer.model", good, strlen(good)));
    ck_assert_str_eq(ids_of(t, "abab<|eot_id|>", QP_TOK_BOS | QP_TOK_SPECIAL), "4 2 2 13");
    ck_assert_str_eq(ids_of(t, "aba", 0), "2 0");
    ck_assert_str_eq(ids_of(t, "bab", 0), "3");
    ck_assert_int_eq(qp_tokenizer_vocab(t), 260);
    qp_tokenizer_free(t);
    qp_tokenizer_free(open_or_die(scratch_path(""))); /* the folder stands for it */
    static const char *const bad[][2] = {
        { "YQ== 0\nYQ== 1\n", "line 2" },   { "YQ== 0\nYg== 0\n", "line 2" },
        { "YQ== -1\n", "line 1" },          { "YQ==\n", "line 1" },
        { "YQ== 99999999999\n", "line 1" }, { "Y=Q= 1\n", "line 1" },
        { "\n\x0e\n", "SentencePiece" },    { "", "no tokens" }
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refused(scratch_file("tokenizer.model", bad[i][0], strlen(bad[i][0])), bad[i][1]);
}
END_TEST

static const test_bad shared[] = {
    { "tokenizer/ok_small.json", NULL },
    { "tokenizer/merge_empty_piece.json", "a merge with an empty piece" },
    { "tokenizer/merge_out_of_vocab.json", "'hex' is not in the vocabulary" },
    { "tokenizer/no_vocab.json", "model.vocab is missing" },
    { "tokenizer/bad_base64.model", "line 3" },
    { "tokenizer/rank_not_a_number.model", "line 2" },
};

START_TEST(shared_bad_tokenizers_are_refused_by_name_and_cause)
{
    test_bad_files("tokenizer", shared, (int)(sizeof shared / sizeof *shared), refusal);
}
END_TEST

/* ---- beside a tokenizer.json ---- */

static void put(const char *name, const char *s) { scratch_file(name, s, strlen(s)); }

#define BOS                                                                                        \
    "{\"id\": 300, \"content\": \"<s>\", \"special\": true}, {\"id\": 301, \"content\": "          \
    "\"</s>\", \"special\": true}"

START_TEST(the_configuration_names_tokens_and_template)
{
    const char *path = scratch_tokenizer("\"a b\"", GPT2, BOS, "");
    qp_tokenizer *t = open_or_die(path);
    ck_assert_int_eq(qp_tokenizer_bos(t), -1);
    ck_assert_int_eq(qp_tokenizer_eos(t), 301); /* by its usual name */
    ck_assert_ptr_null(qp_tokenizer_template(t));
    qp_tokenizer_free(t);
    put("special_tokens_map.json", "{\"bos_token\": {\"content\": \"<s>\"}, \"eos_token\": \"a\"}");
    put("tokenizer_config.json", "{\"eos_token\": \"b\", \"add_bos_token\": true,"
                                 " \"chat_template\": [{\"name\": \"tool_use\", \"template\": "
                                 "\"x\"}, {\"name\": \"default\", \"template\": \"y\"}]}");
    t = open_or_die(scratch_path(""));
    ck_assert_int_eq(qp_tokenizer_bos(t), 300);
    ck_assert_int_eq(qp_tokenizer_eos(t), 98);
    ck_assert_str_eq(qp_tokenizer_template(t), "y");
    ck_assert_str_eq(ids_of(t, "ab", QP_TOK_BOS), "300 256");
    qp_tokenizer_free(t);
    put("chat_template.jinja", "z");
    put("tokenizer_config.json", "{\"add_bos_token\": false, \"chat_template\": \"y\"}");
    t = open_or_die(scratch_path("tokenizer.json"));
    ck_assert_int_eq(qp_tokenizer_bos(t), -1);
    ck_assert_int_eq(qp_tokenizer_eos(t), 97);
    ck_assert_str_eq(qp_tokenizer_template(t), "z");
    qp_tokenizer_free(t);
    put("tokenizer_config.json", "{\"add_eos_token\": true}");
    refused(scratch_path(""), "add_eos_token");
    put("tokenizer_config.json", "{");
    refused(scratch_path(""), "tokenizer_config.json");
}
END_TEST

START_TEST(a_tokenizer_from_a_folder_is_saved_by_copying)
{
    qp_err err = { 0 };
    qp_buf a = { 0 }, b = { 0 };
    char out[1000];
    scratch_tokenizer("\"a b\"", GPT2, BOS, "");
    put("tokenizer_config.json", "{ \"eos_token\": \"b\",   \"odd\": 1}");
    put("chat_template.jinja", "z");
    qp_tokenizer *t = open_or_die(scratch_path("tokenizer.json"));
    snprintf(out, sizeof out, "%s", scratch_path("out"));
    ck_assert(!qp_mkdirs(out, &err));
    ck_assert_msg(!qp_tokenizer_save(t, out, &err), "%s", err.msg);
    ck_assert(!qp_file_read(scratch_path("out/tokenizer_config.json"), &a, &err));
    ck_assert_str_eq(a.data, "{ \"eos_token\": \"b\",   \"odd\": 1}");
    ck_assert(qp_path_exists(scratch_path("out/chat_template.jinja")));
    ck_assert(!qp_path_exists(scratch_path("out/special_tokens_map.json")));
    qp_buf_clear(&a);
    ck_assert(!qp_file_read(scratch_path("tokenizer.json"), &a, &err));
    ck_assert(!qp_file_read(scratch_path("out/tokenizer.json"), &b, &err));
    ck_assert_uint_eq(a.len, b.len);
    ck_assert(memcmp(a.data, b.data, a.len) == 0);
    ck_assert_msg(!qp_tokenizer_save(t, scratch_path(""), &err), "onto itself: %s", err.msg);
    qp_buf_release(&a);
    qp_buf_release(&b);
    qp_tokenizer_free(t);
}
END_TEST

START_TEST(bytes_leave_no_files)
{
    qp_err err = { 0 };
    qp_tokenizer *t = open_or_die("bytes");
    ck_assert(!qp_tokenizer_save(t, scratch_path(""), &err));
    ck_assert(!qp_path_exists(scratch_path("tokenizer.json")));
    qp_tokenizer_free(t);
}
END_TEST

START_TEST(a_path_to_nothing_is_a_usage_error)
{
    qp_err err;
    ck_assert_int_eq(refusal(scratch_path("absent.json"), &err), QP_USAGE);
    ck_assert_int_eq(refusal(scratch_path(""), &err), QP_USAGE);
    put("x.txt", "");
    ck_assert_int_eq(refusal(scratch_path("x.txt"), &err), QP_USAGE);
}
END_TEST

Suite *suite_tokenizer_files(void)
{
    Suite *s = suite_create("tokenizer_files");
    TCase *t = tcase_create("tokenizer_files");
    tcase_add_checked_fixture(t, scratch_open, scratch_close);
    tcase_add_test(t, gguf_token_types_say_what_counts);
    tcase_add_test(t, gguf_of_another_kind_is_refused_by_name);
    tcase_add_test(t, gguf_token_types_that_are_no_whole_numbers_are_refused);
    tcase_add_test(t, saved_gguf_reads_the_same);
    tcase_add_test(t, smollm2_gguf_is_its_tokenizer_json);
    tcase_add_test(t, llama3_model_file_is_its_tokenizer_json);
    tcase_add_test(t, a_model_file_is_read_line_by_line);
    tcase_add_test(t, shared_bad_tokenizers_are_refused_by_name_and_cause);
    tcase_add_test(t, the_configuration_names_tokens_and_template);
    tcase_add_test(t, a_tokenizer_from_a_folder_is_saved_by_copying);
    tcase_add_test(t, bytes_leave_no_files);
    tcase_add_test(t, a_path_to_nothing_is_a_usage_error);
    suite_add_tcase(s, t);
    return s;
}
