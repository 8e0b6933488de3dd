/* The vocabulary in a GGUF: byte-level BPE as llama.cpp keeps it. The patterns that split the text
   are not in the file, only their name. */
#include "base/gguf.h"
#include "data/tokenizer_parts.h"
#include "data/unicode.h"
#include <stdlib.h>
#include <string.h>

enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE }; /* tokenizer.ggml.token_type */

/* As llama.cpp splits for these names (llama-vocab.cpp). */
static const struct {
    const char *name;
    bool ignore_merges, bos; /* bos: where add_bos_token is not given */
    const char *pattern[4];
} pres[] = {
    { "llama-bpe", true, true, { QP_PATTERN_LLAMA3 } },
    { "llama3", true, true, { QP_PATTERN_LLAMA3 } },
    { "llama-v3", true, true, { QP_PATTERN_LLAMA3 } },
    { "smollm", false, false, { QP_PATTERN_DIGIT, QP_PATTERN_GPT2 } },
    { "starcoder", false, false, { QP_PATTERN_DIGIT, QP_PATTERN_GPT2 } },
    { "gpt-2", false, false, { QP_PATTERN_GPT2 } },
    { "olmo", false, false, { QP_PATTERN_GPT2 } },
    { "qwen2", false, false, { QP_PATTERN_QWEN2 } },
    { "default",
      false,
      false,
      { "[\\p{P}\\$\\+<=>\\^~\\|]+",
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)", "\\p{N}+",
        "[0-9][0-9][0-9]" } },
};
enum { PRES = sizeof pres / sizeof *pres };

static bool is(qp_gguf_text s, const char *word)
{
    return s.len == strlen(word) && memcmp(s.s, word, s.len) == 0;
}

static qp_status check_model(const qp_gguf *g, qp_err *err)
{
    qp_gguf_text model;
    int64_t yes = 0;
    if (!qp_gguf_string(g, "tokenizer.ggml.model", &model))
        return qp_fail(err, QP_BADFILE, "no tokenizer.ggml.model: a GGUF without a tokenizer");
    if (!is(model, "gpt2"))
        return qp_fail(err, QP_BADFILE, "tokenizer.ggml.model %.*s is not supported (gpt2 is)",
                       (int)(model.len < 80 ? model.len : 80), model.s);
    if (qp_gguf_int(g, "tokenizer.ggml.add_eos_token", &yes) && yes)
        return qp_fail(err, QP_BADFILE, "tokenizer.ggml.add_eos_token is not supported");
    return QP_OK;
}

static qp_status read_pre_name(qp_tokenizer *t, const qp_gguf *g, bool *bos, qp_err *err)
{
    qp_gguf_text name = { "default", 7 };
    qp_gguf_string(g, "tokenizer.ggml.pre", &name);
    int k = 0;
    while (k < PRES && !is(name, pres[k].name)) k++;
    if (k == PRES) {
        qp_buf known = { 0 };
        for (int i = 0; i < PRES; i++) qp_buf_printf(&known, "%s%s", i ? ", " : "", pres[i].name);
        qp_fail(err, QP_BADFILE, "tokenizer.ggml.pre %.*s is not supported (%s are)",
                (int)(name.len < 80 ? name.len : 80), name.s, known.data);
        qp_buf_release(&known);
        return err->status;
    }
    t->pretok = qp_pretok_new();
    t->bpe.ignore_merges = pres[k].ignore_merges;
    *bos = pres[k].bos;
    qp_status rc = QP_OK;
    for (int i = 0; i < 4 && pres[k].pattern[i] && !rc; i++)
        rc = qp_pretok_add(t->pretok, pres[k].pattern[i], strlen(pres[k].pattern[i]),
                           QP_SPLIT_ISOLATE, err);
    return rc;
}

static qp_status strings(const qp_gguf *g, const char *key, const qp_gguf_value **v, qp_err *err)
{
    *v = qp_gguf_find(g, key);
    if (*v && (*v)->is_array && (*v)->text && (*v)->count <= QP_VOCAB_MAX_ID) return QP_OK;
    return qp_fail(err, QP_BADFILE, "%s: an array of strings was wanted", key);
}

static qp_status read_tokens(qp_tokenizer_builder *b, const qp_gguf *g)
{
    const qp_gguf_value *v, *types = qp_gguf_find(g, "tokenizer.ggml.token_type");
    qp_status rc = strings(g, "tokenizer.ggml.tokens", &v, b->err);
    if (rc) return rc;
    bool typed = types && types->is_array && types->count == v->count &&
                 types->type <= QP_GGUF_I32; /* the whole numbers up to 32 bits */
    if (types && !typed)
        return qp_fail(b->err, QP_BADFILE,
                       "tokenizer.ggml.token_type: %llu whole numbers were wanted, one a token",
                       (unsigned long long)v->count);
    for (uint64_t i = 0; i < v->count && !rc; i++) {
        int64_t type = typed ? qp_gguf_array_int(types, i) : NORMAL;
        const char *s = v->text[i].s;
        size_t len = v->text[i].len;
        if (qp_utf8_valid(s, len) != len)
            return qp_fail(b->err, QP_BADFILE, "tokenizer.ggml.tokens[%llu] is not UTF-8",
                           (unsigned long long)i);
        qp_added_token flags = { .id = (int32_t)i, .special = type == CONTROL || type == UNKNOWN };
        if (type == NORMAL || type == BYTE)
            rc = qp_tokenizer_add_token(b, (int64_t)i, s, len);
        else if (type == UNUSED)
            qp_vocab_add(&b->t->bpe.vocab, (int32_t)i, s, len, false);
        else
            rc = qp_tokenizer_add_added(b, s, len, flags, false);
    }
    return rc;
}

static qp_status read_merges(qp_tokenizer_builder *b, const qp_gguf *g)
{
    const qp_gguf_value *v;
    qp_status rc = strings(g, "tokenizer.ggml.merges", &v, b->err);
    if (!rc) qp_bpe_reserve_merges(&b->t->bpe, (int64_t)v->count);
    for (uint64_t i = 0; !rc && i < v->count; i++) {
        if (qp_utf8_valid(v->text[i].s, v->text[i].len) != v->text[i].len)
            return qp_fail(b->err, QP_BADFILE, "tokenizer.ggml.merges[%llu] is not UTF-8",
                           (unsigned long long)i);
        rc = qp_tokenizer_add_merge_text(b, (int32_t)i, v->text[i].s, v->text[i].len);
    }
    return rc;
}

static qp_status read_ids(qp_tokenizer *t, const qp_gguf *g, bool add_bos, qp_err *err)
{
    const struct {
        const char *key;
        int32_t *to;
    } ids[] = { { "tokenizer.ggml.bos_token_id", &t->bos },
                { "tokenizer.ggml.eos_token_id", &t->eos },
                { "tokenizer.ggml.padding_token_id", &t->pad },
                { "tokenizer.ggml.unknown_token_id", &t->unk } };
    for (int i = 0; i < 4; i++) {
        int64_t id;
        size_t len;
        if (!qp_gguf_int(g, ids[i].key, &id)) continue;
        if (!qp_vocab_bytes(&t->bpe.vocab, id, &len))
            return qp_fail(err, QP_BADFILE, "%s %lld: the vocabulary has %lld tokens", ids[i].key,
                           (long long)id, (long long)t->bpe.vocab.n);
        *ids[i].to = (int32_t)id;
    }
    int64_t given;
    if (qp_gguf_int(g, "tokenizer.ggml.add_bos_token", &given)) add_bos = given;
    if (add_bos && t->bos < 0)
        return qp_fail(err, QP_BADFILE, "add_bos_token without tokenizer.ggml.bos_token_id");
    if (add_bos) qp_ids_add(&t->before, t->bos);
    qp_gguf_text jinja;
    if (qp_gguf_string(g, "tokenizer.chat_template", &jinja)) {
        t->chat_template = qp_xcalloc(jinja.len + 1, 1);
        memcpy(t->chat_template, jinja.s, jinja.len);
    }
    return QP_OK;
}

qp_status qp_tokenizer_read_gguf(qp_tokenizer *t, const char *path, qp_err *err)
{
    qp_gguf g = { 0 };
    qp_tokenizer_builder b;
    bool bos = false;
    qp_status rc = qp_gguf_open(&g, path, err);
    if (rc) return rc;
    qp_tokenizer_builder_init(&b, t, "tokenizer.ggml", err);
    rc = check_model(&g, err);
    if (!rc) rc = read_pre_name(t, &g, &bos, err);
    if (!rc) rc = read_tokens(&b, &g);
    if (!rc) rc = read_merges(&b, &g);
    if (!rc) qp_tokenizer_finish(&b);
    if (!rc) rc = read_ids(t, &g, bos, err);
    qp_tokenizer_builder_release(&b);
    qp_gguf_release(&g);
    return rc ? qp_wrap(err, "%s", path) : QP_OK;
}
