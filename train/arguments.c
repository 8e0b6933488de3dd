#include "train/option.h"
#include "train/synonyms.h"
#include "base/log.h"
#include <stdlib.h>
#include <string.h>

/* The canonical spelling of a dotted path: synonyms may be dotted themselves. */
static qp_status canonical_path(const char *path, const char *where, char **out, qp_err *err)
{
    bool synonym;
    const qp_option *r = qp_option_find(&qp_top_options, path, &synonym);
    if (r) {
        if (synonym) qp_info("%s is called %s here", path, r->name);
        *out = qp_xstrdup(r->name);
        return QP_OK;
    }
    size_t head = strcspn(path, ".");
    char *first = qp_xformat("%.*s", (int)head, path);
    r = qp_option_find(&qp_top_options, first, &synonym);
    qp_status rc = QP_OK;
    if (r && path[head] && (r->kind == &qp_kind_SOURCES || r->kind == &qp_kind_MAP))
        *out = qp_xformat("%s%s", r->name, path + head);
    else
        rc = qp_unknown_option(&qp_top_options, "", path, where, err);
    free(first);
    return rc;
}

static qp_status set_argument(qp_tree *root, const char *key, const char *value, qp_err *err)
{
    char *where = qp_xformat("argument %s=%s", key, value), *path = NULL;
    qp_tree *t = NULL, *words = qp_tree_scalar("", where);
    qp_status rc = QP_OK;
    if (*value == '[' || *value == '{') {
        rc = qp_tree_parse(&t, value, strlen(value), where, err);
    } else {
        t = qp_tree_scalar(value, where);
    }
    free(words->text);
    words->text = NULL;
    words->kind = QP_TREE_MAP;
    if (!rc) {
        t->key = qp_xstrdup(key);
        qp_tree_append(words, t);
        rc = qp_replace_words(words, false, err);
    }
    while (!rc && words->child) { /* one, unless a word stood for other settings */
        t = qp_tree_take(words, words->child);
        if ((rc = canonical_path(t->key, where, &path, err))) {
            qp_tree_free(t);
            break;
        }
        free(t->key);
        t->key = NULL;
        rc = qp_tree_set(root, path, t, err);
        free(path);
    }
    qp_tree_free(words);
    free(where);
    return rc;
}

/* "key=value", "--dashed-key=value", "--dashed-key value", "--flag". */
qp_status qp_options_arguments(qp_tree *root, int argc, char *const *argv, qp_err *err)
{
    qp_status rc = QP_OK;
    for (int i = 0; !rc && i < argc; i++) {
        bool dashed = !strncmp(argv[i], "--", 2), synonym;
        char *key = qp_xstrdup(argv[i] + (dashed ? 2 : 0)), *value = strchr(key, '=');
        if (value) *value++ = 0;
        for (char *p = key; dashed && *p; p++)
            if (*p == '-') *p = '_';
        const qp_option *r = qp_option_find(&qp_top_options, key, &synonym);
        bool next_is_value = i + 1 < argc && strncmp(argv[i + 1], "--", 2);
        if (value) {
            rc = set_argument(root, key, value, err);
        } else if (dashed && r && r->kind == &qp_kind_BOOL && !next_is_value) {
            rc = set_argument(root, key, "true", err);
        } else if (dashed && next_is_value) {
            rc = set_argument(root, key, argv[++i], err);
        } else if (dashed) {
            rc = qp_fail(err, QP_USAGE, "argument %s: a value is missing", argv[i]);
        } else {
            rc = qp_fail(err, QP_USAGE, "argument %s: key=value or --key value is wanted", argv[i]);
        }
        free(key);
    }
    return rc;
}
