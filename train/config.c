/* YAML to a tree, by libyaml's event interface: no anchors, so no alias can grow without bound;
   depth and size have limits; duplicate keys are found here because the events still have their
   lines. */
#include "train/tree.h"
#include "base/json.h"
#include "base/zio.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

typedef struct {
    yaml_parser_t parser;
    const char *name;
    qp_err *err;
    int nodes;
} reader;

static qp_tree *node_new(qp_tree_kind kind, char *where)
{
    qp_tree *t = qp_xcalloc(1, sizeof *t);
    t->kind = kind;
    t->where = where;
    return t;
}

qp_tree *qp_tree_scalar(const char *text, const char *where)
{
    qp_tree *t = node_new(QP_TREE_SCALAR, qp_xstrdup(where));
    t->text = qp_xstrdup(text);
    return t;
}

void qp_tree_free(qp_tree *t)
{
    while (t) {
        qp_tree *next = t->next;
        qp_tree_free(t->child);
        free(t->key);
        free(t->text);
        free(t->where);
        free(t);
        t = next;
    }
}

static int line_of(yaml_mark_t mark) { return (int)mark.line + 1; }

static qp_status syntax_error(reader *r)
{
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_MEMORY_ERROR) qp_fatal(QP_NOMEM, __FILE__, __LINE__, "%s", r->name);
    if (p->error == YAML_READER_ERROR)
        return qp_fail(r->err, QP_USAGE, "%s: byte %zu: %s", r->name, p->problem_offset,
                       p->problem);
    return qp_fail(r->err, QP_USAGE, "%s:%d: %s%s%s", r->name, line_of(p->problem_mark),
                   p->context ? p->context : "", p->context ? ": " : "", p->problem);
}

static qp_status next(reader *r, yaml_event_t *e)
{
    if (!yaml_parser_parse(&r->parser, e)) return syntax_error(r);
    int line = line_of(e->start_mark);
    const yaml_char_t *anchor = NULL, *tag = NULL;
    switch (e->type) {
    case YAML_ALIAS_EVENT:
        anchor = e->data.alias.anchor;
        break;
    case YAML_SCALAR_EVENT:
        anchor = e->data.scalar.anchor, tag = e->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = e->data.sequence_start.anchor, tag = e->data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = e->data.mapping_start.anchor, tag = e->data.mapping_start.tag;
        break;
    default:
        break;
    }
    qp_status rc = QP_OK;
    if (anchor)
        rc = qp_fail(r->err, QP_USAGE, "%s:%d: anchors and aliases (%s) are not accepted here",
                     r->name, line, (const char *)anchor);
    else if (tag)
        rc = qp_fail(r->err, QP_USAGE, "%s:%d: tags (%s) are not accepted here", r->name, line,
                     (const char *)tag);
    if (rc) yaml_event_delete(e);
    return rc;
}

static qp_status read_value(reader *r, yaml_event_t *e, int depth, qp_tree **out);

static qp_status read_key(reader *r, yaml_event_t *e, const qp_tree *map, char **key)
{
    int line = line_of(e->start_mark);
    if (e->type != YAML_SCALAR_EVENT)
        return qp_fail(r->err, QP_USAGE, "%s:%d: a key must be plain text", r->name, line);
    const char *s = (const char *)e->data.scalar.value;
    if (strlen(s) != e->data.scalar.length)
        return qp_fail(r->err, QP_USAGE, "%s:%d: a key with a NUL byte", r->name, line);
    const qp_tree *twin = qp_tree_get(map, s);
    if (twin)
        return qp_fail(r->err, QP_USAGE, "%s:%d: key %s twice (first at %s)", r->name, line, s,
                       twin->where);
    *key = qp_xstrdup(s);
    return QP_OK;
}

/* The rest of a list or map whose start event has been read. */
static qp_status read_children(reader *r, qp_tree *t, yaml_event_type_t end, int depth)
{
    for (;;) {
        yaml_event_t e;
        char *key = NULL;
        qp_tree *child = NULL;
        qp_status rc = next(r, &e);
        if (rc) return rc;
        if (e.type == end) {
            yaml_event_delete(&e);
            return QP_OK;
        }
        if (t->kind == QP_TREE_MAP) {
            rc = read_key(r, &e, t, &key);
            yaml_event_delete(&e);
            if (!rc) rc = next(r, &e);
        }
        if (!rc) rc = read_value(r, &e, depth, &child);
        if (rc) {
            free(key);
            return rc;
        }
        child->key = key;
        qp_tree_append(t, child);
    }
}

/* Consumes the event. */
static qp_status read_value(reader *r, yaml_event_t *e, int depth, qp_tree **out)
{
    qp_status rc = QP_OK;
    int line = line_of(e->start_mark);
    yaml_event_type_t type = e->type, end = YAML_NO_EVENT;
    qp_tree *t = node_new(QP_TREE_SCALAR, qp_xformat("%s:%d", r->name, line));
    if (type == YAML_SCALAR_EVENT) {
        t->quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
        t->text = qp_xstrdup((const char *)e->data.scalar.value);
        if (strlen(t->text) != e->data.scalar.length)
            rc = qp_fail(r->err, QP_USAGE, "%s:%d: a value with a NUL byte", r->name, line);
    } else if (type == YAML_SEQUENCE_START_EVENT) {
        t->kind = QP_TREE_LIST;
        end = YAML_SEQUENCE_END_EVENT;
    } else if (type == YAML_MAPPING_START_EVENT) {
        t->kind = QP_TREE_MAP;
        end = YAML_MAPPING_END_EVENT;
    } else {
        rc = qp_fail(r->err, QP_USAGE, "%s:%d: a value is missing", r->name, line);
    }
    yaml_event_delete(e);
    if (!rc && ++r->nodes > QP_TREE_NODES)
        rc = qp_fail(r->err, QP_USAGE, "%s:%d: more than %d values", r->name, line, QP_TREE_NODES);
    if (!rc && end != YAML_NO_EVENT) {
        if (depth >= QP_TREE_DEPTH)
            rc = qp_fail(r->err, QP_USAGE, "%s:%d: nested deeper than %d", r->name, line,
                         QP_TREE_DEPTH);
        else
            rc = read_children(r, t, end, depth + 1);
    }
    if (rc) {
        qp_tree_free(t);
        return rc;
    }
    *out = t;
    return QP_OK;
}

static qp_status read_document(reader *r, qp_tree **root)
{
    yaml_event_t e;
    qp_status rc = QP_OK;
    int documents = 0;
    for (;;) {
        if ((rc = next(r, &e))) return rc;
        yaml_event_type_t type = e.type;
        int line = line_of(e.start_mark);
        if (type == YAML_STREAM_START_EVENT || type == YAML_DOCUMENT_START_EVENT ||
            type == YAML_DOCUMENT_END_EVENT) {
            yaml_event_delete(&e);
            if (type == YAML_DOCUMENT_START_EVENT && documents++)
                return qp_fail(r->err, QP_USAGE, "%s:%d: a second document begins; one is wanted",
                               r->name, line);
        } else if (type == YAML_STREAM_END_EVENT) {
            yaml_event_delete(&e);
            return QP_OK;
        } else if ((rc = read_value(r, &e, 0, root))) {
            return rc;
        }
    }
}

qp_status qp_tree_parse(qp_tree **root, const char *text, size_t len, const char *name, qp_err *err)
{
    reader r = { .name = name, .err = err };
    *root = NULL;
    if (len > QP_TREE_BYTES)
        return qp_fail(err, QP_USAGE, "%s: %zu bytes; settings of at most %d are read", name, len,
                       QP_TREE_BYTES);
    if (!yaml_parser_initialize(&r.parser)) qp_fatal(QP_NOMEM, __FILE__, __LINE__, "%s", name);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
    qp_status rc = read_document(&r, root);
    yaml_parser_delete(&r.parser);
    if (!rc && !*root) *root = node_new(QP_TREE_MAP, qp_xstrdup(name));
    if (rc) {
        qp_tree_free(*root);
        *root = NULL;
    }
    return rc;
}

qp_status qp_tree_load(qp_tree **root, const char *path, qp_err *err)
{
    qp_buf text = { 0 };
    *root = NULL;
    qp_status rc = qp_file_read(path, &text, err);
    if (!rc) rc = qp_tree_parse(root, text.data ? text.data : "", text.len, path, err);
    if (!rc && (*root)->kind == QP_TREE_SCALAR && qp_tree_is_null(*root)) {
        qp_tree_free(*root);
        *root = node_new(QP_TREE_MAP, qp_xstrdup(path));
    }
    if (!rc && (*root)->kind != QP_TREE_MAP) {
        rc = qp_fail(err, QP_USAGE, "%s: lines of `key: value` are wanted", (*root)->where);
        qp_tree_free(*root);
        *root = NULL;
    }
    qp_buf_release(&text);
    return rc;
}

qp_tree *qp_tree_get(const qp_tree *map, const char *key)
{
    if (map->kind != QP_TREE_MAP) return NULL;
    for (qp_tree *c = map->child; c; c = c->next)
        if (!strcmp(c->key, key)) return c;
    return NULL;
}

void qp_tree_append(qp_tree *parent, qp_tree *child)
{
    qp_tree **at = &parent->child;
    while (*at) at = &(*at)->next;
    *at = child;
}

qp_tree *qp_tree_take(qp_tree *map, qp_tree *child)
{
    qp_tree **at = &map->child;
    while (*at != child) at = &(*at)->next;
    *at = child->next;
    child->next = NULL;
    return child;
}

/* Where the path's next part hangs: an existing child's slot, or the NULL at the end of the
 * siblings. */
static qp_status find_slot(qp_tree *t, const char *part, const char *path, qp_tree ***slot,
                           qp_err *err)
{
    *slot = &t->child;
    if (t->kind == QP_TREE_MAP) {
        while (**slot && strcmp((**slot)->key, part)) *slot = &(**slot)->next;
        return QP_OK;
    }
    char *end;
    long want = strtol(part, &end, 10), i = 0;
    if (t->kind == QP_TREE_LIST && isdigit((unsigned char)part[0]) && !*end) {
        for (; i < want && **slot; i++) *slot = &(**slot)->next;
        if (i == want) return QP_OK;
        return qp_fail(err, QP_USAGE, "%s: the list has %ld entries; the next one is %ld", path, i,
                       i);
    }
    return qp_fail(err, QP_USAGE, "%s: %s names nothing inside a %s", path, part,
                   t->kind == QP_TREE_LIST ? "list (a number is wanted)" : "single value");
}

qp_status qp_tree_set(qp_tree *root, const char *path, qp_tree *value, qp_err *err)
{
    char *parts = qp_xstrdup(path), *rest = parts, *part;
    qp_status rc = QP_OK;
    qp_tree *at = root;
    while (!rc && (part = strsep(&rest, "."))) {
        qp_tree **slot, *old, *fresh;
        if ((rc = find_slot(at, part, path, &slot, err))) break;
        old = *slot;
        if (rest && old && !qp_tree_is_null(old)) {
            at = old;
            continue;
        }
        fresh = value;
        if (rest)
            fresh = node_new(isdigit((unsigned char)*rest) ? QP_TREE_LIST : QP_TREE_MAP,
                             qp_xstrdup(value->where));
        if (at->kind == QP_TREE_MAP) fresh->key = qp_xstrdup(part);
        fresh->next = old ? old->next : NULL;
        *slot = fresh;
        if (old) {
            old->next = NULL;
            qp_tree_free(old);
        }
        at = fresh;
    }
    if (rc) qp_tree_free(value);
    free(parts);
    return rc;
}

bool qp_tree_is_null(const qp_tree *t)
{
    static const char *const words[] = { "", "~", "null", "Null", "NULL" };
    if (t->kind != QP_TREE_SCALAR || t->quoted) return false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcmp(t->text, words[i])) return true;
    return false;
}

static void scalar_json(const qp_tree *t, qp_json_writer *w)
{
    char *end;
    double number = strtod(t->text, &end);
    bool is_number = *t->text && !*end && isfinite(number) && !strpbrk(t->text, "xXpP");
    if (t->quoted) return qp_json_cstring(w, t->text);
    if (qp_tree_is_null(t)) return qp_json_null(w);
    if (!strcasecmp(t->text, "true")) return qp_json_bool(w, true);
    if (!strcasecmp(t->text, "false")) return qp_json_bool(w, false);
    if (is_number && !strpbrk(t->text, ".eE") && fabs(number) < 9e15)
        return qp_json_int(w, (int64_t)number);
    if (is_number) return qp_json_double(w, number);
    qp_json_cstring(w, t->text);
}

static void write_json(const qp_tree *t, qp_json_writer *w)
{
    if (t->kind == QP_TREE_SCALAR) return scalar_json(t, w);
    bool map = t->kind == QP_TREE_MAP;
    map ? qp_json_open_object(w) : qp_json_open_array(w);
    for (const qp_tree *c = t->child; c; c = c->next) {
        if (map) qp_json_key(w, c->key);
        write_json(c, w);
    }
    map ? qp_json_close_object(w) : qp_json_close_array(w);
}

void qp_tree_json(const qp_tree *t, qp_buf *out)
{
    qp_json_writer w = { .out = out };
    write_json(t, &w);
}

char *qp_yaml_version(void) { return qp_xstrdup(yaml_get_version_string()); }
