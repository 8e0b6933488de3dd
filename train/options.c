/* The option table at work: reading, checking, printing. What the options are stands in
   options.def; what is particular to a kind of value stands in the kinds' rows below; nothing here
   knows a single option by name but resolve(). */
#include "train/config.h"
#include "train/sources.h"
#include "train/synonyms.h"
#include "train/tree.h"
#include "base/json.h"
#include "base/log.h"
#include <ctype.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct row row;

typedef struct {
    /* prefix: "" or "datasets.0." for messages */
    qp_status (*set)(const row *r, const char *prefix, const qp_tree *t, void *field, qp_err *err);
    void (*print)(const row *r, const void *field, qp_buf *out);
    void (*release)(void *field);
    const char *noun;
} kind;

struct row {
    const char *name;
    const kind *kind;
    size_t offset;
    const char *fallback, *wanted;
    char trajectory;
    const char *synonyms, *help;
};

static qp_status wrong(const row *r, const char *prefix, const qp_tree *t, qp_err *err,
                       const char *wanted)
{
    const char *found = t->kind == QP_TREE_MAP    ? "a map"
                        : t->kind == QP_TREE_LIST ? "a list"
                                                  : t->text;
    return qp_fail(err, QP_USAGE, "%s: %s%s: found %s, wanted %s", t->where, prefix, r->name,
                   *found ? found : "nothing", wanted);
}

static bool nullable(const row *r)
{
    return !strcmp(r->fallback, "null") || strstr(r->wanted, "null");
}

/* "[0, 1)": true when v lies in it; no interval: always. */
static bool in_interval(const char *interval, double v)
{
    char open, close;
    double lo, hi;
    if (sscanf(interval, "%c%lf, %lf%c", &open, &lo, &hi, &close) != 4) return true;
    return (open == '[' ? v >= lo : v > lo) && (close == ']' ? v <= hi : v < hi);
}

static bool number(const qp_tree *t, double *v)
{
    if (t->kind != QP_TREE_SCALAR || t->quoted || !*t->text || strpbrk(t->text, "xXpP "))
        return false;
    char *end;
    *v = strtod(t->text, &end);
    return !*end && isfinite(*v);
}

static qp_status wrong_number(const row *r, const char *prefix, const qp_tree *t, qp_err *err)
{
    char wanted[100];
    snprintf(wanted, sizeof wanted, "%s%s%s", r->kind->noun, *r->wanted ? " in " : "", r->wanted);
    return wrong(r, prefix, t, err, wanted);
}

static qp_status set_real(const row *r, const char *prefix, const qp_tree *t, void *field,
                          qp_err *err)
{
    double v = NAN;
    bool null = nullable(r) && qp_tree_is_null(t);
    if (!null && (!number(t, &v) || !in_interval(r->wanted, v)))
        return wrong_number(r, prefix, t, err);
    *(double *)field = v;
    return QP_OK;
}

static qp_status set_int(const row *r, const char *prefix, const qp_tree *t, void *field,
                         qp_err *err)
{
    double v = 0;
    bool null = nullable(r) && qp_tree_is_null(t);
    if (!null && (!number(t, &v) || v != floor(v) || fabs(v) > 9e15 || !in_interval(r->wanted, v)))
        return wrong_number(r, prefix, t, err);
    *(int64_t *)field = null ? QP_UNSET : (int64_t)v;
    return QP_OK;
}

static qp_status set_count(const row *r, const char *prefix, const qp_tree *t, void *field,
                           qp_err *err)
{
    if (t->kind == QP_TREE_SCALAR && !strcmp(t->text, "auto")) {
        *(int64_t *)field = 0;
        return QP_OK;
    }
    return set_int(r, prefix, t, field, err);
}

/* Number with one letter after it; letters and factors run in step. */
static bool with_unit(const char *text, const char *letters, const double *factors, double *v,
                      const char **rest)
{
    char *end;
    if (!isdigit((unsigned char)*text) && *text != '.') return false;
    *v = strtod(text, &end);
    const char *unit = *end ? strchr(letters, tolower((unsigned char)*end)) : NULL;
    if (*end && !unit) return false;
    if (unit) *v *= factors[unit - letters];
    *rest = end + (unit != NULL);
    return true;
}

static qp_status set_size(const row *r, const char *prefix, const qp_tree *t, void *field,
                          qp_err *err)
{
    static const double bytes[] = { 1024., 1048576., 1073741824., 1099511627776. };
    double v = 0;
    const char *rest = "";
    bool good = t->kind == QP_TREE_SCALAR &&
                (!strcmp(t->text, "auto") ||
                 (with_unit(t->text, "kmgt", bytes, &v, &rest) && v >= 1 && v < 9e15));
    if (!good || (*rest && strcmp(rest, "B") && strcmp(rest, "iB")))
        return wrong(r, prefix, t, err, "auto or a size such as 8G");
    *(int64_t *)field = (int64_t)v;
    return QP_OK;
}

static qp_status set_time(const row *r, const char *prefix, const qp_tree *t, void *field,
                          qp_err *err)
{
    static const double seconds[] = { 1, 60, 3600, 86400 };
    double sum = 0, v;
    if (qp_tree_is_null(t)) {
        *(double *)field = NAN;
        return QP_OK;
    }
    const char *at = t->kind == QP_TREE_SCALAR ? t->text : "";
    bool good = *at;
    for (; good && *at; sum += v) good = with_unit(at, "smhd", seconds, &v, &at);
    if (!good || !(sum > 0) || sum > 1e10)
        return wrong(r, prefix, t, err, "seconds, or a time such as 90m or 1h30m");
    *(double *)field = sum;
    return QP_OK;
}

static qp_status set_text(const row *r, const char *prefix, const qp_tree *t, void *field,
                          qp_err *err)
{
    bool null = qp_tree_is_null(t);
    if (t->kind != QP_TREE_SCALAR || (null && !nullable(r)))
        return wrong(r, prefix, t, err, r->kind->noun);
    *(char **)field = null ? NULL : qp_xstrdup(t->text);
    return QP_OK;
}

/* "a, b or c" of the choices this build has. */
static void known_choices(const row *r, char *out, size_t cap)
{
    size_t at = 0;
    for (const char *s = r->wanted; *s && at + 40 < cap;) {
        size_t n = strcspn(s, "*|");
        if (s[n] != '*')
            at += (size_t)snprintf(out + at, cap - at, "%s%.*s", at ? ", " : "", (int)n, s);
        s += n + (s[n] == '*');
        if (*s) s++;
    }
}

static qp_status set_choice(const row *r, const char *prefix, const qp_tree *t, void *field,
                            qp_err *err)
{
    char known[300];
    known_choices(r, known, sizeof known);
    *(char **)field = NULL;
    if (nullable(r) && qp_tree_is_null(t)) return QP_OK;
    for (const char *s = r->wanted; t->kind == QP_TREE_SCALAR && *s;) {
        size_t n = strcspn(s, "*|");
        bool absent = s[n] == '*';
        if (strlen(t->text) == n && !strncasecmp(t->text, s, n)) {
            if (absent)
                return qp_fail(err, QP_USAGE,
                               "%s: %s%s: %.*s is not available in this build; known: %s", t->where,
                               prefix, r->name, (int)n, s, known);
            *(char **)field = qp_xformat("%.*s", (int)n, s);
            return QP_OK;
        }
        s += n + absent;
        if (*s) s++;
    }
    char wanted[400];
    snprintf(wanted, sizeof wanted, "one of %s", known);
    return wrong(r, prefix, t, err, wanted);
}

static qp_status set_bool(const row *r, const char *prefix, const qp_tree *t, void *field,
                          qp_err *err)
{
    static const char *const words[] = { "false", "true", "no", "yes", "off", "on" };
    for (int i = 0; t->kind == QP_TREE_SCALAR && !t->quoted && i < 6; i++)
        if (!strcasecmp(t->text, words[i])) {
            *(bool *)field = i & 1;
            return QP_OK;
        }
    return wrong(r, prefix, t, err, r->kind->noun);
}

static void add_string(qp_strings *s, char *text)
{
    s->v = qp_xrealloc(s->v, (size_t)s->n + 1, sizeof *s->v);
    s->v[s->n++] = text;
}

/* A list of single values; one value with commas is a list too, for the command line's sake. */
static qp_status set_list(const row *r, const char *prefix, const qp_tree *t, void *field,
                          qp_err *err)
{
    qp_strings *s = field;
    *s = (qp_strings){ 0 };
    if (t->kind == QP_TREE_MAP) return wrong(r, prefix, t, err, r->kind->noun);
    if (t->kind == QP_TREE_SCALAR && !qp_tree_is_null(t)) {
        char *copy = qp_xstrdup(t->text), *rest = copy, *part;
        while ((part = strsep(&rest, ",")))
            if (*(part += strspn(part, " ")))
                add_string(s, qp_xformat("%.*s", (int)strcspn(part, " "), part));
        free(copy);
    }
    for (const qp_tree *c = t->child; c; c = c->next) {
        if (c->kind != QP_TREE_SCALAR) return wrong(r, prefix, c, err, "a list of single values");
        add_string(s, qp_xstrdup(c->text));
    }
    return QP_OK;
}

static qp_status set_map(const row *r, const char *prefix, const qp_tree *t, void *field,
                         qp_err *err)
{
    qp_buf json = { 0 };
    if (t->kind != QP_TREE_MAP && !qp_tree_is_null(t))
        return wrong(r, prefix, t, err, r->kind->noun);
    t->kind == QP_TREE_MAP ? qp_tree_json(t, &json) : qp_buf_str(&json, "{}");
    *(char **)field = json.data;
    return QP_OK;
}

/* Shortest that reads back the same. */
static void print_double(double v, qp_buf *out)
{
    char s[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(s, sizeof s, "%.*g", digits, v);
        if (strtod(s, NULL) == v) break;
    }
    qp_buf_str(out, s);
    if (!strpbrk(s, ".e")) qp_buf_str(out, ".0");
}

static void print_real(const row *r, const void *field, qp_buf *out)
{
    (void)r;
    double v = *(const double *)field;
    isnan(v) ? qp_buf_str(out, "null") : print_double(v, out);
}

static void print_int(const row *r, const void *field, qp_buf *out)
{
    (void)r;
    int64_t v = *(const int64_t *)field;
    v == QP_UNSET ? qp_buf_str(out, "null") : qp_buf_printf(out, "%lld", (long long)v);
}

static void print_auto(const row *r, const void *field, qp_buf *out)
{
    *(const int64_t *)field ? print_int(r, field, out) : qp_buf_str(out, "auto");
}

static void print_bool(const row *r, const void *field, qp_buf *out)
{
    (void)r;
    qp_buf_str(out, *(const bool *)field ? "true" : "false");
}

/* Plain where YAML surely reads it back as the same text, else in JSON's quotes, which are YAML's
 * too. */
static void print_string(const char *s, qp_buf *out)
{
    bool plain =
        isalpha((unsigned char)*s) || *s == '/' || (*s == '.' && !isdigit((unsigned char)s[1]));
    for (const char *p = s; *p; p++)
        plain = plain && (isalnum((unsigned char)*p) || strchr("_-./+", *p));
    qp_tree t = { .kind = QP_TREE_SCALAR, .text = (char *)s };
    if (plain && !qp_tree_is_null(&t)) {
        qp_buf_str(out, s);
    } else {
        qp_json_writer w = { .out = out };
        qp_json_cstring(&w, s);
    }
}

static void print_text(const row *r, const void *field, qp_buf *out)
{
    (void)r;
    const char *s = *(char *const *)field;
    s ? print_string(s, out) : qp_buf_str(out, "null");
}

static void print_list(const row *r, const void *field, qp_buf *out)
{
    (void)r;
    const qp_strings *s = field;
    qp_buf_char(out, '[');
    for (int i = 0; i < s->n; i++) {
        if (i) qp_buf_str(out, ", ");
        print_string(s->v[i], out);
    }
    qp_buf_char(out, ']');
}

static void print_map(const row *r, const void *field, qp_buf *out)
{
    (void)r;
    qp_buf_str(out, *(char *const *)field);
}

static void release_none(void *field) { (void)field; }
static void release_text(void *field) { free(*(char **)field); }
static void release_list(void *field)
{
    qp_strings *s = field;
    for (int i = 0; i < s->n; i++) free(s->v[i]);
    free(s->v);
}

static qp_status set_sources(const row *r, const char *prefix, const qp_tree *t, void *field,
                             qp_err *err);
static void print_sources(const row *r, const void *field, qp_buf *out);
static void release_sources(void *field);

static const kind TEXT = { set_text, print_text, release_text, "a text" },
                  CHOICE = { set_choice, print_text, release_text, "a word" },
                  INT = { set_int, print_int, release_none, "a whole number" },
                  REAL = { set_real, print_real, release_none, "a number" },
                  COUNT = { set_count, print_auto, release_none, "auto or a whole number" },
                  SIZE = { set_size, print_auto, release_none, "a size" },
                  TIME = { set_time, print_real, release_none, "a time" },
                  BOOL = { set_bool, print_bool, release_none, "true or false" },
                  LIST = { set_list, print_list, release_list, "a list" },
                  MAP = { set_map, print_map, release_text, "a map" },
                  SOURCES = { set_sources, print_sources, release_sources,
                              "a list of maps with a path" };

static const row options[] = {
#define OPT(k, name, fallback, wanted, trajectory, synonyms, help)                                 \
    { #name, &k, offsetof(qp_options, name), fallback, wanted, #trajectory[0], synonyms, help },
#include "train/options.def"
};
static const row source_options[] = {
#define SRC(k, name, fallback, wanted, trajectory, synonyms, help)                                 \
    { #name, &k, offsetof(qp_dataset, name), fallback, wanted, #trajectory[0], synonyms, help },
#include "train/options.def"
};

typedef struct {
    const row *row;
    int count;
} table;
static const table top_table = { options, sizeof options / sizeof *options };
static const table source_table = { source_options,
                                    sizeof source_options / sizeof *source_options };

static void *field_of(const row *r, const void *base) { return (char *)base + r->offset; }

/* "only" rows take nothing but their default, judged by how it prints. */
static qp_status check_only(const row *r, const char *prefix, const qp_tree *t, const void *base,
                            qp_err *err)
{
    qp_buf now = { 0 };
    r->kind->print(r, field_of(r, base), &now);
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
static qp_status set_all(const table *tab, const char *prefix, const qp_tree *map, void *base,
                         qp_err *err)
{
    qp_status rc = QP_OK;
    for (int i = 0; !rc && i < tab->count; i++) {
        const row *r = &tab->row[i];
        const qp_tree *given = map ? qp_tree_get(map, r->name) : NULL;
        if (given) {
            rc = r->kind->set(r, prefix, given, field_of(r, base), err);
            if (!rc && !strcmp(r->wanted, "only")) rc = check_only(r, prefix, given, base, err);
        } else {
            qp_tree *fallback;
            rc = qp_tree_parse(&fallback, r->fallback, strlen(r->fallback), "default", err);
            if (!rc) rc = r->kind->set(r, prefix, fallback, field_of(r, base), err);
            qp_tree_free(fallback);
        }
    }
    return rc;
}

static void release_all(const table *tab, void *base)
{
    for (int i = 0; i < tab->count; i++) tab->row[i].kind->release(field_of(&tab->row[i], base));
}

static qp_status set_sources(const row *r, const char *prefix, const qp_tree *t, void *field,
                             qp_err *err)
{
    qp_field_SOURCES *s = field;
    *s = (qp_field_SOURCES){ 0 };
    (void)prefix;
    if (qp_tree_is_null(t)) return QP_OK;
    if (t->kind != QP_TREE_LIST) return wrong(r, "", t, err, r->kind->noun);
    for (const qp_tree *c = t->child; c; c = c->next) {
        char inner[64];
        snprintf(inner, sizeof inner, "%s.%d.", r->name, s->n);
        if (c->kind != QP_TREE_MAP) return wrong(r, "", c, err, r->kind->noun);
        s->v = qp_xrealloc(s->v, (size_t)s->n + 1, sizeof *s->v);
        s->v[s->n] = (qp_dataset){ 0 };
        qp_status rc = set_all(&source_table, inner, c, &s->v[s->n++], err);
        if (!rc && !s->v[s->n - 1].path)
            rc = qp_fail(err, QP_USAGE, "%s: %spath is missing", c->where, inner);
        if (rc) return rc;
    }
    return QP_OK;
}

static void print_sources(const row *r, const void *field, qp_buf *out)
{
    const qp_field_SOURCES *s = field;
    (void)r;
    if (!s->n) qp_buf_str(out, "[]");
    for (int i = 0; i < s->n; i++)
        for (int k = 0; k < source_table.count; k++) {
            const row *in = &source_table.row[k];
            qp_buf_printf(out, "\n  %c %s: ", k ? ' ' : '-', in->name);
            in->kind->print(in, field_of(in, &s->v[i]), out);
        }
}

static void release_sources(void *field)
{
    qp_field_SOURCES *s = field;
    for (int i = 0; i < s->n; i++) release_all(&source_table, &s->v[i]);
    free(s->v);
}

/* --- names: canonical, synonyms, near misses
 * ------------------------------------------------------------------ */

static const row *find_row(const table *tab, const char *name, bool *synonym)
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

static int min3(int a, int b, int c) { return a < b ? (a < c ? a : c) : (b < c ? b : c); }

/* Levenshtein's distance, by two rows. */
static int distance(const char *a, const char *b, int nb)
{
    int na = (int)strlen(a), prev[128], cur[128];
    if (nb > 127) nb = 127;
    for (int j = 0; j <= nb; j++) prev[j] = j;
    for (int i = 1; i <= na; i++) {
        cur[0] = i;
        for (int j = 1; j <= nb; j++)
            cur[j] = min3(prev[j] + 1, cur[j - 1] + 1, prev[j - 1] + (a[i - 1] != b[j - 1]));
        memcpy(prev, cur, sizeof prev);
    }
    return prev[nb];
}

static const char *nearest(const table *tab, const char *name)
{
    const char *best = tab->row[0].name;
    int least = 1 << 30;
    for (int i = 0; i < tab->count; i++) {
        const row *r = &tab->row[i];
        int d = distance(name, r->name, (int)strlen(r->name));
        for (const char *s = r->synonyms; *s; s += strspn(s, " ")) {
            int k = (int)strcspn(s, " "), e = distance(name, s, k);
            if (e < d) d = e;
            s += k;
        }
        if (d < least) least = d, best = r->name;
    }
    return best;
}

static qp_status unknown_key(const table *tab, const char *prefix, const char *key,
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

static qp_status canonical(const table *tab, const char *prefix, qp_tree *map, qp_err *err);

/* One entry under its canonical name into `out`; takes t. */
static qp_status adopt(const table *tab, const char *prefix, qp_tree *t, qp_tree *out, qp_err *err)
{
    bool synonym;
    const row *r = find_row(tab, t->key, &synonym);
    qp_status rc = QP_OK;
    if (!r) {
        rc = unknown_key(tab, prefix, t->key, t->where, err);
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
        for (qp_tree *c = t->child; !rc && r->kind == &SOURCES && t->kind == QP_TREE_LIST && c;
             c = c->next, i++) {
            char inner[64];
            snprintf(inner, sizeof inner, "%s.%d.", r->name, i);
            if (c->kind == QP_TREE_MAP) rc = canonical(&source_table, inner, c, err);
        }
    }
    rc ? qp_tree_free(t) : qp_tree_append(out, t);
    return rc;
}

/* A section of another tool's file, such as train: {micro_batch_size: 4}: its entries by their
 * dotted names. */
static bool is_section(const table *tab, const qp_tree *t)
{
    bool synonym;
    const row *r = find_row(tab, t->key, &synonym);
    return t->kind == QP_TREE_MAP && t->child && (!r || (r->kind != &MAP && r->kind != &SOURCES));
}

static qp_status adopt_section(const table *tab, const char *prefix, qp_tree *section, qp_tree *out,
                               qp_err *err)
{
    qp_status rc = QP_OK;
    bool synonym, any = false;
    for (qp_tree *c = section->child; c && !any; c = c->next) {
        char *dotted = qp_xformat("%s.%s", section->key, c->key);
        any = find_row(tab, dotted, &synonym);
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
static qp_status canonical(const table *tab, const char *prefix, qp_tree *map, qp_err *err)
{
    qp_tree out = { .kind = QP_TREE_MAP };
    qp_status rc = qp_replace_words(map, tab == &source_table, err);
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

/* --- arguments
 * ------------------------------------------------------------------------------------------------
 */

/* The canonical spelling of a dotted path: synonyms may be dotted themselves. */
static qp_status canonical_path(const char *path, const char *where, char **out, qp_err *err)
{
    bool synonym;
    const row *r = find_row(&top_table, path, &synonym);
    if (r) {
        if (synonym) qp_info("%s is called %s here", path, r->name);
        *out = qp_xstrdup(r->name);
        return QP_OK;
    }
    size_t head = strcspn(path, ".");
    char *first = qp_xformat("%.*s", (int)head, path);
    r = find_row(&top_table, first, &synonym);
    qp_status rc = QP_OK;
    if (r && path[head] && (r->kind == &SOURCES || r->kind == &MAP))
        *out = qp_xformat("%s%s", r->name, path + head);
    else
        rc = unknown_key(&top_table, "", path, where, err);
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
static qp_status set_arguments(qp_tree *root, int argc, char *const *argv, qp_err *err)
{
    qp_status rc = QP_OK;
    for (int i = 0; !rc && i < argc; i++) {
        bool dashed = !strncmp(argv[i], "--", 2), synonym;
        char *key = qp_xstrdup(argv[i] + (dashed ? 2 : 0)), *value = strchr(key, '=');
        if (value) *value++ = 0;
        for (char *p = key; dashed && *p; p++)
            if (*p == '-') *p = '_';
        const row *r = find_row(&top_table, key, &synonym);
        bool next_is_value = i + 1 < argc && strncmp(argv[i + 1], "--", 2);
        if (value) {
            rc = set_argument(root, key, value, err);
        } else if (dashed && r && r->kind == &BOOL && !next_is_value) {
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

/* --- the whole
 * ------------------------------------------------------------------------------------------------
 */

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
    if (!strcmp(o->load_in, "f64") != !strcmp(o->dtype, "f64"))
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
    if (!rc) rc = canonical(&top_table, "", root, err);
    if (!rc) rc = set_arguments(root, argc, argv, err);
    if (!rc) rc = canonical(&top_table, "", root, err); /* arguments may have added inner names */
    if (!rc) rc = set_all(&top_table, "", root, o, err);
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
    release_all(&top_table, o);
    free(o);
}

void qp_options_print(const qp_options *o, qp_buf *out)
{
    for (int i = 0; i < top_table.count; i++) {
        const row *r = &top_table.row[i];
        qp_buf_printf(out, "%s: ", r->name);
        r->kind->print(r, field_of(r, o), out);
        qp_buf_char(out, '\n');
    }
}

void qp_options_help(qp_buf *out)
{
    for (int i = 0; i < top_table.count; i++) {
        const row *r = &top_table.row[i];
        qp_buf_printf(out, "  %-28s %s [%s]\n", r->name, r->help, r->fallback);
    }
}

void qp_options_trajectory(const qp_options *o, qp_buf *out)
{
    bool fixed_rate = !strcmp(o->lr_scheduler, "constant") &&
                      (o->warmup_steps != QP_UNSET || o->warmup_ratio == 0);
    for (int i = 0; i < top_table.count; i++) {
        const row *r = &top_table.row[i];
        if (r->trajectory == 'N' || (r->trajectory == 'S' && fixed_rate)) continue;
        qp_buf_printf(out, "%s: ", r->name);
        r->kind->print(r, field_of(r, o), out);
        qp_buf_char(out, '\n');
    }
}
