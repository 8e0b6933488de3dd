#include "data/bpe.h"
#include <stdlib.h>

enum { NONE = INT32_MAX };

typedef struct qp_symbol {
    int32_t id, prev, next; /* neighbours by place; -1: none. The place is the first byte. */
    int32_t rank, merged;   /* of this symbol with the next: NONE, or the merge's rank and id */
} symbol;

void qp_bpe_release(qp_bpe *b)
{
    qp_vocab_release(&b->vocab);
    free(b->merge);
    *b = (qp_bpe){ 0 };
}

void qp_bpe_work_release(qp_bpe_work *w)
{
    free(w->symbol);
    free(w->heap);
    *w = (qp_bpe_work){ 0 };
}

/* ---- merges ---- */

static uint64_t pair_of(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

static qp_merge *merge_slot(const qp_bpe *b, uint64_t pair)
{
    uint64_t mask = (uint64_t)b->slots - 1, h = pair * 0x9E3779B97F4A7C15ull;
    qp_merge *m = &b->merge[(h ^ h >> 32) & mask];
    while (m->rank >= 0 && m->pair != pair) m = m + 1 == b->merge + b->slots ? b->merge : m + 1;
    return m;
}

void qp_bpe_reserve_merges(qp_bpe *b, int64_t n)
{
    int64_t slots = 1024;
    while (slots < 2 * n) slots *= 2;
    if (slots <= b->slots) return;
    qp_merge *old = b->merge;
    int64_t old_slots = b->slots;
    b->merge = qp_xmalloc((size_t)slots * sizeof *b->merge);
    memset(b->merge, 0xff, (size_t)slots * sizeof *b->merge);
    b->slots = slots;
    for (int64_t i = 0; i < old_slots; i++)
        if (old[i].rank >= 0) *merge_slot(b, old[i].pair) = old[i];
    free(old);
}

static int32_t find(const qp_bpe *b, const char *s, size_t len, qp_buf *missing)
{
    int32_t id = qp_vocab_find(&b->vocab, s, len, qp_hash_bytes(s, len));
    if (id < 0 && missing) {
        qp_buf_clear(missing);
        qp_buf_add(missing, s, len);
    }
    return id;
}

bool qp_bpe_add_merge(qp_bpe *b, int32_t rank, const char *left, size_t left_len, const char *right,
                      size_t right_len, qp_buf *missing)
{
    char small[256],
        *both = left_len + right_len <= sizeof small ? small : qp_xmalloc(left_len + right_len);
    memcpy(both, left, left_len);
    memcpy(both + left_len, right, right_len);
    int32_t l = find(b, left, left_len, missing);
    int32_t r = l < 0 ? -1 : find(b, right, right_len, missing);
    int32_t id = r < 0 ? -1 : find(b, both, left_len + right_len, missing);
    if (both != small) free(both);
    if (id < 0) return false;
    if (2 * (b->merges + 1) > b->slots) qp_bpe_reserve_merges(b, b->merges + 1);
    qp_merge *m = merge_slot(b, pair_of(l, r));
    b->merges += m->rank < 0;
    *m = (qp_merge){ pair_of(l, r), rank, id };
    return true;
}

static int by_rank(const void *x, const void *y)
{
    const qp_merge *a = x, *b = y;
    if (a->rank != b->rank) return a->rank < b->rank ? -1 : 1;
    return (a->pair > b->pair) - (a->pair < b->pair);
}

qp_merge *qp_bpe_by_rank(const qp_bpe *b, int64_t *n)
{
    qp_merge *m = qp_xcalloc((size_t)b->merges + 1, sizeof *m);
    *n = 0;
    for (int64_t i = 0; i < b->slots; i++)
        if (b->merge[i].rank >= 0) m[(*n)++] = b->merge[i];
    qsort(m, (size_t)*n, sizeof *m, by_rank);
    return m;
}

void qp_bpe_ready(qp_bpe *b)
{
    if (!b->slots) qp_bpe_reserve_merges(b, 0);
    for (int i = 0; i < 256; i++) b->byte_id[i] = find(b, (char[]){ (char)i }, 1, NULL);
}

/* ---- a word ---- */

/* The heap holds rank << 32 | place: the least is the merge to do next. An entry is stale when the
   symbol at that place no longer has that rank, and is then passed over: ranks are unique to a
   pair. */
static void heap_push(qp_bpe_work *w, int64_t *n, uint64_t x)
{
    if (*n == w->heap_cap) {
        w->heap_cap = w->heap_cap ? 2 * w->heap_cap : 256;
        w->heap = qp_xrealloc(w->heap, (size_t)w->heap_cap, sizeof *w->heap);
    }
    uint64_t *h = w->heap;
    int64_t i = (*n)++;
    for (; i > 0 && h[(i - 1) / 2] > x; i = (i - 1) / 2) h[i] = h[(i - 1) / 2];
    h[i] = x;
}

static uint64_t heap_pop(uint64_t *h, int64_t *n)
{
    uint64_t top = h[0], x = h[--*n];
    int64_t i = 0;
    for (int64_t k = 1; k < *n; k = 2 * i + 1) {
        k += k + 1 < *n && h[k + 1] < h[k];
        if (h[k] >= x) break;
        h[i] = h[k];
        i = k;
    }
    h[i] = x;
    return top;
}

static void rate(const qp_bpe *b, qp_bpe_work *w, int64_t *heap_n, int32_t i)
{
    symbol *s = w->symbol;
    const qp_merge *m = s[i].next < 0 ? NULL : merge_slot(b, pair_of(s[i].id, s[s[i].next].id));
    s[i].rank = m && m->rank >= 0 ? m->rank : NONE;
    if (s[i].rank == NONE) return;
    s[i].merged = m->id;
    heap_push(w, heap_n, (uint64_t)m->rank << 32 | (uint32_t)i);
}

/* One symbol a byte that has a token; returns the first's place, or -1. */
static int32_t start(const qp_bpe *b, qp_bpe_work *w, const char *word, int32_t len)
{
    if (len > w->cap) {
        w->cap = len < 256 ? 256 : len;
        w->symbol = qp_xrealloc(w->symbol, (size_t)w->cap, sizeof *w->symbol);
    }
    symbol *s = w->symbol;
    int32_t first = -1, last = -1;
    for (int32_t i = 0; i < len; i++) {
        int32_t id = b->byte_id[(uint8_t)word[i]];
        if (id < 0) continue;
        s[i] = (symbol){ id, last, -1, NONE, 0 };
        if (last < 0)
            first = i;
        else
            s[last].next = i;
        last = i;
    }
    return first;
}

static void merge_all(const qp_bpe *b, qp_bpe_work *w, int32_t first)
{
    symbol *s = w->symbol;
    int64_t n = 0;
    for (int32_t i = first; i >= 0; i = s[i].next) rate(b, w, &n, i);
    while (n) {
        uint64_t x = heap_pop(w->heap, &n);
        int32_t i = (int32_t)(uint32_t)x;
        if (s[i].rank != (int32_t)(x >> 32)) continue;
        int32_t gone = s[i].next;
        s[i].id = s[i].merged;
        s[i].next = s[gone].next;
        s[gone].rank = NONE;
        if (s[i].next >= 0) s[s[i].next].prev = i;
        rate(b, w, &n, i);
        if (s[i].prev >= 0) rate(b, w, &n, s[i].prev);
    }
}

void qp_bpe_word(const qp_bpe *b, qp_bpe_work *w, const char *word, size_t len, uint64_t hash,
                 qp_ids *out, qp_ids *at)
{
    int32_t whole = b->ignore_merges ? qp_vocab_find(&b->vocab, word, len, hash) : -1;
    if (whole >= 0) {
        qp_ids_add(out, whole);
        if (at) qp_ids_add(at, 0);
        return;
    }
    int32_t first = start(b, w, word, (int32_t)len);
    if (first >= 0) merge_all(b, w, first);
    for (int32_t i = first; i >= 0; i = w->symbol[i].next) {
        qp_ids_add(out, w->symbol[i].id);
        if (at) qp_ids_add(at, i);
    }
}
