#include "data/tokenizer.h"
#include "base/sha256.h"
#include "base/zio.h"
#include "data/tokenizer_parts.h"
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
    bool named = !strcmp(slash ? slash + 1 : path, "tokenizer.json");
    return named ? qp_path_parent(path) : NULL;
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
