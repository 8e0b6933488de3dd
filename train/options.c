/* The option table at work. What the options are stands in options.def; nothing here knows a single
   one by name but resolve(). */
#include "train/option.h"
#include "train/sources.h"
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const qp_option options[] = {
#define OPT(k, name, fallback, wanted, trajectory, synonyms, help)                                 \
    { #name,    &qp_kind_##k, offsetof(qp_options, name), fallback, wanted, #trajectory[0],        \
      synonyms, help },
#include "train/options.def"
};
static const qp_option source_options[] = {
#define SRC(k, name, fallback, wanted, trajectory, synonyms, help)                                 \
    { #name,    &qp_kind_##k, offsetof(qp_dataset, name), fallback, wanted, #trajectory[0],        \
      synonyms, help },
#include "train/options.def"
};

const qp_option_table qp_top_options = { options, sizeof options / sizeof *options };
const qp_option_table qp_source_options = { source_options,
                                            sizeof source_options / sizeof *source_options };

void *qp_option_field(const qp_option *r, const void *base) { return (char *)base + r->offset; }

/* "only" rows take nothing but their default, judged by how it prints. */
static qp_status check_only(const qp_option *r, const char *prefix, const qp_tree *t,
                            const void *base, qp_err *err)
{
    qp_buf now = { 0 };
    r->kind->print(r, qp_option_field(r, base), &now);
    bool same = !strcmp(now.data, r->fallback);
    qp_status rc = QP_OK;
    if (!same)
        rc = qp_fail(err, QP_USAGE,
                     "%s: %s%s: not available in this build (found %s, leave it at %s)", t->where,
                     prefix, r->name, now.data, r->fallback);
    qp_buf_release(&now);
    return rc;
}

/* Every row from map, or from its default where map says nothing. base must be zeroed. */
qp_status qp_options_set(const qp_option_table *tab, const char *prefix, const qp_tree *map,
                         void *base, qp_err *err)
{
    qp_status rc = QP_OK;
    for (int i = 0; !rc && i < tab->count; i++) {
        const qp_option *r = &tab->row[i];
        const qp_tree *given = map ? qp_tree_get(map, r->name) : NULL;
        if (given) {
            rc = r->kind->set(r, prefix, given, qp_option_field(r, base), err);
            if (!rc && !strcmp(r->wanted, "only")) rc = check_only(r, prefix, given, base, err);
        } else {
            qp_tree *fallback;
            rc = qp_tree_parse(&fallback, r->fallback, strlen(r->fallback), "default", err);
            if (!rc) rc = r->kind->set(r, prefix, fallback, qp_option_field(r, base), err);
            qp_tree_free(fallback);
        }
    }
    return rc;
}

void qp_options_release(const qp_option_table *tab, void *base)
{
    for (int i = 0; i < tab->count; i++)
        tab->row[i].kind->release(qp_option_field(&tab->row[i], base));
}

static qp_status set_sources(const qp_option *r, const char *prefix, const qp_tree *t, void *field,
                             qp_err *err)
{
    qp_field_SOURCES *s = field;
    *s = (qp_field_SOURCES){ 0 };
    (void)prefix;
    if (qp_tree_is_null(t)) return QP_OK;
    if (t->kind != QP_TREE_LIST) return qp_option_wrong(r, "", t, err, r->kind->noun);
    for (const qp_tree *c = t->child; c; c = c->next) {
        char inner[64];
        snprintf(inner, sizeof inner, "%s.%d.", r->name, s->n);
        if (c->kind != QP_TREE_MAP) return qp_option_wrong(r, "", c, err, r->kind->noun);
        s->v = qp_xrealloc(s->v, (size_t)s->n + 1, sizeof *s->v);
        s->v[s->n] = (qp_dataset){ 0 };
        qp_status rc = qp_options_set(&qp_source_options, inner, c, &s->v[s->n++], err);
        if (!rc && !s->v[s->n - 1].path)
            rc = qp_fail(err, QP_USAGE, "%s: %spath is missing", c->where, inner);
        if (rc) return rc;
    }
    return QP_OK;
}

static void print_sources(const qp_option *r, const void *field, qp_buf *out)
{
    const qp_field_SOURCES *s = field;
    (void)r;
    if (!s->n) qp_buf_str(out, "[]");
    for (int i = 0; i < s->n; i++)
        for (int k = 0; k < qp_source_options.count; k++) {
            const qp_option *in = &qp_source_options.row[k];
            qp_buf_printf(out, "\n  %c %s: ", k ? ' ' : '-', in->name);
            in->kind->print(in, qp_option_field(in, &s->v[i]), out);
        }
}

static void release_sources(void *field)
{
    qp_field_SOURCES *s = field;
    for (int i = 0; i < s->n; i++) qp_options_release(&qp_source_options, &s->v[i]);
    free(s->v);
}

const qp_option_kind qp_kind_SOURCES = { set_sources, print_sources, release_sources,
                                         "a list of maps with a path" };

static void set_word(char **field, const char *word)
{
    free(*field);
    *field = qp_xstrdup(word);
}

/* What follows from other options when it is not said. */
static qp_status resolve(qp_options *o, qp_err *err)
{
    bool fresh = strcmp(o->model_config, "{}") != 0;
    if (fresh && o->base_model)
        return qp_fail(err, QP_USAGE,
                       "base_model and model_config: one of them is wanted, both are given");
    if (!o->adapter) set_word(&o->adapter, fresh ? "none" : "lora");
    if (!o->tokenizer && fresh) set_word(&o->tokenizer, "bytes");
    if (!o->load_in) set_word(&o->load_in, o->dtype);
    if (strcmp(o->load_in, "file") && !strcmp(o->load_in, "f64") != !strcmp(o->dtype, "f64"))
        return qp_fail(err, QP_USAGE, "load_in %s with dtype %s: f64 goes with f64 only",
                       o->load_in, o->dtype);
    bool limited = o->max_steps != QP_UNSET || o->max_tokens != QP_UNSET || !isnan(o->max_time);
    if (isnan(o->num_epochs) && !limited) o->num_epochs = 3;
    if (o->sequence_len * o->micro_batch_size > INT32_MAX / 4)
        return qp_fail(
            err, QP_USAGE,
            "sequence_len %lld times micro_batch_size %lld: more than %d tokens a forward",
            (long long)o->sequence_len, (long long)o->micro_batch_size, INT32_MAX / 4);
    return qp_sources_expand(o, err);
}

qp_status qp_options_load(qp_options **out, const char *yaml_path, int argc, char *const *argv,
                          qp_err *err)
{
    qp_tree *root = NULL;
    qp_status rc = yaml_path ? qp_tree_load(&root, yaml_path, err)
                             : qp_tree_parse(&root, "{}", 2, "arguments", err);
    qp_options *o = qp_xcalloc(1, sizeof *o);
    if (!rc) rc = qp_options_canonical(&qp_top_options, "", root, err);
    if (!rc) rc = qp_options_arguments(root, argc, argv, err);
    if (!rc)
        rc = qp_options_canonical(&qp_top_options, "", root,
                                  err); /* arguments may have added inner names */
    if (!rc) rc = qp_options_set(&qp_top_options, "", root, o, err);
    if (!rc) rc = resolve(o, err);
    qp_tree_free(root);
    if (rc) {
        qp_options_free(o);
        o = NULL;
    }
    *out = o;
    return rc;
}

void qp_options_free(qp_options *o)
{
    if (!o) return;
    qp_options_release(&qp_top_options, o);
    free(o);
}

void qp_options_print(const qp_options *o, qp_buf *out)
{
    for (int i = 0; i < qp_top_options.count; i++) {
        const qp_option *r = &qp_top_options.row[i];
        qp_buf_printf(out, "%s: ", r->name);
        r->kind->print(r, qp_option_field(r, o), out);
        qp_buf_char(out, '\n');
    }
}

static bool is_fixed(const qp_option *r) { return !strcmp(r->wanted, "only"); }

/* " (lora, none)": the words of a choice that this build has. */
static void help_choices(const qp_option *r, qp_buf *out)
{
    if (r->kind != &qp_kind_CHOICE) return;
    const char *before = " (";
    for (const char *w = r->wanted; *w; w += *w == '|') {
        size_t n = strcspn(w, "|");
        if (w[n - 1] != '*') {
            qp_buf_printf(out, "%s%.*s", before, (int)n, w);
            before = ", ";
        }
        w += n;
    }
    qp_buf_char(out, ')');
}

static void help_rows(const qp_option_table *tab, qp_buf *out)
{
    for (int i = 0; i < tab->count; i++) {
        const qp_option *r = &tab->row[i];
        if (is_fixed(r)) continue;
        qp_buf_printf(out, "  %-28s %s", r->name, r->help);
        help_choices(r, out);
        qp_buf_printf(out, " [%s]\n", r->fallback);
    }
}

static void help_fixed(const qp_option_table *tab, qp_buf *out)
{
    for (int i = 0; i < tab->count; i++)
        if (is_fixed(&tab->row[i])) qp_buf_printf(out, " %s", tab->row[i].name);
}

void qp_options_help(qp_buf *out)
{
    help_rows(&qp_top_options, out);
    qp_buf_str(out, "\nEach entry of datasets and test_datasets (datasets.0.path=FILE):\n");
    help_rows(&qp_source_options, out);
    qp_buf_str(out, "\nRead, but at their defaults only in this build:");
    help_fixed(&qp_top_options, out);
    help_fixed(&qp_source_options, out);
    qp_buf_char(out, '\n');
}

void qp_options_trajectory(const qp_options *o, qp_buf *out)
{
    bool fixed_rate = !strcmp(o->lr_scheduler, "constant") &&
                      (o->warmup_steps != QP_UNSET || o->warmup_ratio == 0);
    for (int i = 0; i < qp_top_options.count; i++) {
        const qp_option *r = &qp_top_options.row[i];
        if (r->trajectory == 'N' || (r->trajectory == 'S' && fixed_rate)) continue;
        qp_buf_printf(out, "%s: ", r->name);
        r->kind->print(r, qp_option_field(r, o), out);
        qp_buf_char(out, '\n');
    }
}
