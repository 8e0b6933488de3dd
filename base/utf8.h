/* UTF-8 (RFC 3629): one check that reader, writer and tokenizers share. */
#ifndef QP_BASE_UTF8_H
#define QP_BASE_UTF8_H
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Bytes of the valid character at s (1 to 4), or 0: invalid, cut off by `end`, overlong, a
   surrogate, or above U+10FFFF. */
static inline int qp_utf8_length(const char *s, const char *end)
{
    const uint8_t *u = (const uint8_t *)s;
    if (s >= end) return 0;
    if (u[0] < 0x80) return 1;
    int n = u[0] >= 0xC2 && u[0] < 0xE0   ? 2
            : (u[0] & 0xF0) == 0xE0       ? 3
            : u[0] >= 0xF0 && u[0] < 0xF5 ? 4
                                          : 0;
    if (!n || end - s < n) return 0;
    for (int i = 1; i < n; i++)
        if ((u[i] & 0xC0) != 0x80) return 0;
    if (u[0] == 0xE0 && u[1] < 0xA0) return 0; /* overlong */
    if (u[0] == 0xED && u[1] > 0x9F) return 0; /* surrogates */
    if (u[0] == 0xF0 && u[1] < 0x90) return 0; /* overlong */
    if (u[0] == 0xF4 && u[1] > 0x8F) return 0; /* above U+10FFFF */
    return n;
}

/* Whether s .. end, at least a byte, is a valid character but for what `end` cuts off. */
static inline bool qp_utf8_is_cut(const char *s, const char *end)
{
    const size_t n = (size_t)(end - s);
    char whole[4];
    for (int last = 0; last < 2 && n < sizeof whole; last++) { /* some leads want high bytes next */
        memset(whole, last ? 0xBF : 0x80, sizeof whole);
        memcpy(whole, s, n);
        if (qp_utf8_length(whole, whole + sizeof whole) > (int)n) return true;
    }
    return false;
}

/* Writes a code point below U+110000; returns its bytes. */
static inline int qp_utf8_put(char out[4], uint32_t c)
{
    int n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t lead[] = { 0, 0, 0xC0, 0xE0, 0xF0 };
    for (int i = n - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3F));
    out[0] = (char)(lead[n] | c);
    return n;
}
#endif
