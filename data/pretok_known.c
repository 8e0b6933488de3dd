#include "data/pretok_known.h"
#include "data/pretok.h"
#include "data/unicode.h"
#include <string.h>

/* A place in the text and what stands there. */
typedef struct {
    const char *at, *next, *end;
    uint32_t c;
    int k; /* class; END past the text */
} cursor;
enum { END = -1 };

static inline cursor look(const char *at, const char *end)
{
    cursor u = { .at = at, .next = at, .end = end, .k = END };
    if (at == end) return u;
    u.c = qp_utf8_next(&u.next);
    u.k = (int)qp_class_of(u.c);
    return u;
}

static inline cursor after(cursor u) { return look(u.next, u.end); }

/* To the end of the run of a class. */
static inline cursor pass(cursor u, int k)
{
    while (u.k == k) u = after(u);
    return u;
}

static inline bool is_newline(cursor u) { return u.k == QP_SPACE && (u.c == '\r' || u.c == '\n'); }

/* \s+(?!\S)|\s+ at the first of a run: all but the last, which goes with the word that follows; all
   of it at the end of the text, or when it is one. */
static const char *spaces(cursor u)
{
    const char *last = u.at, *first = u.at;
    while (u.k == QP_SPACE) {
        last = u.at;
        u = after(u);
    }
    return u.k == END || last == first ? u.at : last;
}

/* Letters of 't, 've and so on after the apostrophe: the number of bytes that match, or 0. Ignoring
   case, the long s (U+017F) is an s. */
static size_t contraction(const char *s, const char *end, bool any_case, bool long_s)
{
    static const char *const words[] = { "s", "t", "re", "ve", "m", "ll", "d" };
    size_t left = (size_t)(end - s);
    if (long_s && left >= 2 && memcmp(s, "\xc5\xbf", 2) == 0) return 2;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t n = strlen(words[i]), k = 0;
        while (k < n && k < left && (s[k] == words[i][k] || (any_case && s[k] == words[i][k] - 32)))
            k++;
        if (k == n) return n;
    }
    return 0;
}

static const char *gpt2(cursor u)
{
    size_t n = u.c == '\'' ? contraction(u.next, u.end, false, false) : 0;
    if (n) return u.next + n;
    cursor word = u.c == ' ' ? after(u) : u;
    if (word.k == QP_SPACE || word.k == END) return spaces(u);
    return pass(word, word.k).at;
}

/* Llama 3's, and Qwen 2's, in which a digit is a piece of its own and the long s is none. */
static inline const char *llama_like(cursor u, int digits, bool long_s)
{
    size_t n = u.c == '\'' ? contraction(u.next, u.end, true, long_s) : 0;
    if (n) return u.next + n;
    if (u.k == QP_LETTER) return pass(u, QP_LETTER).at;
    if (u.k == QP_NUMBER) {
        while (digits-- && u.k == QP_NUMBER) u = after(u);
        return u.at;
    }
    cursor second = after(u);
    if (second.k == QP_LETTER && !is_newline(u)) return pass(second, QP_LETTER).at;
    if (u.k == QP_OTHER_CHAR || (u.c == ' ' && second.k == QP_OTHER_CHAR)) {
        u = pass(second, QP_OTHER_CHAR);
        while (is_newline(u)) u = after(u);
        return u.at;
    }
    const char *newline = NULL; /* \s*[\r\n]+: up to the last line break of the run */
    for (cursor v = u; v.k == QP_SPACE; v = after(v))
        if (is_newline(v)) newline = v.next;
    return newline ? newline : spaces(u);
}

static const char *llama3(cursor u) { return llama_like(u, 3, true); }
static const char *qwen2(cursor u) { return llama_like(u, 1, false); }

/* These match something at every place. */
#define ANYWHERE(name, rule)                                                                       \
    static bool name(const char *s, size_t len, size_t from, size_t *start, size_t *end)           \
    {                                                                                              \
        if (from >= len) return false;                                                             \
        *start = from;                                                                             \
        *end = (size_t)(rule(look(s + from, s + len)) - s);                                        \
        return true;                                                                               \
    }
ANYWHERE(find_gpt2, gpt2)
ANYWHERE(find_llama3, llama3)
ANYWHERE(find_qwen2, qwen2)

static bool find_number(const char *s, size_t len, size_t from, size_t *start, size_t *end)
{
    cursor u = look(s + from, s + len);
    while (u.k != END && u.k != QP_NUMBER) u = after(u);
    *start = (size_t)(u.at - s);
    *end = (size_t)(pass(u, QP_NUMBER).at - s);
    return u.k == QP_NUMBER;
}

static bool find_digit(const char *s, size_t len, size_t from, size_t *start, size_t *end)
{
    cursor u = look(s + from, s + len);
    while (u.k != END && u.k != QP_NUMBER) u = after(u);
    *start = (size_t)(u.at - s);
    *end = (size_t)(u.next - s);
    return u.k == QP_NUMBER;
}

static const struct {
    const char *pattern;
    qp_find_fn *find;
} known[] = {
    { QP_PATTERN_LLAMA3, find_llama3 }, { QP_PATTERN_GPT2, find_gpt2 },
    { QP_PATTERN_QWEN2, find_qwen2 },   { QP_PATTERN_DIGIT, find_digit },
    { QP_PATTERN_NUMBER, find_number },
};

qp_find_fn *qp_pretok_known(const char *pattern, size_t len)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strlen(known[i].pattern) == len && memcmp(known[i].pattern, pattern, len) == 0)
            return known[i].find;
    return NULL;
}
