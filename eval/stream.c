#include "eval/stream.h"
#include "base/utf8.h"

/* Where the first stop text begins, or where the bytes' end could be the beginning of one: *met
 * tells which. */
static size_t stop_at(const qp_stream *s, bool *met)
{
    *met = false;
    for (size_t at = 0; at < s->held.len; at++) {
        size_t left = s->held.len - at;
        bool maybe = false;
        for (int i = 0; i < s->n_stop; i++) {
            size_t len = strlen(s->stop[i]);
            if (!len || memcmp(s->held.data + at, s->stop[i], len < left ? len : left)) continue;
            if ((*met = len <= left)) return at;
            maybe = true;
        }
        if (maybe) return at;
    }
    return s->held.len;
}

/* Returns how many bytes it took: all but a character that may still be completed. */
static size_t copy_characters(qp_buf *out, const char *p, size_t n, bool end)
{
    const char *at = p, *stop = p + n;
    while (at < stop) {
        int len = qp_utf8_length(at, stop);
        if (!len && !end && qp_utf8_is_cut(at, stop)) break;
        if (len)
            qp_buf_add(out, at, (size_t)len);
        else
            qp_buf_str(out, "\xef\xbf\xbd");
        at += len ? len : 1;
    }
    return (size_t)(at - p);
}

static void flush(qp_stream *s, size_t n, bool end, qp_buf *out)
{
    size_t done = copy_characters(out, s->held.data, n, end);
    memmove(s->held.data, s->held.data + done, s->held.len - done);
    s->held.len -= done;
}

bool qp_stream_add(qp_stream *s, const char *bytes, size_t len, qp_buf *out)
{
    if (s->stopped) return false;
    qp_buf_add(&s->held, bytes, len);
    size_t certain = stop_at(s, &s->stopped);
    flush(s, certain, s->stopped, out);
    if (s->stopped) s->held.len = 0;
    return !s->stopped;
}

void qp_stream_end(qp_stream *s, qp_buf *out)
{
    if (s->held.len) flush(s, s->held.len, true, out);
}

void qp_stream_release(qp_stream *s) { qp_buf_release(&s->held); }
