#include "data/added.h"
#include "base/buf.h"
#include <stdlib.h>
#include <string.h>

void qp_added_add(qp_added *a, const char *text, size_t len, qp_added_token flags)
{
    if (!len) return;
    if (a->n == a->cap) {
        a->cap = a->cap ? 2 * a->cap : 16;
        a->token = qp_xrealloc(a->token, (size_t)a->cap, sizeof *a->token);
    }
    flags.text = qp_xcalloc(len + 1, 1);
    memcpy(flags.text, text, len);
    flags.len = len;
    a->token[a->n++] = flags;
    a->starts[(uint8_t)text[0]] = true;
}

static int by_text(const void *x, const void *y)
{
    const qp_added_token *a = x, *b = y;
    int c = memcmp(a->text, b->text, a->len < b->len ? a->len : b->len);
    return c ? c : (a->len > b->len) - (a->len < b->len);
}

void qp_added_ready(qp_added *a)
{
    if (a->n) qsort(a->token, (size_t)a->n, sizeof *a->token, by_text);
}

void qp_added_release(qp_added *a)
{
    for (int64_t i = 0; i < a->n; i++) free(a->token[i].text);
    free(a->token);
    *a = (qp_added){ 0 };
}

/* The first of token[lo..hi), which agree in the bytes before `depth`, whose byte at depth is at
 * least `byte`. */
static int64_t bound(const qp_added *a, int64_t lo, int64_t hi, size_t depth, int byte)
{
    while (lo < hi) {
        int64_t mid = lo + (hi - lo) / 2;
        const qp_added_token *t = &a->token[mid];
        int c = t->len > depth ? (uint8_t)t->text[depth] : -1;
        if (c < byte)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static const qp_added_token *longest_at(const qp_added *a, const char *s, size_t len)
{
    const qp_added_token *best = NULL;
    int64_t lo = 0, hi = a->n;
    for (size_t depth = 0; depth < len && lo < hi; depth++) {
        int c = (uint8_t)s[depth];
        hi = bound(a, lo, hi, depth, c + 1);
        lo = bound(a, lo, hi, depth, c);
        if (lo < hi && a->token[lo].len == depth + 1) best = &a->token[lo];
    }
    return best;
}

const qp_added_token *qp_added_find(const qp_added *a, const char *text, size_t len, size_t from,
                                    size_t *at)
{
    if (!a->n) return NULL;
    for (size_t i = from; i < len; i++) {
        if (!a->starts[(uint8_t)text[i]]) continue;
        const qp_added_token *t = longest_at(a, text + i, len - i);
        if (!t) continue;
        *at = i;
        return t;
    }
    return NULL;
}

const qp_added_token *qp_added_exact(const qp_added *a, const char *text, size_t len)
{
    const qp_added_token *t = longest_at(a, text, len);
    return t && t->len == len ? t : NULL;
}
