/* Hugging Face's tokenizer.json: byte-level BPE and what goes with it. The file is read in one
   pass, straight into the tables; the small sections are parsed as trees. What would change the ids
   and is not done here is refused by name. */
#include "base/json.h"
#include "base/zio.h"
#include "data/json_value.h"
#include "data/tokenizer_parts.h"
#include <stdlib.h>
#include <string.h>

typedef struct {
    qp_tokenizer *t;
    qp_tokenizer_builder b;
    const char *early; /* merges that stand before the vocabulary */
    size_t early_len;
    bool have_vocab, have_merges;
    char *unknown; /* unk_token */
    qp_err *err;
} reader;

/* ---- model ---- */

static qp_status wrong(qp_json *j, const char *what)
{
    if (j->kind == QP_JSON_ERROR) return j->err->status;
    return qp_fail(j->err, QP_BADFILE, "%s, at byte %lld", what, (long long)(j->start - j->text));
}

static qp_status read_vocab(reader *r, qp_json *j)
{
    if (qp_json_next(j) != QP_JSON_OBJECT) return wrong(j, "model.vocab: an object was wanted");
    qp_buf name = { 0 };
    qp_status rc = QP_OK;
    while (!rc && qp_json_next(j) == QP_JSON_KEY) {
        qp_buf_clear(&name);
        qp_buf_add(&name, j->str.data, j->str.len);
        if (qp_json_next(j) != QP_JSON_NUMBER || !j->is_integer)
            rc = wrong(j, "model.vocab: an id was wanted");
        else
            rc = qp_tokenizer_add_token(&r->b, j->integer, name.data, name.len);
    }
    qp_buf_release(&name);
    r->have_vocab = true;
    return rc || j->kind == QP_JSON_OBJECT_END ? rc : wrong(j, "model.vocab");
}

/* ["a", "b"] */
static qp_status read_merge_pair(reader *r, qp_json *j, int32_t rank, qp_buf *left)
{
    static const char *const what = "model.merges: two strings were wanted";
    if (qp_json_next(j) != QP_JSON_STRING) return wrong(j, what);
    qp_buf_clear(left);
    qp_buf_add(left, j->str.data, j->str.len);
    if (qp_json_next(j) != QP_JSON_STRING) return wrong(j, what);
    qp_status rc =
        qp_tokenizer_add_merge(&r->b, rank, left->data, left->len, j->str.data, j->str.len);
    return rc || qp_json_next(j) == QP_JSON_ARRAY_END ? rc : wrong(j, what);
}

static qp_status read_merges(reader *r, qp_json *j)
{
    if (qp_json_next(j) != QP_JSON_ARRAY) return wrong(j, "model.merges: an array was wanted");
    qp_bpe_reserve_merges(&r->t->bpe, 2 * r->t->bpe.vocab.n);
    qp_buf left = { 0 };
    qp_status rc = QP_OK;
    int32_t rank = 0;
    for (qp_json_kind k; !rc && (k = qp_json_next(j)) != QP_JSON_ARRAY_END; rank++) {
        if (k == QP_JSON_STRING)
            rc = qp_tokenizer_add_merge_text(&r->b, rank, j->str.data, j->str.len);
        else if (k == QP_JSON_ARRAY)
            rc = read_merge_pair(r, j, rank, &left);
        else
            rc = wrong(j, "model.merges: pieces were wanted");
    }
    qp_buf_release(&left);
    r->have_merges = !rc;
    return rc;
}

/* ---- the smaller settings ---- */

static qp_status model_setting(reader *r, const char *key, const qp_value *v)
{
    static const char *const ignored[] = { "fuse_unk", "cache_capacity" };
    static const char *const empty[] = { "dropout", "continuing_subword_prefix",
                                         "end_of_word_suffix", "byte_fallback" };
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        if (strcmp(key, ignored[i]) == 0) return QP_OK;
    bool none = is_null(v) || v->kind == QP_JSON_FALSE || text_is(v, "") ||
                (v->kind == QP_JSON_NUMBER && v->number == 0);
    if (strcmp(key, "type") == 0)
        return text_is(v, "BPE")
                   ? QP_OK
                   : qp_fail(r->err, QP_BADFILE, "model.type %s is not supported (BPE is)",
                             text_of(v) ? text_of(v) : "is no text and");
    if (strcmp(key, "ignore_merges") == 0) r->t->bpe.ignore_merges = is_true(v);
    if (strcmp(key, "unk_token") == 0 && text_of(v)) {
        free(r->unknown);
        r->unknown = qp_xstrdup(v->str);
    }
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++)
        if (strcmp(key, empty[i]) == 0 && !none)
            return qp_fail(r->err, QP_BADFILE, "model.%s is set: not supported", key);
    return QP_OK;
}

static qp_status check_normalizer(reader *r, const qp_value *v)
{
    const qp_value *list = qp_json_get(v, "normalizers");
    if (is_null(v) || (text_is(qp_json_get(v, "type"), "Sequence") && list && !list->count))
        return QP_OK;
    const char *type = text_of(qp_json_get(v, "type"));
    return qp_fail(r->err, QP_BADFILE, "normalizer %s is not supported (null is)",
                   type ? type : "without a type");
}

static qp_status check_decoder(reader *r, const qp_value *v)
{
    const char *type = text_of(qp_json_get(v, "type"));
    if (is_null(v) || (type && strcmp(type, "ByteLevel") == 0)) return QP_OK;
    return qp_fail(r->err, QP_BADFILE, "decoder %s is not supported (ByteLevel is)",
                   type ? type : "without a type");
}

/* `single` of a TemplateProcessing: special tokens, then the text. */
static qp_status read_template(reader *r, const qp_value *v)
{
    const qp_value *single = qp_json_get(v, "single"), *specials = qp_json_get(v, "special_tokens");
    bool after = false;
    for (const qp_value *p = single ? single->child : NULL; p; p = p->next) {
        if (qp_json_get(p, "Sequence")) {
            after = true;
            continue;
        }
        const qp_value *name = qp_json_get(qp_json_get(p, "SpecialToken"), "id");
        if (!text_of(name))
            return qp_fail(r->err, QP_BADFILE,
                           "post_processor: a piece that is no Sequence or SpecialToken");
        if (after)
            return qp_fail(r->err, QP_BADFILE, "post_processor: %s after the text is not supported",
                           name->str);
        const qp_value *ids = qp_json_get(qp_json_get(specials, name->str), "ids");
        if (!ids || !ids->count)
            return qp_fail(r->err, QP_BADFILE, "post_processor: no ids for %s", name->str);
        for (const qp_value *id = ids->child; id; id = id->next) {
            size_t len;
            if (!id->is_integer || !qp_vocab_bytes(&r->t->bpe.vocab, id->integer, &len))
                return qp_fail(r->err, QP_BADFILE,
                               "post_processor: %s has the id %g, which no token has", name->str,
                               id->number);
            qp_ids_add(&r->t->before, (int32_t)id->integer);
        }
    }
    return QP_OK;
}

static qp_status read_post(reader *r, const qp_value *v)
{
    const char *type = text_of(qp_json_get(v, "type"));
    if (is_null(v) || (type && strcmp(type, "ByteLevel") == 0))
        return QP_OK; /* that moves offsets only */
    if (type && strcmp(type, "TemplateProcessing") == 0) return read_template(r, v);
    if (!type || strcmp(type, "Sequence") != 0)
        return qp_fail(
            r->err, QP_BADFILE,
            "post_processor %s is not supported (TemplateProcessing, ByteLevel, Sequence are)",
            type ? type : "without a type");
    const qp_value *list = qp_json_get(v, "processors");
    qp_status rc = QP_OK;
    for (const qp_value *p = list ? list->child : NULL; p && !rc; p = p->next) rc = read_post(r, p);
    return rc;
}

static qp_status read_added_token(reader *r, const qp_value *v)
{
    const qp_value *id = qp_json_get(v, "id"), *content = qp_json_get(v, "content");
    if (!text_of(content) || !id || !id->is_integer || id->integer < 0 ||
        id->integer > QP_VOCAB_MAX_ID)
        return qp_fail(r->err, QP_BADFILE,
                       "added_tokens: an entry without content or without an id from 0 to %d",
                       QP_VOCAB_MAX_ID);
    if (is_true(qp_json_get(v, "single_word")))
        return qp_fail(r->err, QP_BADFILE, "added_tokens: single_word of %s is not supported",
                       content->str);
    qp_added_token flags = { .id = (int32_t)id->integer,
                             .special = is_true(qp_json_get(v, "special")),
                             .lstrip = is_true(qp_json_get(v, "lstrip")),
                             .rstrip = is_true(qp_json_get(v, "rstrip")) };
    return qp_tokenizer_add_added(&r->b, content->str, content->str_len, flags,
                                  is_true(qp_json_get(v, "normalized")));
}

static qp_status read_added(reader *r, const qp_value *v)
{
    qp_status rc = QP_OK;
    for (const qp_value *p = v && v->kind == QP_JSON_ARRAY ? v->child : NULL; p && !rc; p = p->next)
        rc = read_added_token(r, p);
    return rc;
}

/* ---- the file ---- */

static qp_status read_model(reader *r, qp_json *j)
{
    if (qp_json_next(j) != QP_JSON_OBJECT) return wrong(j, "model: an object was wanted");
    qp_status rc = QP_OK;
    while (!rc && qp_json_next(j) == QP_JSON_KEY) {
        if ((qp_json_is(j, "vocab") && r->have_vocab) ||
            (qp_json_is(j, "merges") && (r->have_merges || r->early)))
            return qp_fail(r->err, QP_BADFILE, "model.%s stands there twice", j->str.data);
        if (qp_json_is(j, "vocab")) {
            rc = read_vocab(r, j);
        } else if (qp_json_is(j, "merges") && r->have_vocab) {
            rc = read_merges(r, j);
        } else {
            bool merges = qp_json_is(j, "merges");
            char *key = qp_xstrdup(j->str.data);
            const char *from = j->at;
            qp_json_skip(j);
            size_t len = (size_t)(j->at - from);
            qp_value *v = NULL;
            if (j->kind == QP_JSON_ERROR)
                rc = j->err->status;
            else if (merges)
                r->early = from, r->early_len = len;
            else
                rc = qp_json_parse(&v, from, len, r->err);
            if (!rc && v) rc = model_setting(r, key, v);
            qp_json_free(v);
            free(key);
        }
    }
    if (!rc && j->kind != QP_JSON_OBJECT_END) rc = wrong(j, "model");
    if (!rc && !r->have_vocab) rc = qp_fail(r->err, QP_BADFILE, "model.vocab is missing");
    if (!rc && r->early) {
        qp_json merges;
        qp_json_init(&merges, r->early, r->early_len, r->err);
        rc = read_merges(r, &merges);
        qp_json_release(&merges);
    }
    if (!rc && !r->have_merges) rc = qp_fail(r->err, QP_BADFILE, "model.merges is missing");
    return rc;
}

enum { ADDED, NORMALIZER, PRE, POST, DECODER, SECTIONS };
static const char *const section_name[SECTIONS] = { "added_tokens", "normalizer", "pre_tokenizer",
                                                    "post_processor", "decoder" };

static qp_status read_sections(reader *r, qp_json *j, qp_value **section)
{
    bool model = false;
    if (qp_json_next(j) != QP_JSON_OBJECT) return wrong(j, "an object was wanted");
    qp_status rc = QP_OK;
    while (!rc && qp_json_next(j) == QP_JSON_KEY) {
        if (qp_json_is(j, "model")) {
            if (model) return qp_fail(r->err, QP_BADFILE, "model stands there twice");
            model = true;
            rc = read_model(r, j);
            continue;
        }
        int k = 0;
        while (k < SECTIONS && !qp_json_is(j, section_name[k])) k++;
        const char *from = j->at;
        qp_json_skip(j);
        if (j->kind == QP_JSON_ERROR) return j->err->status;
        if (k == SECTIONS) continue;
        if (section[k])
            return qp_fail(r->err, QP_BADFILE, "%s stands there twice", section_name[k]);
        rc = qp_json_parse(&section[k], from, (size_t)(j->at - from), r->err);
    }
    if (rc) return rc;
    if (j->kind != QP_JSON_OBJECT_END || qp_json_next(j) != QP_JSON_END)
        return wrong(j, "the end of the file was wanted");
    return model ? QP_OK : qp_fail(r->err, QP_BADFILE, "no model: is this a tokenizer.json?");
}

static qp_status finish(reader *r, qp_value **section)
{
    qp_tokenizer *t = r->t;
    qp_status rc = read_added(r, section[ADDED]);
    if (!rc) rc = check_normalizer(r, section[NORMALIZER]);
    if (!rc && is_null(section[PRE]))
        rc = qp_fail(r->err, QP_BADFILE, "pre_tokenizer is missing: ByteLevel was wanted");
    if (!rc) rc = qp_tokenizer_read_pre(t, section[PRE], r->err);
    if (!rc) rc = read_post(r, section[POST]);
    if (!rc) rc = check_decoder(r, section[DECODER]);
    if (rc) return rc;
    qp_tokenizer_finish(&r->b);
    for (int i = 0; r->unknown && i < 256; i++)
        if (t->bpe.byte_id[i] < 0)
            return qp_fail(r->err, QP_BADFILE,
                           "model.unk_token %s with no token for byte 0x%02x: not supported",
                           r->unknown, i);
    return QP_OK;
}

qp_status qp_tokenizer_read_json(qp_tokenizer *t, const char *path, qp_err *err)
{
    qp_map file = { 0 };
    qp_status rc = qp_map_open(&file, path, err);
    if (rc) return rc;
    reader r = { .t = t, .err = err };
    qp_tokenizer_builder_init(&r.b, t, "model", err);
    qp_value *section[SECTIONS] = { 0 };
    qp_json j;
    qp_json_init(&j, (const char *)file.data, file.len, err);
    rc = read_sections(&r, &j, section);
    if (!rc) rc = finish(&r, section);
    qp_json_release(&j);
    for (int i = 0; i < SECTIONS; i++) qp_json_free(section[i]);
    qp_tokenizer_builder_release(&r.b);
    free(r.unknown);
    qp_map_release(&file);
    return rc ? qp_wrap(err, "%s", path) : QP_OK;
}
