/* The table of record formats and what they share. */
#include "data/format.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const qp_format *const formats[] = { &qp_format_chat, &qp_format_alpaca, &qp_format_pair,
                                            &qp_format_segments, &qp_format_text };
enum { FORMATS = sizeof formats / sizeof *formats };

qp_status qp_format_find(const qp_format **format, const char *type, const qp_value *record,
                         qp_fields *f, qp_err *err)
{
    *format = NULL;
    unsigned named = 0;
    for (int i = 0; i < QP_FIELDS; i++)
        if (f->name[i]) named |= 1u << i;
    if (!type || !strcmp(type, "auto")) {
        for (int i = 0; i < FORMATS && !*format; i++) {
            qp_fields tried = *f;
            if (named && !(formats[i]->fields & named)) continue;
            if (!formats[i]->fits(record, &tried)) continue;
            *format = formats[i];
            *f = tried;
        }
        return QP_OK;
    }
    for (int i = 0; i < FORMATS; i++) {
        if (strcmp(type, formats[i]->name) &&
            (!formats[i]->alias || strcmp(type, formats[i]->alias)))
            continue;
        formats[i]->fits(
            record, f); /* only for the names: what is missing is reported by read, with its line */
        *format = formats[i];
        return QP_OK;
    }
    char known[200] = "auto";
    for (int i = 0; i < FORMATS; i++) {
        size_t at = strlen(known);
        snprintf(known + at, sizeof known - at, ", %s", formats[i]->name);
    }
    return qp_fail(err, QP_USAGE, "dataset type \"%s\": unknown (wanted one of %s)", type, known);
}

void qp_sample_add(qp_sample *s, const char *role, const char *content, size_t len)
{
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 8;
        s->message = qp_xrealloc(s->message, (size_t)s->cap, sizeof *s->message);
    }
    s->message[s->n++] = (qp_message){ role, content, len };
}

void qp_sample_own(qp_sample *s, char *text)
{
    s->owned = qp_xrealloc(s->owned, (size_t)s->n_owned + 1, sizeof *s->owned);
    s->owned[s->n_owned++] = text;
}

void qp_sample_clear(qp_sample *s)
{
    for (int64_t i = 0; i < s->n_owned; i++) free(s->owned[i]);
    s->n = s->n_owned = 0;
}

void qp_sample_release(qp_sample *s)
{
    qp_sample_clear(s);
    free(s->owned);
    free(s->message);
    *s = (qp_sample){ 0 };
}

const char *qp_json_kind_name(qp_json_kind kind)
{
    switch (kind) {
    case QP_JSON_NULL:
        return "null";
    case QP_JSON_FALSE:
        return "false";
    case QP_JSON_TRUE:
        return "true";
    case QP_JSON_NUMBER:
        return "a number";
    case QP_JSON_STRING:
        return "a string";
    case QP_JSON_ARRAY:
        return "an array";
    case QP_JSON_OBJECT:
        return "an object";
    default:
        return "nothing";
    }
}

void qp_record_keys(const qp_value *record, char *out, size_t size)
{
    size_t at = 0;
    out[0] = '\0';
    for (const qp_value *v = record->child; v && v->key && at + 1 < size; v = v->next)
        at += (size_t)snprintf(out + at, size - at, "%s%s", at ? ", " : "", v->key);
    if (!out[0]) snprintf(out, size, "nothing");
}

qp_status qp_record_text(const qp_value *record, const char *field, const char **text, size_t *len,
                         qp_err *err)
{
    const qp_value *v = qp_json_get(record, field);
    if (!v) {
        char keys[200];
        qp_record_keys(record, keys, sizeof keys);
        return qp_fail(err, QP_BADFILE, "no \"%s\" (found: %s)", field, keys);
    }
    if (v->kind != QP_JSON_STRING)
        return qp_fail(err, QP_BADFILE, "\"%s\" is %s, wanted a string", field,
                       qp_json_kind_name(v->kind));
    *text = v->str;
    *len = v->str_len;
    return QP_OK;
}
