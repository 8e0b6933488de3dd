#include "eval/stream.h"
#include <stdint.h>
#include <string.h>

/* Bytes of the character at p (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF); 0:
 * none; -1: cut short. */
static int character(const uint8_t *p, size_t n)
{
    if (p[0] < 0x80) return 1;
    int len = p[0] >= 0xc2 && p[0] <= 0xdf   ? 2
              : (p[0] & 0xf0) == 0xe0        ? 3
              : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4
                                             : 0;
    uint8_t lo = p[0] == 0xe0   ? 0xa0
                 : p[0] == 0xf0 ? 0x90
                                : 0x80,
            hi = p[0] == 0xed   ? 0x9f
                 : p[0] == 0xf4 ? 0x8f
                                : 0xbf;
    for (int i = 1; i < len; i++, lo = 0x80, hi = 0xbf) {
        if ((size_t)i == n) return -1;
        if (p[i] < lo || p[i] > hi) return 0;
    }
    return len;
}

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

static size_t copy_characters(qp_buf *out, const char *p, size_t n, bool end)
{
    size_t at = 0;
    while (at < n) {
        int len = character((const uint8_t *)p + at, n - at);
        if (len < 0 && !end) break;
        if (len > 0)
            qp_buf_add(out, p + at, (size_t)len);
        else
            qp_buf_str(out, "\xef\xbf\xbd");
        at += len > 0 ? (size_t)len : 1;
    }
    return at;
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
