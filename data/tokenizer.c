#include "data/tokenizer.h"
#include "base/sha256.h"
#include "base/zio.h"
#include "data/tokenizer_parts.h"
#include "data/unicode.h"
#include <stdlib.h>
#include <string.h>

void qp_ids_add(qp_ids *ids, int32_t id)
{
    if (ids->n == ids->cap) {
        ids->cap = ids->cap ? 2 * ids->cap : 64;
        ids->id = qp_xrealloc(ids->id, (size_t)ids->cap, sizeof *ids->id);
    }
    ids->id[ids->n++] = id;
}

void qp_ids_release(qp_ids *ids)
{
    free(ids->id);
    *ids = (qp_ids){ 0 };
}

/* ---- opening ---- */

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

/* Of a file named tokenizer.json, which is the one that others lie beside; else NULL. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (strcmp(slash ? slash + 1 : path, "tokenizer.json") != 0) return NULL;
    if (!slash) return qp_xstrdup(".");
    char *dir = qp_xstrdup(path);
    dir[slash == path ? 1 : slash - path] = '\0';
    return dir;
}

static qp_status read_json_folder(qp_tokenizer *t, const char *path, qp_err *err)
{
    qp_status rc = qp_tokenizer_read_json(t, path, err);
    char *dir = rc ? NULL : folder_of(path);
    if (dir) rc = qp_tokenizer_read_config(t, dir, err);
    free(dir);
    return rc;
}

static const struct {
    const char *ending;
    qp_status (*read)(qp_tokenizer *t, const char *path, qp_err *err);
    bool hugging_face; /* saved by copying */
} kinds[] = {
    { ".json", read_json_folder, true },
    { ".gguf", qp_tokenizer_read_gguf, false },
    { ".model", qp_tokenizer_read_model, false },
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static qp_status read_file(qp_tokenizer *t, const char *path, qp_err *err)
{
    for (int i = 0; i < KINDS; i++) {
        if (!ends_with(path, kinds[i].ending)) continue;
        t->source = qp_xstrdup(path);
        t->copied = kinds[i].hugging_face;
        return kinds[i].read(t, path, err);
    }
    return qp_fail(
        err, QP_USAGE,
        "%s: wanted a tokenizer.json, .gguf, tokenizer.model, a folder with one, or bytes", path);
}

static qp_status read_any(qp_tokenizer *t, const char *path, qp_err *err)
{
    static const char *const names[] = { "tokenizer.json", "tokenizer.model" };
    if (strcmp(path, "bytes") == 0) return QP_OK;
    if (!qp_path_exists(path)) return qp_fail(err, QP_USAGE, "%s: no such file or folder", path);
    if (!qp_path_is_dir(path)) return read_file(t, path, err);
    for (int i = 0; i < 2; i++) {
        char *inside = qp_path_join(path, names[i]);
        bool there = qp_path_exists(inside);
        qp_status rc = there ? read_file(t, inside, err) : QP_OK;
        free(inside);
        if (there) return rc;
    }
    return qp_fail(err, QP_USAGE, "%s: neither tokenizer.json nor tokenizer.model in this folder",
                   path);
}

qp_status qp_tokenizer_open(qp_tokenizer **out, const char *path, qp_err *err)
{
    qp_tokenizer *t = qp_xcalloc(1, sizeof *t);
    t->bos = t->eos = t->pad = t->unk = -1;
    qp_status rc = read_any(t, path, err);
    if (rc) {
        qp_tokenizer_free(t);
        t = NULL;
    }
    *out = t;
    return rc;
}

void qp_tokenizer_free(qp_tokenizer *t)
{
    if (!t) return;
    qp_bpe_release(&t->bpe);
    qp_pretok_free(t->pretok);
    qp_added_release(&t->raw);
    qp_added_release(&t->normalized);
    qp_ids_release(&t->before);
    free(t->chat_template);
    free(t->source);
    free(t);
}

/* ---- encoding ---- */

/* Words repeat: the cache says where in the output the ids of a word stand that was met before in
   this call. One entry a slot, the latest stays; it copies nothing. */
typedef struct {
    const char *word;
    uint64_t hash;
    int64_t first;
    uint32_t len, n;
} seen;
enum { MAX_SEEN = 1 << 15, MIN_SEEN = 1 << 6, LONG_WORD = 64 };

typedef struct {
    const qp_tokenizer *t;
    bool special;       /* special tokens' text counts as such */
    const char *origin; /* offsets count from here */
    int64_t shift;      /* added to them */
    int64_t least;      /* no offset is below: a space that was put in front has none of its own */
    qp_ids *out, *at;
    qp_bpe_work work;
    seen *cache;
    uint64_t mask;
    qp_err *err;
} encoder;

static void repeat(encoder *e, const seen *c, int64_t move)
{
    int64_t lag = e->out->n - c->first;
    for (uint32_t i = 0; i < c->n; i++) {
        qp_ids_add(e->out, e->out->id[e->out->n - lag]);
        if (e->at) qp_ids_add(e->at, (int32_t)(e->at->id[e->at->n - lag] + move));
    }
}

static void word(void *arg, const char *s, size_t len)
{
    encoder *e = arg;
    uint64_t hash = qp_hash_bytes(s, len);
    seen *c = &e->cache[hash & e->mask];
    if (c->hash == hash && c->len == len && c->word && memcmp(c->word, s, len) == 0) {
        repeat(e, c, s - c->word);
        return;
    }
    int64_t place = s - e->origin + e->shift, first = e->out->n, first_at = e->at ? e->at->n : 0;
    qp_bpe_word(&e->t->bpe, &e->work, s, len, hash, e->out, e->at);
    for (int64_t i = first_at; e->at && i < e->at->n; i++) {
        int64_t at = e->at->id[i] + place;
        e->at->id[i] = (int32_t)(at < e->least ? e->least : at);
    }
    if (len <= LONG_WORD && place >= e->least)
        *c = (seen){ s, hash, first, (uint32_t)len, (uint32_t)(e->out->n - first) };
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

/* ---- decoding ---- */

qp_status qp_tokenizer_decode(const qp_tokenizer *t, const int32_t *ids, int64_t n,
                              bool skip_special, qp_buf *out, qp_err *err)
{
    for (int64_t i = 0; i < n; i++) {
        size_t len = 1;
        char byte = (char)ids[i];
        const char *s = t->pretok                     ? qp_vocab_bytes(&t->bpe.vocab, ids[i], &len)
                        : ids[i] >= 0 && ids[i] < 256 ? &byte
                                                      : NULL;
        if (!s)
            return qp_fail(
                err, QP_BADFILE,
                "token id %d at place %lld: the vocabulary has %lld ids, and not this one", ids[i],
                (long long)i, (long long)qp_tokenizer_vocab(t));
        if (skip_special && t->pretok && t->bpe.vocab.token[ids[i]].flags & QP_TOKEN_SPECIAL)
            continue;
        qp_buf_add(out, s, len);
    }
    return QP_OK;
}

/* ---- what it is ---- */

int64_t qp_tokenizer_vocab(const qp_tokenizer *t) { return t->pretok ? t->bpe.vocab.n : 256; }
int32_t qp_tokenizer_bos(const qp_tokenizer *t) { return t->before.n ? t->before.id[0] : -1; }
int32_t qp_tokenizer_eos(const qp_tokenizer *t) { return t->eos; }
const char *qp_tokenizer_template(const qp_tokenizer *t) { return t->chat_template; }

int32_t qp_tokenizer_id(const qp_tokenizer *t, const char *token)
{
    size_t len = strlen(token);
    if (!t->pretok) return len == 1 ? (uint8_t)token[0] : -1;
    const qp_added_token *a = qp_added_exact(&t->raw, token, len);
    if (!a) a = qp_added_exact(&t->normalized, token, len);
    return a ? a->id : qp_vocab_find(&t->bpe.vocab, token, len, qp_hash_bytes(token, len));
}

static void hash_i64(qp_sha256 *h, int64_t v) { qp_sha256_add(h, &v, sizeof v); }

static void hash_added(qp_sha256 *h, const qp_added *a)
{
    hash_i64(h, a->n);
    for (int64_t i = 0; i < a->n; i++) {
        const qp_added_token *t = &a->token[i];
        hash_i64(h, (int64_t)t->id << 3 | t->special << 2 | t->lstrip << 1 | t->rstrip);
        hash_i64(h, (int64_t)t->len);
        qp_sha256_add(h, t->text, t->len);
    }
}

/* All that decides ids, whatever file it stood in; not the chat template. */
void qp_tokenizer_hash(const qp_tokenizer *t, char hex[65])
{
    qp_sha256 h;
    qp_sha256_init(&h);
    hash_i64(&h, t->eos);
    hash_i64(&h, t->prefix_space << 1 | t->bpe.ignore_merges);
    for (int i = 0; t->pretok && i < qp_pretok_stages(t->pretok); i++)
        qp_sha256_add(&h, qp_pretok_pattern(t->pretok, i),
                      strlen(qp_pretok_pattern(t->pretok, i)) + 1);
    for (int64_t i = 0; i < t->before.n; i++) hash_i64(&h, t->before.id[i]);
    hash_added(&h, &t->raw);
    hash_added(&h, &t->normalized);
    for (int64_t i = 0; i < t->bpe.vocab.n; i++) {
        size_t len = 0;
        const char *bytes = qp_vocab_bytes(&t->bpe.vocab, i, &len);
        hash_i64(&h, bytes ? (int64_t)len : -1);
        qp_sha256_add(&h, bytes ? bytes : "", len);
    }
    int64_t n;
    qp_merge *merge = qp_bpe_by_rank(&t->bpe, &n);
    for (int64_t i = 0; i < n; i++) hash_i64(&h, (int64_t)merge[i].pair);
    free(merge);
    qp_sha256_hex(&h, hex);
}

static bool pattern_is(const qp_tokenizer *t, int stage, const char *pattern)
{
    return stage < qp_pretok_stages(t->pretok) &&
           strcmp(qp_pretok_pattern(t->pretok, stage), pattern) == 0;
}

const char *qp_tokenizer_kind(const qp_tokenizer *t)
{
    if (!t->pretok) return "bytes";
    if (pattern_is(t, 0, QP_PATTERN_LLAMA3) && qp_tokenizer_id(t, "<|begin_of_text|>") >= 0)
        return "llama3";
    if (pattern_is(t, 0, QP_PATTERN_DIGIT) && qp_tokenizer_id(t, "<|im_start|>") >= 0)
        return "smollm2";
    return "bpe";
}
