/* The pull reader. A stack of one byte a level says what may come next, so there is no recursion.
 */
#include "base/json.h"
#include "base/utf8.h"
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH = 64 };
enum {
    TOP_VALUE,
    DONE,
    FIRST_ITEM, /* an array's: a value or ] */
    ITEM,
    AFTER_ITEM,
    FIRST_KEY, /* an object's: a key or } */
    KEY,
    MEMBER,
    AFTER_MEMBER
};

void qp_json_init(qp_json *j, const char *text, size_t len, qp_err *err)
{
    *j = (qp_json){ .text = text, .at = text, .start = text, .end = text + len, .err = err };
    j->state[0] = TOP_VALUE;
}

void qp_json_release(qp_json *j)
{
    qp_buf_release(&j->str);
    *j = (qp_json){ 0 };
}

/* Reports what is wrong at `at`, by line only when there are several. */
static qp_json_kind refuse(qp_json *j, const char *at, const char *what)
{
    int line = 1;
    const char *begin = j->text;
    for (const char *c = j->text; c < at; c++)
        if (*c == '\n') line++, begin = c + 1;
    long long column = at - begin + 1;
    if (line > 1)
        qp_fail(j->err, QP_BADFILE, "line %d, column %lld: %s", line, column, what);
    else
        qp_fail(j->err, QP_BADFILE, "column %lld: %s", column, what);
    return j->kind = QP_JSON_ERROR;
}

static qp_json_kind unexpected(qp_json *j, const char *wanted)
{
    char what[80];
    uint8_t c = j->at < j->end ? (uint8_t)*j->at : 0;
    if (j->at == j->end)
        snprintf(what, sizeof what, "%s wanted, found the end of the text", wanted);
    else if (c > 0x20 && c < 0x7F)
        snprintf(what, sizeof what, "%s wanted, found '%c'", wanted, c);
    else
        snprintf(what, sizeof what, "%s wanted, found byte 0x%02X", wanted, c);
    return refuse(j, j->at, what);
}

/* Four hexadecimal digits after \u, or -1. */
static int32_t hex4(qp_json *j)
{
    int32_t v = 0;
    for (int i = 0; i < 4; i++, j->at++) {
        if (j->at == j->end) return -1;
        int c = *j->at, low = c | 0x20;
        if (c >= '0' && c <= '9')
            v = v << 4 | (c - '0');
        else if (low >= 'a' && low <= 'f')
            v = v << 4 | (low - 'a' + 10);
        else
            return -1;
    }
    return v;
}

/* After \u: the code point, two escapes for those above U+FFFF. */
static bool unicode_escape(qp_json *j, const char *from)
{
    int32_t c = hex4(j);
    if (c >= 0xD800 && c < 0xDC00 && j->end - j->at > 2 && j->at[0] == '\\' && j->at[1] == 'u') {
        j->at += 2;
        int32_t low = hex4(j);
        c = low >= 0xDC00 && low < 0xE000 ? 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00)
                                          : 0xD800;
    }
    if (c < 0)
        refuse(j, from, "\\u wants four hexadecimal digits");
    else if (c >= 0xD800 && c < 0xE000)
        refuse(j, from, "half of a surrogate pair");
    if (j->kind == QP_JSON_ERROR) return false;
    char utf8[4];
    qp_buf_add(&j->str, utf8, (size_t)qp_utf8_put(utf8, (uint32_t)c));
    return true;
}

static bool escape(qp_json *j)
{
    const char *from = j->at++; /* at the backslash */
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    char c = j->at < j->end ? *j->at++ : '\0';
    if (c == 'u') return unicode_escape(j, from);
    const char *name = c ? strchr(names, c) : NULL;
    if (!name) return refuse(j, from, "unknown escape"), false;
    qp_buf_char(&j->str, values[name - names]);
    return true;
}

/* At the opening quote; leaves the text in j->str. */
static bool string(qp_json *j)
{
    qp_buf_clear(&j->str);
    j->at++;
    for (;;) {
        const char *from = j->at;
        while (j->at < j->end && (uint8_t)*j->at >= 0x20 && *j->at != '"' && *j->at != '\\') {
            int n = qp_utf8_length(j->at, j->end);
            if (!n) return refuse(j, j->at, "invalid UTF-8 in a string"), false;
            j->at += n;
        }
        qp_buf_add(&j->str, from, (size_t)(j->at - from));
        if (j->at == j->end) return refuse(j, j->start, "string without an end"), false;
        if (*j->at == '"') return j->at++, true;
        if (*j->at != '\\') return refuse(j, j->at, "control character in a string"), false;
        if (!escape(j)) return false;
    }
}

static const char *digits(const char *c, const char *end)
{
    while (c < end && *c >= '0' && *c <= '9') c++;
    return c;
}

/* The end of the number at c by the grammar, or NULL; `whole`: no fraction, no exponent. */
static const char *number_end(const char *c, const char *end, bool *whole)
{
    if (c < end && *c == '-') c++;
    const char *from = c;
    c = digits(c, end);
    if (c == from || (*from == '0' && c - from > 1)) return NULL;
    *whole = true;
    if (c < end && *c == '.') {
        from = ++c;
        c = digits(c, end);
        if (c == from) return NULL;
        *whole = false;
    }
    if (c < end && (*c == 'e' || *c == 'E')) {
        c++;
        if (c < end && (*c == '+' || *c == '-')) c++;
        from = c;
        c = digits(c, end);
        if (c == from) return NULL;
        *whole = false;
    }
    return c;
}

static qp_json_kind number(qp_json *j)
{
    const char *end = number_end(j->at, j->end, &j->is_integer);
    if (!end) return refuse(j, j->start, "malformed number");
    bool negative = *j->at == '-';
    j->integer = 0;
    for (const char *c = j->at + negative; c < end && j->is_integer; c++) {
        int digit = negative ? '0' - *c : *c - '0';
        if (__builtin_mul_overflow(j->integer, 10, &j->integer) ||
            __builtin_add_overflow(j->integer, digit, &j->integer))
            j->is_integer = false;
    }
    if (j->is_integer && j->integer) {
        j->number = (double)j->integer; /* one rounding, as strtod would */
    } else {
        qp_buf_clear(&j->str); /* strtod wants a NUL behind it */
        qp_buf_add(&j->str, j->at, (size_t)(end - j->at));
        locale_t plain =
            newlocale(LC_ALL_MASK, "C", (locale_t)0); /* a program's may want a comma */
        j->number = strtod_l(j->str.data, NULL, plain);
        freelocale(plain);
        if (isinf(j->number)) return refuse(j, j->start, "number too large for a double");
    }
    j->at = end;
    return j->kind = QP_JSON_NUMBER;
}

static qp_json_kind literal(qp_json *j, const char *word, qp_json_kind kind)
{
    size_t n = strlen(word);
    if ((size_t)(j->end - j->at) < n || memcmp(j->at, word, n)) return unexpected(j, "a value");
    j->at += n;
    return j->kind = kind;
}

static qp_json_kind open_level(qp_json *j, uint8_t state, qp_json_kind kind)
{
    if (j->depth == DEPTH) return refuse(j, j->at, "nested deeper than 64");
    j->at++;
    j->state[++j->depth] = state;
    return j->kind = kind;
}

static qp_json_kind close_level(qp_json *j, qp_json_kind kind)
{
    j->at++;
    j->depth--;
    return j->kind = kind;
}

static qp_json_kind value(qp_json *j, uint8_t after)
{
    j->state[j->depth] = after;
    switch (j->at < j->end ? *j->at : '\0') {
    case '{':
        return open_level(j, FIRST_KEY, QP_JSON_OBJECT);
    case '[':
        return open_level(j, FIRST_ITEM, QP_JSON_ARRAY);
    case '"':
        return string(j) ? j->kind = QP_JSON_STRING : QP_JSON_ERROR;
    case 't':
        return literal(j, "true", QP_JSON_TRUE);
    case 'f':
        return literal(j, "false", QP_JSON_FALSE);
    case 'n':
        return literal(j, "null", QP_JSON_NULL);
    case '-':
    case '0' ... '9':
        return number(j);
    default:
        return unexpected(j, "a value");
    }
}

static void skip_space(qp_json *j)
{
    while (j->at < j->end && (*j->at == ' ' || *j->at == '\n' || *j->at == '\r' || *j->at == '\t'))
        j->at++;
    j->start = j->at;
}

static qp_json_kind key(qp_json *j)
{
    if (j->at == j->end || *j->at != '"') return unexpected(j, "a key in quotes");
    const char *start = j->start;
    if (!string(j)) return QP_JSON_ERROR;
    skip_space(j);
    if (j->at == j->end || *j->at != ':') return unexpected(j, "':'");
    j->at++;
    j->start = start;
    j->state[j->depth] = MEMBER;
    return j->kind = QP_JSON_KEY;
}

/* After a member: passes a comma, or says that the level ends here. */
static bool comma(qp_json *j, uint8_t then)
{
    if (j->at == j->end || *j->at != ',') return false;
    j->at++;
    j->state[j->depth] = then;
    skip_space(j);
    return true;
}

qp_json_kind qp_json_next(qp_json *j)
{
    if (j->kind == QP_JSON_ERROR) return QP_JSON_ERROR;
    skip_space(j);
    char c = j->at < j->end ? *j->at : '\0';
    switch (j->state[j->depth]) {
    case TOP_VALUE:
        return value(j, DONE);
    case DONE:
        return j->at == j->end ? j->kind = QP_JSON_END : unexpected(j, "nothing more");
    case AFTER_ITEM:
        if (c == ']') return close_level(j, QP_JSON_ARRAY_END);
        return comma(j, ITEM) ? value(j, AFTER_ITEM) : unexpected(j, "',' or ']'");
    case FIRST_ITEM:
        if (c == ']') return close_level(j, QP_JSON_ARRAY_END);
        return value(j, AFTER_ITEM);
    case AFTER_MEMBER:
        if (c == '}') return close_level(j, QP_JSON_OBJECT_END);
        return comma(j, KEY) ? key(j) : unexpected(j, "',' or '}'");
    case FIRST_KEY:
        return c == '}' ? close_level(j, QP_JSON_OBJECT_END) : key(j);
    case MEMBER:
        return value(j, AFTER_MEMBER);
    default:
        qp_fatal(QP_BUG, __FILE__, __LINE__, "json state %d", j->state[j->depth]);
    }
}

void qp_json_skip(qp_json *j)
{
    if (j->kind == QP_JSON_KEY) qp_json_next(j);
    if (j->kind != QP_JSON_ARRAY && j->kind != QP_JSON_OBJECT) return;
    int depth = j->depth;
    while (j->depth >= depth && qp_json_next(j) != QP_JSON_ERROR) {
    }
}

bool qp_json_is(const qp_json *j, const char *word)
{
    size_t n = strlen(word);
    return (j->kind == QP_JSON_KEY || j->kind == QP_JSON_STRING) && j->str.len == n &&
           !memcmp(j->str.data, word, n);
}
