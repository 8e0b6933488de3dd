#include "cli/args.h"
#include "base/buf.h"
#include "base/word.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool same_name(const char *name, const char *given, size_t len)
{
    if (strlen(name) != len) return false;
    for (size_t i = 0; i < len; i++)
        if (name[i] != given[i] && !(name[i] == '-' && given[i] == '_')) return false;
    return true;
}

static qp_status unknown(const qp_usage *u, const char *given, size_t len, qp_err *err)
{
    const char *nearest = NULL;
    int least = 0;
    for (int i = 0; i <= u->n; i++) {
        const char *name = i < u->n ? u->arg[i].name : "help";
        int d = qp_word_distance(name, strlen(name), given, len);
        if (!nearest || d < least) least = d, nearest = name;
    }
    return qp_fail(err, QP_USAGE, "unknown option --%.*s (nearest: --%s; --help lists all)",
                   (int)len, given, nearest);
}

static void print_help(const qp_usage *u)
{
    printf("usage: quipu %s%s%s [options]\n\n%s\n\n", u->command, u->positional ? " " : "",
           u->positional ? u->positional : "", u->summary);
    for (int i = 0; i <= u->n; i++) {
        static const qp_arg help = { "help", 'h', QP_ARG_FLAG, NULL, NULL, "this page" };
        const qp_arg *a = i < u->n ? &u->arg[i] : &help;
        char left[64], letter[8] = "    ";
        if (a->letter) snprintf(letter, sizeof letter, "-%c, ", a->letter);
        snprintf(left, sizeof left, "%s--%s %s", letter, a->name, a->value ? a->value : "");
        printf("  %-30s %s\n", left, a->help);
    }
    printf("\nexample:\n  %s\n", u->example);
}

static qp_status set_number(const qp_arg *a, const char *text, qp_err *err)
{
    char *end;
    errno = 0;
    if (a->kind == QP_ARG_INT)
        *(int64_t *)a->to = strtoll(text, &end, 10);
    else
        *(double *)a->to = strtod(text, &end);
    if (end != text && !*end && !errno && (a->kind == QP_ARG_INT || isfinite(*(double *)a->to)))
        return QP_OK;
    return qp_fail(err, QP_USAGE, "--%s %s: wanted %s", a->name, text,
                   a->kind == QP_ARG_INT ? "a whole number" : "a number");
}

static void append(qp_list *l, const char *text)
{
    l->item = qp_xrealloc(l->item, (size_t)l->n + 1, sizeof *l->item);
    l->item[l->n++] = text;
}

static qp_status set(const qp_arg *a, const char *text, qp_err *err)
{
    if (a->kind == QP_ARG_TEXT)
        *(const char **)a->to = text;
    else if (a->kind == QP_ARG_LIST)
        append(a->to, text);
    else
        return set_number(a, text, err);
    return QP_OK;
}

/* The row that argv's text names, or NULL; *value points behind '=' if there is one. */
static const qp_arg *find(const qp_usage *u, const char *text, const char **value)
{
    bool is_long = text[1] == '-';
    const char *name = text + (is_long ? 2 : 1), *equals = is_long ? strchr(name, '=') : NULL;
    size_t len = equals ? (size_t)(equals - name) : strlen(name);
    *value = equals ? equals + 1 : NULL;
    for (int i = 0; i < u->n; i++) {
        const qp_arg *a = &u->arg[i];
        if (is_long ? same_name(a->name, name, len) : a->letter && a->letter == name[0] && !name[1])
            return a;
    }
    return NULL;
}

static qp_status parse_option(const qp_usage *u, int argc, char **argv, int *at, qp_err *err)
{
    const char *text = argv[*at], *value;
    const qp_arg *a = find(u, text, &value);
    if (!a && text[1] == '-') return unknown(u, text + 2, strcspn(text + 2, "="), err);
    if (!a) return qp_fail(err, QP_USAGE, "unknown option %s (--help lists all)", text);
    if (a->kind == QP_ARG_FLAG) {
        if (value) return qp_fail(err, QP_USAGE, "--%s takes no value", a->name);
        *(bool *)a->to = true;
        return QP_OK;
    }
    if (!value && *at + 1 < argc) value = argv[++*at];
    if (!value) return qp_fail(err, QP_USAGE, "--%s wants a value: %s", a->name, a->value);
    return set(a, value, err);
}

qp_status qp_args_parse(const qp_usage *u, int argc, char **argv, bool *done, qp_err *err)
{
    bool options = true;
    *done = false;
    for (int i = 1; i < argc; i++) {
        const char *text = argv[i];
        qp_status rc = QP_OK;
        if (options && (!strcmp(text, "--help") || !strcmp(text, "-h"))) {
            print_help(u);
            *done = true;
            return QP_OK;
        }
        if (options && !strcmp(text, "--"))
            options = false;
        else if (options && text[0] == '-' && text[1])
            rc = parse_option(u, argc, argv, &i, err);
        else if (u->positional)
            append(u->rest, text);
        else
            rc = qp_fail(err, QP_USAGE, "\"%s\": unexpected (--help shows what is)", text);
        if (rc) return rc;
    }
    return QP_OK;
}

int qp_exit_code(const char *command, qp_status rc, const qp_err *err)
{
    if (rc) fprintf(stderr, "quipu %s: %s\n", command, err->msg);
    return (int)rc;
}
