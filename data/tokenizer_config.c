/* What lies beside a tokenizer.json: which tokens end and begin a text, and the chat template. */
#include "base/zio.h"
#include "data/json_value.h"
#include "data/tokenizer_parts.h"
#include <stdlib.h>

/* A token is written as its text, or as an object with `content`. */
static const char *token_text(const qp_value *config, const char *key)
{
    const qp_value *v = qp_json_get(config, key), *content = qp_json_get(v, "content");
    return text_of(content ? content : v);
}

static void read_tokens(qp_tokenizer *t, const qp_value *config)
{
    const struct {
        const char *key;
        int32_t *to;
    } named[] = { { "bos_token", &t->bos },
                  { "eos_token", &t->eos },
                  { "pad_token", &t->pad },
                  { "unk_token", &t->unk } };
    for (int i = 0; i < 4; i++) {
        const char *text = token_text(config, named[i].key);
        if (text && *named[i].to < 0) *named[i].to = qp_tokenizer_id(t, text);
    }
}

/* chat_template is the text itself, or a list of {"name", "template"} with one named default. */
static void read_template(qp_tokenizer *t, const qp_value *v)
{
    const char *text = text_of(v);
    for (const qp_value *p = v && v->kind == QP_JSON_ARRAY ? v->child : NULL; p; p = p->next)
        if (text_is(qp_json_get(p, "name"), "default")) text = text_of(qp_json_get(p, "template"));
    if (text && !t->chat_template) t->chat_template = qp_xstrdup(text);
}

/* An explicit word in the configuration stands above the post_processor, as in transformers 5. */
static qp_status read_bos(qp_tokenizer *t, const qp_value *config, qp_err *err)
{
    const qp_value *bos = qp_json_get(config, "add_bos_token"),
                   *eos = qp_json_get(config, "add_eos_token");
    if (is_true(eos)) return qp_fail(err, QP_BADFILE, "add_eos_token is not supported");
    if (!bos || (bos->kind != QP_JSON_TRUE && bos->kind != QP_JSON_FALSE)) return QP_OK;
    t->before.n = 0;
    if (bos->kind == QP_JSON_FALSE) return QP_OK;
    if (t->bos < 0)
        return qp_fail(err, QP_BADFILE,
                       "add_bos_token, but bos_token is no token of the vocabulary");
    qp_ids_add(&t->before, t->bos);
    return QP_OK;
}

/* *v stays NULL where there is no such file. */
static qp_status load(qp_value **v, const char *dir, const char *name, qp_err *err)
{
    char *path = qp_path_join(dir, name);
    qp_status rc = qp_path_exists(path) ? qp_json_load(v, path, err) : QP_OK;
    free(path);
    return rc;
}

static qp_status read_jinja(qp_tokenizer *t, const char *dir, qp_err *err)
{
    char *path = qp_path_join(dir, "chat_template.jinja");
    qp_buf text = { 0 };
    qp_status rc = qp_path_exists(path) ? qp_file_read(path, &text, err) : QP_OK;
    if (!rc && text.data) t->chat_template = qp_xstrdup(text.data);
    qp_buf_release(&text);
    free(path);
    return rc;
}

/* A tokenizer.json alone: the names that base models use. */
static void guess_eos(qp_tokenizer *t)
{
    static const char *const names[] = { "<|end_of_text|>", "<|endoftext|>", "</s>" };
    for (int i = 0; i < 3 && t->eos < 0; i++) t->eos = qp_tokenizer_id(t, names[i]);
}

qp_status qp_tokenizer_read_config(qp_tokenizer *t, const char *dir, qp_err *err)
{
    qp_value *config = NULL, *map = NULL;
    qp_status rc = read_jinja(t, dir, err); /* newer than the one in the configuration */
    if (!rc) rc = load(&config, dir, "tokenizer_config.json", err);
    if (!rc) rc = load(&map, dir, "special_tokens_map.json", err);
    if (!rc) {
        read_tokens(t, config);
        read_tokens(t, map);
        read_template(t, qp_json_get(config, "chat_template"));
        if (read_bos(t, config, err)) rc = qp_wrap(err, "%s/tokenizer_config.json", dir);
    }
    if (!rc && !config && !map) guess_eos(t);
    qp_json_free(config);
    qp_json_free(map);
    return rc;
}
