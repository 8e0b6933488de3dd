/* tokenizers/: ids of texts, decoded texts, conversations with their masks. */
#include "data/chat.h"
#include "tests/parity/models.h"
#include "tests/parity/parity.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Calls fn for the JSON of every line of a .jsonl file. */
static void each_line(parity *p, const char *relative,
                      void (*fn)(parity *p, const qp_value *v, const char *where, void *arg),
                      void *arg)
{
    qp_buf text = { 0 };
    qp_err err = { 0 };
    char *path = parity_path(p, "%s", relative);
    int64_t line = 0;
    if (parity_ok(p, qp_file_read(path, &text, &err), &err))
        for (char *at = text.data, *end = text.data + text.len; at < end;) {
            char *stop = memchr(at, '\n', (size_t)(end - at)), where[340];
            if (!stop) stop = end;
            qp_value *v = NULL;
            snprintf(where, sizeof where, "%s:%lld", relative, (long long)++line);
            if (stop > at && parity_ok(p, qp_json_parse(&v, at, (size_t)(stop - at), &err), &err))
                fn(p, v, where, arg);
            qp_json_free(v);
            at = stop + 1;
        }
    free(path);
    qp_buf_release(&text);
}

static bool yes(const qp_value *v) { return v && v->kind == QP_JSON_TRUE; }

static void text_case(parity *p, const qp_value *v, const char *where, void *arg)
{
    const qp_tokenizer *t = arg;
    qp_err err = { 0 };
    qp_ids ids = { 0 };
    qp_buf decoded = { 0 };
    const qp_value *text = qp_json_get(v, "text"), *back = qp_json_get(v, "decoded");
    if (!back) back = text;
    bool bos = yes(qp_json_get(v, "add_special"));
    unsigned flags =
        (bos ? QP_TOK_BOS : 0) | (yes(qp_json_get(v, "parse_special")) ? QP_TOK_SPECIAL : 0);
    int64_t n, skip;
    int32_t *want = parity_json_ids(qp_json_get(v, "ids"), &n);
    if (parity_ok(p, qp_tokenizer_encode(t, text->str, text->str_len, flags, &ids, &err), &err)) {
        parity_ints(p, where, ids.id, ids.n, want, n);
        skip = bos && qp_tokenizer_bos(t) >= 0 && n > 0 ? 1 : 0;
        if (parity_ok(p, qp_tokenizer_decode(t, want + skip, n - skip, false, &decoded, &err),
                      &err))
            parity_bytes(p, where, decoded.data, decoded.len, back->str, back->str_len);
    }
    free(want);
    qp_ids_release(&ids);
    qp_buf_release(&decoded);
}

typedef struct {
    const qp_tokenizer *t;
    const qp_chat *chat;
} chat_env;

static void chat_case(parity *p, const qp_value *v, const char *where, void *arg)
{
    const chat_env *e = arg;
    const qp_value *messages = qp_json_get(v, "messages"), *date = qp_json_get(v, "date_string");
    qp_message *list = qp_xcalloc((size_t)messages->count + 1, sizeof *list);
    int64_t n = 0, n_ids, n_mask;
    for (const qp_value *m = messages->child; m; m = m->next) {
        const qp_value *content = qp_json_get(m, "content");
        list[n++] = (qp_message){ .role = qp_json_get(m, "role")->str,
                                  .content = content->str,
                                  .len = content->str_len };
    }
    qp_chat_options o = { .date = date ? date->str : "26 Jul 2024",
                          .train_on_eos = true,
                          .generation = yes(qp_json_get(v, "add_generation_prompt")) };
    qp_err err = { 0 };
    qp_ids ids = { 0 };
    qp_buf mask = { 0 };
    int32_t *want = parity_json_ids(qp_json_get(v, "ids"), &n_ids),
            *want_mask = parity_json_ids(qp_json_get(v, "loss_mask"), &n_mask);
    if (parity_ok(p, qp_chat_render(e->chat, e->t, list, n, &o, &ids, &mask, &err), &err)) {
        parity_ints(p, where, ids.id, ids.n, want, n_ids);
        int32_t *got = qp_xcalloc(mask.len + 1, sizeof *got);
        for (size_t i = 0; i < mask.len; i++) got[i] = mask.data[i];
        char what[360];
        snprintf(what, sizeof what, "%s loss_mask", where);
        parity_ints(p, what, got, (int64_t)mask.len, want_mask, n_mask);
        free(got);
    }
    free(want);
    free(want_mask);
    free(list);
    qp_ids_release(&ids);
    qp_buf_release(&mask);
}

/* From the folder itself, or, as a set may hold cases only, from shared/golden. */
static qp_tokenizer *open_tokenizer(parity *p, const char *name)
{
    qp_err err = { 0 };
    qp_tokenizer *t = NULL;
    char *path = parity_path(p, "tokenizers/%s", name),
         *file = qp_path_join(path, "tokenizer.json");
    if (!qp_path_exists(file)) {
        free(path);
        path = qp_xformat("%s/golden/tokenizers/%s", p->shared, name);
    }
    free(file);
    parity_ok(p, qp_tokenizer_open(&t, path, &err), &err);
    free(path);
    return t;
}

static void chats(parity *p, qp_tokenizer *t, const char *template, const char *file)
{
    qp_err err = { 0 };
    chat_env e = { .t = t };
    if (parity_ok(p, qp_chat_find(&e.chat, template, t, &err), &err))
        each_line(p, file, chat_case, &e);
}

/* cases.jsonl and chat.jsonl; the folder's name is its chat template's too. */
void parity_tokenizer(parity *p, const char *path)
{
    char file[300];
    const char *name = strrchr(path, '/') + 1;
    qp_tokenizer *t = open_tokenizer(p, name);
    if (!t) return;
    snprintf(file, sizeof file, "%s/cases.jsonl", path);
    each_line(p, file, text_case, t);
    snprintf(file, sizeof file, "%s/chat.jsonl", path);
    char *full = parity_path(p, "%s", file);
    if (qp_path_exists(full)) chats(p, t, name, file);
    free(full);
    qp_tokenizer_free(t);
}

static void first_tokenizer(parity *p, const qp_value *v, const char *where, void *arg)
{
    (void)p, (void)where;
    char *name = arg;
    if (!name[0]) snprintf(name, 64, "%s", qp_json_get(v, "tokenizer")->str);
}

/* templates/NAME.jsonl says in each row which tokenizer it is for. */
void parity_template(parity *p, const char *path)
{
    char file[300], tokenizer[64] = "";
    snprintf(file, sizeof file, "%s.jsonl", path);
    each_line(p, file, first_tokenizer, tokenizer);
    qp_tokenizer *t = open_tokenizer(p, tokenizer);
    if (t) chats(p, t, strrchr(path, '/') + 1, file);
    qp_tokenizer_free(t);
}
