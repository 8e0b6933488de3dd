#include "base/log.h"
#include "base/zio.h"
#include "data/chat.h"
#include "tests/data/golden.h"
#include "tests/suites.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const qp_tokenizer *t;
    const qp_chat *chat;
} env;

static void one_chat(void *arg, const qp_value *row, int64_t line)
{
    const env *e = arg;
    const qp_value *date = qp_json_get(row, "date_string"),
                   *mask_want = qp_json_get(row, "loss_mask");
    qp_message list[64];
    int64_t n = 0;
    for (const qp_value *m = qp_json_get(row, "messages")->child; m && n < 64; m = m->next) {
        const qp_value *content = qp_json_get(m, "content");
        list[n++] = (qp_message){ qp_json_get(m, "role")->str, content->str, content->str_len };
    }
    qp_chat_options o = { .date = date ? date->str : NULL,
                          .generation =
                              qp_json_get(row, "add_generation_prompt")->kind == QP_JSON_TRUE,
                          .train_on_eos = true };
    qp_err err = { 0 };
    qp_ids ids = { 0 };
    qp_buf mask = { 0 };
    ck_assert_msg(!qp_chat_render(e->chat, e->t, list, n, &o, &ids, &mask, &err), "%s", err.msg);
    ck_assert_msg(golden_same_ids(&ids, qp_json_get(row, "ids")), "ids of line %lld",
                  (long long)line);
    ck_assert_int_eq((int64_t)mask.len, mask_want->count);
    int64_t i = 0;
    for (const qp_value *v = mask_want->child; v; v = v->next, i++)
        ck_assert_msg(mask.data[i] == v->integer, "mask of line %lld, token %lld", (long long)line,
                      (long long)i);
    qp_ids_release(&ids);
    qp_buf_release(&mask);
}

static void golden(const char *tokenizer, const char *template, const char *file)
{
    char folder[200];
    snprintf(folder, sizeof folder, "golden/tokenizers/%s", tokenizer);
    if (!golden_path(folder) || !golden_path(file)) return;
    qp_err err = { 0 };
    qp_tokenizer *t = open_or_die(golden_path(folder));
    env e = { .t = t };
    ck_assert_msg(!qp_chat_find(&e.chat, template, t, &err), "%s", err.msg);
    ck_assert_int_gt(golden_rows(golden_path(file), one_chat, &e), 0);
    qp_tokenizer_free(t);
}

START_TEST(llama3_conversations_are_the_golden_ones)
{
    golden("llama3", "llama3", "golden/tokenizers/llama3/chat.jsonl");
    golden("llama3", "llama3.1-hf", "golden/tokenizers/templates/llama3.1-hf.jsonl");
    golden("llama3", "llama3.2-hf", "golden/tokenizers/templates/llama3.2-hf.jsonl");
}
END_TEST
START_TEST(chatml_conversations_are_the_golden_ones)
{
    golden("smollm2", "smollm2", "golden/tokenizers/smollm2/chat.jsonl");
    golden("smollm2", "chatml", "golden/tokenizers/templates/chatml.jsonl");
}
END_TEST

#define GPT2 "{\"type\": \"ByteLevel\", \"add_prefix_space\": false}"
#define IM                                                                                         \
    "{\"id\": 300, \"content\": \"<|im_start|>\", \"special\": true}, {\"id\": 301, \"content\": " \
    "\"<|im_end|>\", \"special\": true}"

/* ids, with a * after those that are learned */
static const char *shown(const qp_chat *chat, const qp_tokenizer *t, const qp_message *m, int64_t n,
                         qp_chat_options o)
{
    static char text[2000];
    qp_err err = { 0 };
    qp_ids ids = { 0 };
    qp_buf mask = { 0 }, b = { 0 };
    ck_assert_msg(!qp_chat_render(chat, t, m, n, &o, &ids, &mask, &err), "%s", err.msg);
    ck_assert_int_eq((int64_t)mask.len, ids.n);
    for (int64_t i = 0; i < ids.n; i++)
        qp_buf_printf(&b, "%s%d%s", i ? " " : "", ids.id[i], mask.data[i] ? "*" : "");
    strncpy(text, b.data, sizeof text - 1);
    qp_buf_release(&b);
    qp_buf_release(&mask);
    qp_ids_release(&ids);
    return text;
}

static const qp_message talk[] = { { "user", "a", 1 }, { "assistant", "<|im_end|>", 10 } };

START_TEST(special_text_in_content_stays_plain)
{
    qp_err err = { 0 };
    const qp_chat *chat;
    qp_tokenizer *t = open_or_die(scratch_tokenizer("\"a b\"", GPT2, IM, ""));
    ck_assert(!qp_chat_find(&chat, "auto", t, &err));
    ck_assert_str_eq(qp_chat_name(chat), "chatml");
    ck_assert_str_eq(shown(chat, t, &talk[1], 1, (qp_chat_options){ .train_on_eos = true }),
                     "300 97 115 115 105 115 116 97 110 116 10 60* 124* 105* 109* 95* 101* 110* "
                     "100* 124* 62* 301* 10");
    qp_tokenizer_free(t);
}
END_TEST

START_TEST(roles_and_the_turns_end_are_learned_as_told)
{
    qp_err err = { 0 };
    const qp_chat *chat;
    const char *user[] = { "user" };
    qp_tokenizer *t = open_or_die(scratch_tokenizer("\"a b\"", GPT2, IM, ""));
    ck_assert(!qp_chat_find(&chat, "chatml", t, &err));
    ck_assert_str_eq(
        shown(chat, t, talk, 1, (qp_chat_options){ .roles_to_train = user, .n_roles = 1 }),
        "300 117 115 101 114 10 97* 301 10");
    ck_assert_str_eq(
        shown(chat, t, talk, 1, (qp_chat_options){ .train_on_eos = true, .generation = true }),
        "300 117 115 101 114 10 97 301 10 300 97 115 115 105 115 116 97 110 116 10");
    qp_tokenizer_free(t);
}
END_TEST

static const char *detected(const char *jinja)
{
    qp_err err = { 0 };
    const qp_chat *chat;
    scratch_tokenizer("\"a b\"", GPT2,
                      IM ", {\"id\": 302, \"content\": \"<|start_header_id|>\"}, {\"id\": 303, "
                         "\"content\": \"<|end_header_id|>\"}, "
                         "{\"id\": 304, \"content\": \"<|eot_id|>\"}, {\"id\": 305, \"content\": "
                         "\"<|begin_of_text|>\"}",
                      "");
    scratch_file("chat_template.jinja", jinja, strlen(jinja));
    qp_tokenizer *t = open_or_die(scratch_path(""));
    ck_assert_msg(!qp_chat_find(&chat, "auto", t, &err), "%s", err.msg);
    qp_tokenizer_free(t);
    return qp_chat_name(chat);
}

START_TEST(the_tokenizers_own_template_is_recognised)
{
    qp_log_max = QP_LOG_QUIET; /* none of these is known word for word */
    ck_assert_str_eq(detected("<|im_start|>{{ role }}"), "chatml");
    ck_assert_str_eq(detected("<|im_start|> named SmolLM, trained by Hugging Face"), "smollm2");
    ck_assert_str_eq(detected("<|start_header_id|>"), "llama3");
    ck_assert_str_eq(detected("<|start_header_id|> content | trim"), "llama3-hf");
    ck_assert_str_eq(detected("<|start_header_id|> trim Cutting Knowledge Date"), "llama3.1-hf");
    ck_assert_str_eq(detected("strftime_now trim Cutting Knowledge Date <|start_header_id|>"),
                     "llama3.2-hf");
    ck_assert_str_eq(detected("[INST]"), "none");
    static const char *const golden_file[][2] = {
        { "templates/llama3.1-hf.jinja", "llama3.1-hf" },
        { "templates/llama3.2-hf.jinja", "llama3.2-hf" },
        { "templates/chatml.jinja", "chatml" },
        { "smollm2/chat_template.jinja", "smollm2" },
    };
    for (int i = 0; i < 4; i++) {
        char file[100];
        qp_err err = { 0 };
        qp_buf jinja = { 0 };
        snprintf(file, sizeof file, "golden/tokenizers/%s", golden_file[i][0]);
        if (!golden_path(file)) return;
        ck_assert(!qp_file_read(golden_path(file), &jinja, &err));
        ck_assert_str_eq(detected(jinja.data), golden_file[i][1]);
        qp_buf_release(&jinja);
    }
}
END_TEST

START_TEST(hf_templates_trim_and_show_the_date)
{
    qp_err err = { 0 };
    const qp_chat *chat;
    qp_buf text = { 0 };
    qp_ids ids = { 0 };
    qp_tokenizer *t =
        open_or_die(scratch_tokenizer("\"a b\"", GPT2,
                                      "{\"id\": 302, \"content\": \"<|start_header_id|>\"}, "
                                      "{\"id\": 303, \"content\": \"<|end_header_id|>\"}, "
                                      "{\"id\": 304, \"content\": \"<|eot_id|>\"}, {\"id\": 305, "
                                      "\"content\": \"<|begin_of_text|>\"}",
                                      ""));
    const qp_message m[] = { { "user", " \x1c a \xe3\x80\x80\n", 9 }, { "tool", "\"x\"", 3 } };
    ck_assert(!qp_chat_find(&chat, "llama3.1-hf", t, &err));
    ck_assert(!qp_chat_render(chat, t, m, 2, &(qp_chat_options){ .date = "1 Jan 2000" }, &ids, NULL,
                              &err));
    ck_assert(!qp_tokenizer_decode(t, ids.id, ids.n, false, &text, &err));
    ck_assert_str_eq(
        text.data,
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: "
        "December 2023\nToday Date: 1 Jan "
        "2000\n\n<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
        "a<|eot_id|><|start_header_id|>ipython<|end_header_id|>\n\n\"\\\"x\\\"\"<|eot_id|>");
    qp_buf_release(&text);
    qp_ids_release(&ids);
    qp_tokenizer_free(t);
}
END_TEST

START_TEST(wrong_names_are_refused)
{
    qp_err err = { 0 };
    const qp_chat *chat;
    qp_ids ids = { 0 };
    qp_tokenizer *t = open_or_die(scratch_tokenizer("\"a b\"", GPT2, IM, ""));
    ck_assert_int_eq(qp_chat_find(&chat, "chatlm", t, &err), QP_USAGE);
    ck_assert_ptr_nonnull(strstr(err.msg, "chatml"));
    ck_assert_int_eq(qp_chat_find(&chat, "llama3", t, &err), QP_USAGE);
    ck_assert_ptr_nonnull(strstr(err.msg, "<|begin_of_text|>"));
    ck_assert(!qp_chat_find(&chat, "chatml", t, &err));
    qp_chat_options o = { 0 };
    ck_assert_int_eq(
        qp_chat_render(chat, t, &(qp_message){ "asistant", "x", 1 }, 1, &o, &ids, NULL, &err),
        QP_BADFILE);
    ck_assert_ptr_nonnull(strstr(err.msg, "asistant"));
    ck_assert_int_eq(qp_chat_render(chat, t, talk, 0, &o, &ids, NULL, &err), QP_BADFILE);
    qp_ids_release(&ids);
    qp_tokenizer_free(t);
    t = open_or_die("bytes");
    ck_assert(!qp_chat_find(&chat, "auto", t, &err));
    ck_assert_str_eq(qp_chat_name(chat), "none");
    qp_tokenizer_free(t);
}
END_TEST

Suite *suite_chat(void)
{
    Suite *s = suite_create("chat");
    TCase *t = tcase_create("chat");
    tcase_add_checked_fixture(t, scratch_open, scratch_close);
    tcase_add_test(t, llama3_conversations_are_the_golden_ones);
    tcase_add_test(t, chatml_conversations_are_the_golden_ones);
    tcase_add_test(t, special_text_in_content_stays_plain);
    tcase_add_test(t, roles_and_the_turns_end_are_learned_as_told);
    tcase_add_test(t, the_tokenizers_own_template_is_recognised);
    tcase_add_test(t, hf_templates_trim_and_show_the_date);
    tcase_add_test(t, wrong_names_are_refused);
    suite_add_tcase(s, t);
    return s;
}
