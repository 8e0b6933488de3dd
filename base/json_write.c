#include "base/json.h"
#include "base/utf8.h"
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void new_line(qp_json_writer *w)
{
    qp_buf_char(w->out, '\n');
    for (int i = 0; i < w->indent * w->depth; i++) qp_buf_char(w->out, ' ');
}

/* Before a key, or a value that follows no key. */
static void begin(qp_json_writer *w)
{
    if (w->after_key || !w->depth) {
        w->after_key = false;
        return;
    }
    if (!w->first[w->depth]) qp_buf_str(w->out, w->indent ? "," : ", ");
    w->first[w->depth] = false;
    if (w->indent) new_line(w);
}

static void open_level(qp_json_writer *w, char c)
{
    begin(w);
    QP_ASSERT(w->depth < 64, "JSON written deeper than 64 levels");
    qp_buf_char(w->out, c);
    w->first[++w->depth] = true;
}

static void close_level(qp_json_writer *w, char c)
{
    QP_ASSERT(w->depth > 0 && !w->after_key, "'%c' written where no level can end", c);
    bool empty = w->first[w->depth--];
    if (w->indent && !empty) new_line(w);
    qp_buf_char(w->out, c);
}

void qp_json_open_object(qp_json_writer *w) { open_level(w, '{'); }
void qp_json_close_object(qp_json_writer *w) { close_level(w, '}'); }
void qp_json_open_array(qp_json_writer *w) { open_level(w, '['); }
void qp_json_close_array(qp_json_writer *w) { close_level(w, ']'); }

static void quote(qp_buf *out, const char *s, size_t len)
{
    static const char *const name[0x20] = {
        ['\b'] = "\\b", ['\f'] = "\\f", ['\n'] = "\\n", ['\r'] = "\\r", ['\t'] = "\\t",
    };
    const char *end = s + len;
    qp_buf_char(out, '"');
    while (s < end) {
        uint8_t c = (uint8_t)*s;
        int n = qp_utf8_length(s, end);
        if (!n)
            qp_buf_str(out, "\xEF\xBF\xBD"); /* U+FFFD: half a character a model said, say */
        else if (c == '"' || c == '\\')
            qp_buf_printf(out, "\\%c", c);
        else if (c >= 0x20)
            qp_buf_add(out, s, (size_t)n);
        else if (name[c])
            qp_buf_str(out, name[c]);
        else
            qp_buf_printf(out, "\\u%04x", c);
        s += n ? n : 1;
    }
    qp_buf_char(out, '"');
}

void qp_json_key(qp_json_writer *w, const char *key)
{
    begin(w);
    quote(w->out, key, strlen(key));
    qp_buf_str(w->out, ": ");
    w->after_key = true;
}

void qp_json_string(qp_json_writer *w, const char *s, size_t len)
{
    begin(w);
    quote(w->out, s, len);
}

void qp_json_cstring(qp_json_writer *w, const char *s) { qp_json_string(w, s, strlen(s)); }

void qp_json_int(qp_json_writer *w, int64_t v)
{
    begin(w);
    qp_buf_printf(w->out, "%lld", (long long)v);
}

static void number(qp_json_writer *w, double v)
{
    if (!isfinite(v)) {
        qp_buf_str(w->out, "null"); /* JSON has no other word for it */
    } else if (v == rint(v) && fabs(v) < 1e15) {
        qp_buf_printf(w->out, "%.1f", v); /* "100.0": still a floating-point number to its reader */
    } else {
        char text[32];
        for (int digits = 1; digits <= 17; digits++) { /* 17 always suffice */
            snprintf(text, sizeof text, "%.*g", digits, v);
            if (strtod(text, NULL) == v) break;
        }
        qp_buf_str(w->out, text);
    }
}

/* In the plain locale: the program's may have a comma for the point. */
void qp_json_double(qp_json_writer *w, double v)
{
    begin(w);
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0), programs = uselocale(plain);
    number(w, v);
    uselocale(programs);
    freelocale(plain);
}

void qp_json_bool(qp_json_writer *w, bool v)
{
    begin(w);
    qp_buf_str(w->out, v ? "true" : "false");
}

void qp_json_null(qp_json_writer *w)
{
    begin(w);
    qp_buf_str(w->out, "null");
}
