#include "train/option.h"
#include "base/json.h"
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

qp_status qp_option_wrong(const qp_option *r, const char *prefix, const qp_tree *t, qp_err *err,
                          const char *wanted)
{
    const char *found = t->kind == QP_TREE_MAP    ? "a map"
                        : t->kind == QP_TREE_LIST ? "a list"
                                                  : t->text;
    /* cut: a message holds a thousand bytes, and what was wanted comes last */
    return qp_fail(err, QP_USAGE, "%.200s: %s%s: found %.60s%s, wanted %s", t->where, prefix,
                   r->name, *found ? found : "nothing", strlen(found) > 60 ? "..." : "", wanted);
}

static bool nullable(const qp_option *r)
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

static qp_status wrong_number(const qp_option *r, const char *prefix, const qp_tree *t, qp_err *err)
{
    char wanted[100];
    snprintf(wanted, sizeof wanted, "%s%s%s", r->kind->noun, *r->wanted ? " in " : "", r->wanted);
    return qp_option_wrong(r, prefix, t, err, wanted);
}

static qp_status set_real(const qp_option *r, const char *prefix, const qp_tree *t, void *field,
                          qp_err *err)
{
    double v = NAN;
    bool null = nullable(r) && qp_tree_is_null(t);
    if (!null && (!number(t, &v) || !in_interval(r->wanted, v)))
        return wrong_number(r, prefix, t, err);
    *(double *)field = v;
    return QP_OK;
}

static qp_status set_int(const qp_option *r, const char *prefix, const qp_tree *t, void *field,
                         qp_err *err)
{
    double v = 0;
    bool null = nullable(r) && qp_tree_is_null(t);
    if (!null && (!number(t, &v) || v != floor(v) || fabs(v) > 9e15 || !in_interval(r->wanted, v)))
        return wrong_number(r, prefix, t, err);
    *(int64_t *)field = null ? QP_UNSET : (int64_t)v;
    return QP_OK;
}

static qp_status set_count(const qp_option *r, const char *prefix, const qp_tree *t, void *field,
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

static qp_status set_size(const qp_option *r, const char *prefix, const qp_tree *t, void *field,
                          qp_err *err)
{
    static const double bytes[] = { 1024., 1048576., 1073741824., 1099511627776. };
    double v = 0;
    const char *rest = "";
    bool good = t->kind == QP_TREE_SCALAR &&
                (!strcmp(t->text, "auto") ||
                 (with_unit(t->text, "kmgt", bytes, &v, &rest) && v >= 1 && v < 9e15));
    if (!good || (*rest && strcmp(rest, "B") && strcmp(rest, "iB")))
        return qp_option_wrong(r, prefix, t, err, "auto or a size such as 8G");
    *(int64_t *)field = (int64_t)v;
    return QP_OK;
}

static qp_status set_time(const qp_option *r, const char *prefix, const qp_tree *t, void *field,
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
        return qp_option_wrong(r, prefix, t, err, "seconds, or a time such as 90m or 1h30m");
    *(double *)field = sum;
    return QP_OK;
}

static qp_status set_text(const qp_option *r, const char *prefix, const qp_tree *t, void *field,
                          qp_err *err)
{
    bool null = qp_tree_is_null(t);
    if (t->kind != QP_TREE_SCALAR || (null && !nullable(r)))
        return qp_option_wrong(r, prefix, t, err, r->kind->noun);
    *(char **)field = null ? NULL : qp_xstrdup(t->text);
    return QP_OK;
}

/* "a, b or c" of the choices this build has. */
static void known_choices(const qp_option *r, char *out, size_t cap)
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

static qp_status set_choice(const qp_option *r, const char *prefix, const qp_tree *t, void *field,
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
    return qp_option_wrong(r, prefix, t, err, wanted);
}

static qp_status set_bool(const qp_option *r, const char *prefix, const qp_tree *t, void *field,
                          qp_err *err)
{
    static const char *const words[] = { "false", "true", "no", "yes", "off", "on" };
    for (int i = 0; t->kind == QP_TREE_SCALAR && !t->quoted && i < 6; i++)
        if (!strcasecmp(t->text, words[i])) {
            *(bool *)field = i & 1;
            return QP_OK;
        }
    return qp_option_wrong(r, prefix, t, err, r->kind->noun);
}

static void add_string(qp_strings *s, char *text)
{
    s->v = qp_xrealloc(s->v, (size_t)s->n + 1, sizeof *s->v);
    s->v[s->n++] = text;
}

/* A list of single values; one value with commas is a list too, for the command line's sake. */
static qp_status set_list(const qp_option *r, const char *prefix, const qp_tree *t, void *field,
                          qp_err *err)
{
    qp_strings *s = field;
    *s = (qp_strings){ 0 };
    if (t->kind == QP_TREE_MAP) return qp_option_wrong(r, prefix, t, err, r->kind->noun);
    if (t->kind == QP_TREE_SCALAR && !qp_tree_is_null(t)) {
        char *copy = qp_xstrdup(t->text), *rest = copy, *part;
        while ((part = strsep(&rest, ",")))
            if (*(part += strspn(part, " ")))
                add_string(s, qp_xformat("%.*s", (int)strcspn(part, " "), part));
        free(copy);
    }
    for (const qp_tree *c = t->child; c; c = c->next) {
        if (c->kind != QP_TREE_SCALAR)
            return qp_option_wrong(r, prefix, c, err, "a list of single values");
        add_string(s, qp_xstrdup(c->text));
    }
    return QP_OK;
}

static qp_status set_map(const qp_option *r, const char *prefix, const qp_tree *t, void *field,
                         qp_err *err)
{
    qp_buf json = { 0 };
    if (t->kind != QP_TREE_MAP && !qp_tree_is_null(t))
        return qp_option_wrong(r, prefix, t, err, r->kind->noun);
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

static void print_real(const qp_option *r, const void *field, qp_buf *out)
{
    (void)r;
    double v = *(const double *)field;
    isnan(v) ? qp_buf_str(out, "null") : print_double(v, out);
}

static void print_int(const qp_option *r, const void *field, qp_buf *out)
{
    (void)r;
    int64_t v = *(const int64_t *)field;
    v == QP_UNSET ? qp_buf_str(out, "null") : qp_buf_printf(out, "%lld", (long long)v);
}

static void print_auto(const qp_option *r, const void *field, qp_buf *out)
{
    *(const int64_t *)field ? print_int(r, field, out) : qp_buf_str(out, "auto");
}

static void print_bool(const qp_option *r, const void *field, qp_buf *out)
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

static void print_text(const qp_option *r, const void *field, qp_buf *out)
{
    (void)r;
    const char *s = *(char *const *)field;
    s ? print_string(s, out) : qp_buf_str(out, "null");
}

static void print_list(const qp_option *r, const void *field, qp_buf *out)
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

static void print_map(const qp_option *r, const void *field, qp_buf *out)
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

const qp_option_kind qp_kind_TEXT = { set_text, print_text, release_text, "a text" };
const qp_option_kind qp_kind_CHOICE = { set_choice, print_text, release_text, "a word" };
const qp_option_kind qp_kind_INT = { set_int, print_int, release_none, "a whole number" };
const qp_option_kind qp_kind_REAL = { set_real, print_real, release_none, "a number" };
const qp_option_kind qp_kind_COUNT = { set_count, print_auto, release_none,
                                       "auto or a whole number" };
const qp_option_kind qp_kind_SIZE = { set_size, print_auto, release_none, "a size" };
const qp_option_kind qp_kind_TIME = { set_time, print_real, release_none, "a time" };
const qp_option_kind qp_kind_BOOL = { set_bool, print_bool, release_none, "true or false" };
const qp_option_kind qp_kind_LIST = { set_list, print_list, release_list, "a list" };
const qp_option_kind qp_kind_MAP = { set_map, print_map, release_text, "a map" };
