#include "data/unicode.h"
#include <string.h>

size_t qp_utf8_valid(const char *s, size_t len)
{
    const char *p = s, *end = s + len;
    while (p < end) {
        uint64_t x = 0x80;
        if (end - p >= 8) memcpy(&x, p, 8);
        int n = x & 0x8080808080808080ull ? qp_utf8_length(p, end) : 8; /* ASCII, eight at a time */
        if (!n) break;
        p += n;
    }
    return (size_t)(p - s);
}

static const uint32_t changes[] = {
#include "data/unicode_table.def"
};
enum { CHANGES = sizeof changes / sizeof *changes };

#define LETTERS(a, b) [a... b] = QP_LETTER
static const uint8_t ascii[128] = {
    LETTERS('A', 'Z'),     LETTERS('a', 'z'), ['0' ... '9'] = QP_NUMBER,
    [9 ... 13] = QP_SPACE, [' '] = QP_SPACE,
};

qp_char_class qp_class_of(uint32_t c)
{
    if (c < 128) return ascii[c];
    int lo = 0, hi = CHANGES; /* changes[lo] is at or before c, changes[hi] after it */
    while (hi - lo > 1) {
        int mid = (lo + hi) / 2;
        if (changes[mid] >> 2 <= c)
            lo = mid;
        else
            hi = mid;
    }
    return changes[lo] & 3;
}

bool qp_is_space(uint32_t c) { return qp_class_of(c) == QP_SPACE; }
bool qp_is_py_space(uint32_t c) { return qp_is_space(c) || (c >= 0x1C && c <= 0x1F); }

size_t qp_space_before(const char *s, size_t from, size_t to, bool (*space)(uint32_t))
{
    while (to > from) {
        size_t i = to - 1;
        while (i > from && ((uint8_t)s[i] & 0xC0) == 0x80) i--;
        const char *p = s + i;
        if (qp_utf8_length(p, s + to) != (int)(to - i) || !space(qp_utf8_next(&p))) break;
        to = i;
    }
    return to;
}

size_t qp_space_after(const char *s, size_t from, size_t to, bool (*space)(uint32_t))
{
    while (from < to) {
        const char *p = s + from;
        if (!qp_utf8_length(p, s + to) || !space(qp_utf8_next(&p))) break;
        from = (size_t)(p - s);
    }
    return from;
}
