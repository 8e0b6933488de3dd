/* Meta's tokenizer.model: lines "base64-of-the-bytes rank", as tiktoken keeps a vocabulary. The
   pattern and the special tokens are Llama 3's: they are not in the file. */
#include "base/zio.h"
#include "data/tokenizer_parts.h"
#include <stdio.h>
#include <string.h>

enum { SPECIALS = 256 };

/* The names of Llama 3.1; the rest are reserved, numbered from 3. */
static const char *const specials[] = {
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|reserved_special_token_0|>",
    "<|reserved_special_token_1|>",
    "<|finetune_right_pad_id|>",
    "<|reserved_special_token_2|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
};
enum { NAMED = sizeof specials / sizeof *specials };

/* RFC 4648, with its padding. */
static bool base64(const char *s, size_t len, qp_buf *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (!len || len % 4) return false;
    size_t pad = s[len - 1] == '=' ? 1 + (s[len - 2] == '=') : 0;
    for (size_t i = 0; i < len; i += 4) {
        uint32_t v = 0;
        for (size_t k = 0; k < 4; k++) {
            bool padding = i + k >= len - pad;
            const char *d = padding ? digits : memchr(digits, s[i + k], 64);
            if (!d) return false;
            v = v << 6 | (uint32_t)(d - digits);
        }
        size_t n = i + 4 < len ? 3 : 3 - pad;
        qp_buf_add(out, (char[]){ (char)(v >> 16), (char)(v >> 8), (char)v }, n);
    }
    return true;
}

static bool decimal(const char *s, size_t len, int64_t *v)
{
    *v = 0;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9' || *v > QP_VOCAB_MAX_ID) return false;
        *v = 10 * *v + (s[i] - '0');
    }
    return len && *v <= QP_VOCAB_MAX_ID - SPECIALS;
}

static qp_status read_line(qp_vocab *v, const char *s, size_t len, int64_t line, qp_err *err)
{
    const char *space = memchr(s, ' ', len);
    size_t n = space ? (size_t)(space - s) : len;
    int64_t id;
    qp_buf bytes = { 0 };
    qp_status rc = QP_OK;
    if (!base64(s, n, &bytes))
        rc = qp_fail(err, QP_BADFILE, "line %lld: '%.*s' is not base64", (long long)line,
                     (int)(n < 40 ? n : 40), s);
    else if (!space || !decimal(space + 1, len - n - 1, &id))
        rc = qp_fail(err, QP_BADFILE, "line %lld: a rank was wanted after the token",
                     (long long)line);
    else if (!qp_vocab_add(v, (int32_t)id, bytes.data, bytes.len, true))
        rc = qp_fail(err, QP_BADFILE, "line %lld: the token or rank %lld stood there before",
                     (long long)line, (long long)id);
    qp_buf_release(&bytes);
    return rc;
}

static qp_status read_lines(qp_vocab *v, const char *s, size_t len, qp_err *err)
{
    qp_status rc = QP_OK;
    if (len && (memchr(s, '\0', len < 4096 ? len : 4096) || *s == '\n'))
        return qp_fail(err, QP_BADFILE,
                       "no lines of base64 and rank (a SentencePiece model is not supported)");
    int64_t line = 0;
    for (const char *end = s + len, *stop; s < end && !rc; s = stop + 1) {
        stop = memchr(s, '\n', (size_t)(end - s));
        if (!stop) stop = end;
        size_t n = (size_t)(stop - s);
        if (n && s[n - 1] == '\r') n--;
        if (line++, n) rc = read_line(v, s, n, line, err);
    }
    if (!rc && !v->n) rc = qp_fail(err, QP_BADFILE, "no tokens");
    return rc;
}

/* A pair may be merged when its concatenation is a token, whose rank is the merge's. */
static void make_merges(qp_bpe *b)
{
    qp_bpe_reserve_merges(b, 5 * b->vocab.n / 2);
    for (int32_t id = 0; id < b->vocab.n; id++) {
        size_t len = 0;
        const char *s = qp_vocab_bytes(&b->vocab, id, &len);
        for (size_t k = 1; k < len; k++) qp_bpe_add_merge(b, id, s, k, s + k, len - k, NULL);
    }
}

static qp_status add_specials(qp_tokenizer_builder *b)
{
    int32_t first = (int32_t)b->t->bpe.vocab.n;
    qp_status rc = QP_OK;
    for (int i = 0; i < SPECIALS && !rc; i++) {
        char name[40];
        if (i < NAMED)
            snprintf(name, sizeof name, "%s", specials[i]);
        else
            snprintf(name, sizeof name, "<|reserved_special_token_%d|>", i - NAMED + 3);
        qp_added_token flags = { .id = first + i, .special = true };
        rc = qp_tokenizer_add_added(b, name, strlen(name), flags, false);
    }
    b->t->bos = first;
    b->t->eos = first + 1;
    b->t->pad = first + 4;
    qp_ids_add(&b->t->before, first);
    return rc;
}

qp_status qp_tokenizer_read_model(qp_tokenizer *t, const char *path, qp_err *err)
{
    qp_map file;
    qp_status rc = qp_map_open(&file, path, err);
    if (rc) return rc;
    qp_tokenizer_builder b;
    qp_tokenizer_builder_init(&b, t, "tokenizer.model", err);
    t->bpe.ignore_merges = true;
    t->pretok = qp_pretok_new();
    rc = read_lines(&t->bpe.vocab, (const char *)file.data, file.len, err);
    if (!rc) make_merges(&t->bpe);
    if (!rc) rc = add_specials(&b);
    if (!rc)
        rc = qp_pretok_add(t->pretok, QP_PATTERN_LLAMA3, strlen(QP_PATTERN_LLAMA3),
                           QP_SPLIT_ISOLATE, err);
    if (!rc) qp_tokenizer_finish(&b);
    qp_tokenizer_builder_release(&b);
    qp_map_release(&file);
    return rc ? qp_wrap(err, "%s", path) : QP_OK;
}
