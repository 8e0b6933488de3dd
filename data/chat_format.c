/* {"messages": [{"role": …, "content": …}, …]} as chat services write it, or {"conversations":
   [{"from": …, "value": …}]} as ShareGPT did. Content may be a string or a list of {"type": "text",
   "text": …}. */
#include "data/format.h"
#include <string.h>

static bool fits(const qp_value *record, qp_fields *f)
{
    const char **name = &f->name[QP_FIELD_MESSAGES];
    if (!*name)
        *name = !qp_json_get(record, "messages") && qp_json_get(record, "conversations")
                    ? "conversations"
                    : "messages";
    return qp_json_get(record, *name);
}

/* Roles as templates know them; any other name goes through and is judged there. */
static const char *usual_role(const char *role)
{
    static const char *const other[][2] = { { "human", "user" },        { "gpt", "assistant" },
                                            { "chatgpt", "assistant" }, { "model", "assistant" },
                                            { "bot", "assistant" },     { "function", "tool" } };
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        if (!strcmp(role, other[i][0])) return other[i][1];
    return role;
}

static qp_status joined_parts(const qp_value *list, const char *name, qp_sample *s,
                              const char **text, size_t *len, qp_err *err)
{
    qp_buf all = { 0 };
    qp_buf_add(&all, "", 0);
    for (const qp_value *v = list->child; v; v = v->next) {
        const char *piece;
        size_t n;
        const qp_value *type = qp_json_get(v, "type");
        qp_status rc = QP_OK;
        if (type && type->kind == QP_JSON_STRING && strcmp(type->str, "text"))
            rc = qp_fail(err, QP_BADFILE, "\"%s\" has a part of type \"%s\", wanted text", name,
                         type->str);
        if (!rc) rc = qp_record_text(v, "text", &piece, &n, err);
        if (rc) {
            qp_buf_release(&all);
            return rc;
        }
        qp_buf_add(&all, piece, n);
    }
    *text = all.data;
    *len = all.len;
    qp_sample_own(s, all.data); /* the buffer's memory, now the sample's */
    return QP_OK;
}

static qp_status read_message(const qp_value *m, qp_sample *s, qp_err *err)
{
    if (m->kind != QP_JSON_OBJECT)
        return qp_fail(err, QP_BADFILE, "%s, wanted an object", qp_json_kind_name(m->kind));
    bool sharegpt = !qp_json_get(m, "role") && qp_json_get(m, "from");
    const char *content_name = sharegpt ? "value" : "content", *role, *text;
    const qp_value *content = qp_json_get(m, content_name);
    size_t len;
    qp_status rc = qp_record_text(m, sharegpt ? "from" : "role", &role, &len, err);
    if (!rc && content && content->kind == QP_JSON_ARRAY)
        rc = joined_parts(content, content_name, s, &text, &len, err);
    else if (!rc)
        rc = qp_record_text(m, content_name, &text, &len, err);
    if (rc) return rc;
    qp_sample_add(s, usual_role(role), text, len);
    return QP_OK;
}

static qp_status read_chat(const qp_value *record, const qp_fields *f, bool plain, qp_sample *s,
                           qp_err *err)
{
    (void)plain;
    const char *name = f->name[QP_FIELD_MESSAGES];
    const qp_value *list = qp_json_get(record, name);
    if (!list || list->kind != QP_JSON_ARRAY || !list->child) {
        char keys[200];
        qp_record_keys(record, keys, sizeof keys);
        if (!list) return qp_fail(err, QP_BADFILE, "no \"%s\" (found: %s)", name, keys);
        return qp_fail(err, QP_BADFILE, "\"%s\" is %s, wanted an array of messages", name,
                       list->kind == QP_JSON_ARRAY ? "empty" : qp_json_kind_name(list->kind));
    }
    s->kind = QP_SAMPLE_CHAT;
    int64_t i = 0;
    for (const qp_value *m = list->child; m; m = m->next, i++) {
        qp_status rc = read_message(m, s, err);
        if (rc) return qp_wrap(err, "%s[%lld]", name, (long long)i);
    }
    return QP_OK;
}

const qp_format qp_format_chat = { "chat_template", "chat", 1u << QP_FIELD_MESSAGES, fits,
                                   read_chat };
