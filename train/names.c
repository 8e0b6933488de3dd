#include "train/option.h"
#include "train/synonyms.h"
#include "base/log.h"
#include "base/word.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const qp_option *qp_option_find(const qp_option_table *tab, const char *name, bool *synonym)
{
    size_t n = strlen(name);
    *synonym = false;
    for (int i = 0; i < tab->count; i++)
        if (!strcmp(tab->row[i].name, name)) return &tab->row[i];
    for (int i = 0; i < tab->count; i++)
        for (const char *s = tab->row[i].synonyms; *s; s += strspn(s, " ")) {
            size_t k = strcspn(s, " ");
            *synonym = true;
            if (k == n && !strncmp(s, name, n)) return &tab->row[i];
            s += k;
        }
    return NULL;
}

static const char *nearest(const qp_option_table *tab, const char *name)
{
    const char *best = tab->row[0].name;
    int least = INT_MAX;
    size_t n = strlen(name);
    for (int i = 0; i < tab->count; i++) {
        const qp_option *r = &tab->row[i];
        int d = qp_word_distance(name, n, r->name, strlen(r->name));
        for (const char *s = r->synonyms; *s; s += strspn(s, " ")) {
            size_t k = strcspn(s, " ");
            int e = qp_word_distance(name, n, s, k);
            if (e < d) d = e;
            s += k;
        }
        if (d < least) least = d, best = r->name;
    }
    return best;
}

qp_status qp_unknown_option(const qp_option_table *tab, const char *prefix, const char *key,
                            const char *where, qp_err *err)
{
    const char *why = qp_unsupported_key(key);
    if (why)
        return qp_fail(err, QP_USAGE, "%s: %s%s is not supported: %s", where, prefix, key, why);
    return qp_fail(err, QP_USAGE, "%s: unknown key %s%s; the nearest known one is %s", where,
                   prefix, key, nearest(tab, key));
}

static void rename_node(qp_tree *t, const char *name)
{
    char *where = qp_xformat("%s (written %s)", t->where, t->key);
    free(t->where);
    free(t->key);
    t->where = where;
    t->key = qp_xstrdup(name);
}

qp_status qp_options_canonical(const qp_option_table *tab, const char *prefix, qp_tree *map,
                               qp_err *err);

/* One entry under its canonical name into `out`; takes t. */
static qp_status adopt(const qp_option_table *tab, const char *prefix, qp_tree *t, qp_tree *out,
                       qp_err *err)
{
    bool synonym;
    const qp_option *r = qp_option_find(tab, t->key, &synonym);
    qp_status rc = QP_OK;
    if (!r) {
        rc = qp_unknown_option(tab, prefix, t->key, t->where, err);
    } else {
        if (synonym) {
            qp_info("%s%s is called %s here", prefix, t->key, r->name);
            rename_node(t, r->name);
        }
        const qp_tree *twin = qp_tree_get(out, r->name);
        if (twin)
            rc = qp_fail(err, QP_USAGE, "%s: key %s%s twice (first at %s)", t->where, prefix,
                         r->name, twin->where);
        int i = 0;
        for (qp_tree *c = t->child;
             !rc && r->kind == &qp_kind_SOURCES && t->kind == QP_TREE_LIST && c; c = c->next, i++) {
            char inner[64];
            snprintf(inner, sizeof inner, "%s.%d.", r->name, i);
            if (c->kind == QP_TREE_MAP)
                rc = qp_options_canonical(&qp_source_options, inner, c, err);
        }
    }
    rc ? qp_tree_free(t) : qp_tree_append(out, t);
    return rc;
}

/* A section of another tool's file, such as train: {micro_batch_size: 4}: its entries by their
 * dotted names. */
static bool is_section(const qp_option_table *tab, const qp_tree *t)
{
    bool synonym;
    const qp_option *r = qp_option_find(tab, t->key, &synonym);
    return t->kind == QP_TREE_MAP && t->child &&
           (!r || (r->kind != &qp_kind_MAP && r->kind != &qp_kind_SOURCES));
}

static qp_status adopt_section(const qp_option_table *tab, const char *prefix, qp_tree *section,
                               qp_tree *out, qp_err *err)
{
    qp_status rc = QP_OK;
    bool synonym, any = false;
    for (qp_tree *c = section->child; c && !any; c = c->next) {
        char *dotted = qp_xformat("%s.%s", section->key, c->key);
        any = qp_option_find(tab, dotted, &synonym);
        free(dotted);
    }
    if (!any) return adopt(tab, prefix, section, out, err);
    while (!rc && section->child) {
        qp_tree *c = qp_tree_take(section, section->child);
        char *dotted = qp_xformat("%s.%s", section->key, c->key);
        free(c->key);
        c->key = dotted;
        rc = adopt(tab, prefix, c, out, err);
    }
    qp_tree_free(section);
    return rc;
}

/* Every key of the map under its canonical name, words that stand for other settings replaced. */
qp_status qp_options_canonical(const qp_option_table *tab, const char *prefix, qp_tree *map,
                               qp_err *err)
{
    qp_tree out = { .kind = QP_TREE_MAP };
    qp_status rc = qp_replace_words(map, tab == &qp_source_options, err);
    while (!rc && map->child) {
        qp_tree *t = qp_tree_take(map, map->child);
        rc = is_section(tab, t) ? adopt_section(tab, prefix, t, &out, err)
                                : adopt(tab, prefix, t, &out, err);
    }
    if (rc) {
        qp_tree_free(out.child);
        return rc;
    }
    map->child = out.child;
    return QP_OK;
}
