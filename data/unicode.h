/* Code points of valid UTF-8, and what they are. The tables are fixed here (Unicode 16.0), so that
   a text gives the same tokens whatever libraries a machine has. */
#ifndef QP_DATA_UNICODE_H
#define QP_DATA_UNICODE_H
#include "base/utf8.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length of the longest valid beginning of s, in bytes. */
size_t qp_utf8_valid(const char *s, size_t len);

/* Reads one code point of valid text (at least one byte) and moves on. */
static inline uint32_t qp_utf8_next(const char **s)
{
    const uint8_t *p = (const uint8_t *)*s;
    uint32_t c = p[0];
    int n = c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    if (n > 1) c &= 0x7Fu >> n;
    for (int i = 1; i < n; i++) c = c << 6 | (p[i] & 0x3F);
    *s += n;
    return c;
}

typedef enum { QP_OTHER_CHAR, QP_LETTER, QP_NUMBER, QP_SPACE } qp_char_class;
qp_char_class qp_class_of(uint32_t c); /* L*, N*, White_Space or none of them */
bool qp_is_space(uint32_t c);
bool qp_is_py_space(uint32_t c); /* as str.strip() of Python: U+001C .. U+001F too */

/* White space at the end, beginning of s[from..to), which may hold invalid UTF-8: the place where
   the run that touches the border begins, ends. */
size_t qp_space_before(const char *s, size_t from, size_t to, bool (*space)(uint32_t));
size_t qp_space_after(const char *s, size_t from, size_t to, bool (*space)(uint32_t));
#endif
