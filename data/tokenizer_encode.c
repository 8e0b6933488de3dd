/* Text to ids: added tokens first, then what lies between them is split into words and each word is
   merged. */
#include "data/tokenizer_parts.h"
#include "data/unicode.h"
#include <stdlib.h>
#include <string.h>

/* Words repeat: the cache says where in the output the ids of a word stand that was met before in
   this call. One entry a slot, the latest stays; it copies nothing, and is small enough for the
   processor's own caches. */
typedef struct {
    uint32_t tag, place; /* of the hash; in the text */
    uint32_t first;      /* in the output of this call */
    uint16_t len, n;     /* bytes (0: free) and ids */
} seen;
enum { MAX_SEEN = 1 << 15, MIN_SEEN = 1 << 6, LONG_WORD = 64 };

typedef struct {
    const qp_tokenizer *t;
    bool special;       /* special tokens' text counts as such */
    const char *origin; /* offsets count from here */
    int64_t shift;      /* added to them */
    int64_t least;      /* no offset is below: a space that was put in front has none of its own */
    qp_ids *out, *at;
    int64_t base; /* where in `out` this call began */
    qp_bpe_work work;
    seen *cache;
    uint64_t mask;
    qp_err *err;
} encoder;

static void repeat(encoder *e, const seen *c, int64_t move)
{
    int64_t lag = e->out->n - e->base - c->first;
    for (int i = 0; i < c->n; i++) {
        qp_ids_add(e->out, e->out->id[e->out->n - lag]);
        if (e->at) qp_ids_add(e->at, (int32_t)(e->at->id[e->at->n - lag] + move));
    }
}

static void word(void *arg, const char *s, size_t len)
{
    encoder *e = arg;
    uint64_t hash = qp_hash_bytes(s, len);
    seen *c = &e->cache[hash & e->mask];
    if (c->len == len && c->tag == hash >> 32 && qp_same_bytes(e->origin + c->place, s, len)) {
        repeat(e, c, s - e->origin - c->place);
        return;
    }
    int64_t place = s - e->origin + e->shift, first = e->out->n, first_at = e->at ? e->at->n : 0;
    qp_bpe_word(&e->t->bpe, &e->work, s, len, hash, e->out, e->at);
    for (int64_t i = first_at; e->at && i < e->at->n; i++) {
        int64_t at = e->at->id[i] + place;
        e->at->id[i] = (int32_t)(at < e->least ? e->least : at);
    }
    if (len > LONG_WORD || place < e->least) return;
    *c = (seen){ (uint32_t)(hash >> 32), (uint32_t)(s - e->origin), (uint32_t)(first - e->base),
                 (uint16_t)len, (uint16_t)(e->out->n - first) };
}

/* Bytes that are not UTF-8 are words of their own, and cut the text: what is on either side is
 * split as if alone. */
static qp_status encode_plain(encoder *e, const char *s, size_t len)
{
    while (len) {
        size_t valid = qp_utf8_valid(s, len);
        qp_status rc = valid ? qp_pretok_split(e->t->pretok, s, valid, word, e, e->err) : QP_OK;
        if (rc) return rc;
        if (valid < len) word(e, s + valid, 1), valid++;
        s += valid;
        len -= valid;
    }
    return QP_OK;
}

static qp_status encode_spaced(encoder *e, const char *s, size_t len)
{
    if (!len || !e->t->prefix_space || s[0] == ' ') return encode_plain(e, s, len);
    qp_buf copy = { 0 };
    qp_buf_char(&copy, ' ');
    qp_buf_add(&copy, s, len);
    encoder with = *e; /* with a cache of its own: the words in e's live longer than the copy */
    with.origin = copy.data;
    with.least = s - e->origin;
    with.shift = with.least - 1;
    with.mask = MIN_SEEN - 1;
    with.cache = qp_xcalloc(MIN_SEEN, sizeof *with.cache);
    qp_status rc = encode_plain(&with, copy.data, copy.len);
    e->work = with.work;
    free(with.cache);
    qp_buf_release(&copy);
    return rc;
}

static qp_status encode_level(encoder *e, const char *s, size_t len, int level)
{
    if (level == 2) return encode_spaced(e, s, len);
    const qp_added *set = level == 0 ? &e->t->raw : &e->t->normalized;
    const qp_added_token *token;
    size_t done = 0, from = 0, start;
    while ((token = qp_added_find(set, s, len, from, &start))) {
        from = start + token->len;
        if (token->special && !e->special) continue;
        if (token->lstrip) start = qp_space_before(s, done, start, qp_is_space);
        if (token->rstrip) from = qp_space_after(s, from, len, qp_is_space);
        qp_status rc = encode_level(e, s + done, start - done, level + 1);
        if (rc) return rc;
        qp_ids_add(e->out, token->id);
        if (e->at) qp_ids_add(e->at, (int32_t)(s + start - e->origin));
        done = from;
    }
    return encode_level(e, s + done, len - done, level + 1);
}

static void encode_bytes(const char *s, size_t len, qp_ids *out, qp_ids *at)
{
    for (size_t i = 0; i < len; i++) {
        qp_ids_add(out, (uint8_t)s[i]);
        if (at) qp_ids_add(at, (int32_t)i);
    }
}

qp_status qp_tokenizer_encode_at(const qp_tokenizer *t, const char *text, size_t len,
                                 unsigned flags, qp_ids *out, qp_ids *offsets, qp_err *err)
{
    if (len > INT32_MAX)
        return qp_fail(err, QP_BADFILE, "a text of %zu bytes: at most 2 GB are encoded at once",
                       len);
    if (!t->pretok) {
        encode_bytes(text, len, out, offsets);
        return QP_OK;
    }
    encoder e = { .t = t,
                  .special = flags & QP_TOK_SPECIAL,
                  .origin = text,
                  .out = out,
                  .base = out->n,
                  .at = offsets,
                  .err = err };
    e.mask = MIN_SEEN - 1;
    while (e.mask + 1 < MAX_SEEN && e.mask < len / 8) e.mask = 2 * e.mask + 1;
    e.cache = qp_xcalloc(e.mask + 1, sizeof *e.cache);
    for (int64_t i = 0; i < t->before.n && (flags & QP_TOK_BOS); i++) {
        qp_ids_add(out, t->before.id[i]);
        if (offsets) qp_ids_add(offsets, 0);
    }
    qp_status rc = encode_level(&e, text, len, 0);
    free(e.cache);
    qp_bpe_work_release(&e.work);
    return rc;
}

qp_status qp_tokenizer_encode(const qp_tokenizer *t, const char *text, size_t len, unsigned flags,
                              qp_ids *out, qp_err *err)
{
    return qp_tokenizer_encode_at(t, text, len, flags, out, NULL, err);
}
