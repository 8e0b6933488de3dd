/* The parsed document: a tree built from the reader's events. */
#include "base/json.h"
#include "base/zio.h"
#include <stdlib.h>
#include <string.h>

static int by_key(const void *a, const void *b)
{
    return strcmp((*(qp_value *const *)a)->key, (*(qp_value *const *)b)->key);
}

/* Sorted, so that a vocabulary of 128k keys is no quadratic search. */
static qp_status refuse_duplicates(const qp_value *object, qp_err *err)
{
    if (object->count < 2) return QP_OK;
    const qp_value **member = qp_xcalloc((size_t)object->count, sizeof *member);
    int64_t n = 0;
    for (const qp_value *v = object->child; v; v = v->next) member[n++] = v;
    qsort(member, (size_t)n, sizeof *member, by_key);
    qp_status rc = QP_OK;
    for (int64_t i = 1; i < n && !rc; i++)
        if (!strcmp(member[i - 1]->key, member[i]->key))
            rc = qp_fail(err, QP_BADFILE, "key \"%s\" twice", member[i]->key);
    free(member);
    return rc;
}

static char *copy(const qp_buf *b)
{
    char *s = qp_xmalloc(b->len + 1);
    return memcpy(s, b->data, b->len + 1);
}

static qp_value *new_value(const qp_json *j)
{
    qp_value *v = qp_xcalloc(1, sizeof *v);
    v->kind = j->kind;
    if (j->kind == QP_JSON_STRING) {
        v->str = copy(&j->str);
        v->str_len = j->str.len;
    } else if (j->kind == QP_JSON_NUMBER) {
        v->number = j->number;
        v->is_integer = j->is_integer;
        v->integer = j->is_integer ? j->integer : 0;
    }
    return v;
}

/* `open` holds the containers not yet closed, `tail` where each puts its next member. */
static qp_status build(qp_json *j, qp_value **root, qp_err *err)
{
    qp_value *open[65], **tail[65];
    tail[0] = root;
    open[0] = NULL;
    char *key = NULL;
    qp_status rc = QP_OK;
    while (!rc) {
        int depth = j->depth;
        qp_json_kind kind = qp_json_next(j);
        if (kind == QP_JSON_END) break;
        if (kind == QP_JSON_ERROR) {
            rc = err->status;
        } else if (kind == QP_JSON_KEY) {
            if (strlen(j->str.data) < j->str.len)
                rc = qp_fail(err, QP_BADFILE, "key \"%s\" holds a NUL", j->str.data);
            else
                key = copy(&j->str);
        } else if (kind == QP_JSON_OBJECT_END) {
            rc = refuse_duplicates(open[depth], err);
        } else if (kind != QP_JSON_ARRAY_END) {
            qp_value *v = new_value(j);
            v->key = key;
            key = NULL;
            *tail[depth] = v;
            tail[depth] = &v->next;
            if (open[depth]) open[depth]->count++;
            if (j->depth > depth) open[j->depth] = v, tail[j->depth] = &v->child;
        }
    }
    free(key);
    return rc;
}

qp_status qp_json_parse(qp_value **v, const char *text, size_t len, qp_err *err)
{
    *v = NULL;
    qp_json j;
    qp_json_init(&j, text, len, err);
    qp_status rc = build(&j, v, err);
    qp_json_release(&j);
    if (rc) {
        qp_json_free(*v);
        *v = NULL;
    }
    return rc;
}

qp_status qp_json_load(qp_value **v, const char *path, qp_err *err)
{
    *v = NULL;
    qp_buf text = { 0 };
    qp_status rc = qp_file_read(path, &text, err);
    if (!rc) {
        rc = qp_json_parse(v, text.data, text.len, err);
        if (rc) qp_wrap(err, "%s", path);
    }
    qp_buf_release(&text);
    return rc;
}

void qp_json_free(qp_value *v)
{
    while (v) { /* recursion goes no deeper than the reader's 64 levels */
        qp_value *next = v->next;
        qp_json_free(v->child);
        free(v->key);
        free(v->str);
        free(v);
        v = next;
    }
}

const qp_value *qp_json_get(const qp_value *object, const char *key)
{
    if (!object || object->kind != QP_JSON_OBJECT) return NULL;
    const qp_value *v = object->child;
    while (v && strcmp(v->key, key)) v = v->next;
    return v;
}

const qp_value *qp_json_at(const qp_value *array, int64_t i)
{
    if (!array || array->kind != QP_JSON_ARRAY || i < 0) return NULL;
    const qp_value *v = array->child;
    while (v && i-- > 0) v = v->next;
    return v;
}
