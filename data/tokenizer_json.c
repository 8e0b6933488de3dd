/* Hugging Face's tokenizer.json: byte-level BPE and what goes with it. The file is read in one
   pass, straight into the tables; the small sections are parsed as trees. What would change the ids
   and is not done here is refused by name. */
#include "base/json.h"
#include "base/zio.h"
#include "data/bytelevel.h"
#include "data/tokenizer_parts.h"
#include <stdlib.h>
#include <string.h>

typedef struct {
    qp_tokenizer *t;
    qp_bytelevel names;
    qp_buf left, right;
    const char *early; /* merges that stand before the vocabulary */
    size_t early_len;
    bool have_vocab, have_merges;
    char *unknown; /* unk_token */
    qp_err *err;
} reader;

static bool is_null(const qp_value *v) { return !v || v->kind == QP_JSON_NULL; }
static bool is_true(const qp_value *v) { return v && v->kind == QP_JSON_TRUE; }
static const char *text_of(const qp_value *v)
{
    return v && v->kind == QP_JSON_STRING ? v->str : NULL;
}
static bool text_is(const qp_value *v, const char *s)
{
    return text_of(v) && strcmp(v->str, s) == 0;
}

/* ---- pre_tokenizer ---- */

static qp_status read_split(qp_tokenizer *t, const qp_value *v, qp_err *err)
{
    const qp_value *pattern = qp_json_get(v, "pattern"), *regex = qp_json_get(pattern, "Regex");
    const qp_value *plain = qp_json_get(pattern, "String"), *how = qp_json_get(v, "behavior");
    bool invert = is_true(qp_json_get(v, "invert"));
    qp_split split = text_is(how, "Removed") && invert ? QP_SPLIT_KEEP : QP_SPLIT_ISOLATE;
    if (split == QP_SPLIT_ISOLATE && !text_is(how, "Isolated"))
        return qp_fail(
            err, QP_BADFILE,
            "pre_tokenizer Split: behavior %s%s is not supported (Isolated, inverted Removed are)",
            text_of(how) ? text_of(how) : "missing", invert ? ", inverted" : "");
    if (text_of(regex)) return qp_pretok_add(t->pretok, regex->str, regex->str_len, split, err);
    if (!text_of(plain) || strstr(plain->str, "\\E"))
        return qp_fail(err, QP_BADFILE, "pre_tokenizer Split: no pattern with a Regex or String");
    qp_buf quoted = { 0 };
    qp_buf_printf(&quoted, "\\Q%s\\E", plain->str);
    qp_status rc = qp_pretok_add(t->pretok, quoted.data, quoted.len, split, err);
    qp_buf_release(&quoted);
    return rc;
}

static qp_status read_digits(qp_tokenizer *t, const qp_value *v, qp_err *err)
{
    const char *p =
        is_true(qp_json_get(v, "individual_digits")) ? QP_PATTERN_DIGIT : QP_PATTERN_NUMBER;
    return qp_pretok_add(t->pretok, p, strlen(p), QP_SPLIT_ISOLATE, err);
}

static qp_status read_byte_level(qp_tokenizer *t, const qp_value *v, qp_err *err)
{
    if (is_true(qp_json_get(v, "add_prefix_space"))) {
        if (qp_pretok_stages(t->pretok))
            return qp_fail(
                err, QP_BADFILE,
                "pre_tokenizer ByteLevel: add_prefix_space after another stage is not supported");
        t->prefix_space = true;
    }
    const qp_value *regex = qp_json_get(v, "use_regex"); /* absent in old files: true */
    if (regex && regex->kind == QP_JSON_FALSE) return QP_OK;
    return qp_pretok_add(t->pretok, QP_PATTERN_GPT2, strlen(QP_PATTERN_GPT2), QP_SPLIT_ISOLATE,
                         err);
}

static const struct {
    const char *type;
    qp_status (*read)(qp_tokenizer *t, const qp_value *v, qp_err *err);
} pre_types[] = {
    { "Split", read_split },
    { "Digits", read_digits },
    { "ByteLevel", read_byte_level },
};

static qp_status read_one_pre(qp_tokenizer *t, const qp_value *v, bool *byte_level, qp_err *err)
{
    const char *type = text_of(qp_json_get(v, "type"));
    if (!type) return qp_fail(err, QP_BADFILE, "pre_tokenizer: no type");
    for (size_t i = 0; i < sizeof pre_types / sizeof *pre_types; i++)
        if (strcmp(type, pre_types[i].type) == 0) {
            *byte_level |= strcmp(type, "ByteLevel") == 0;
            return pre_types[i].read(t, v, err);
        }
    return qp_fail(err, QP_BADFILE,
                   "pre_tokenizer %s is not supported (Split, Digits, ByteLevel, Sequence are)",
                   type);
}

qp_status qp_tokenizer_read_pre(qp_tokenizer *t, const qp_value *pre, qp_err *err)
{
    t->pretok = qp_pretok_new();
    bool byte_level = false;
    qp_status rc = QP_OK;
    if (text_is(qp_json_get(pre, "type"), "Sequence")) {
        const qp_value *list = qp_json_get(pre, "pretokenizers");
        for (const qp_value *v = list ? list->child : NULL; v && !rc; v = v->next)
            rc = read_one_pre(t, v, &byte_level, err);
    } else {
        rc = read_one_pre(t, pre, &byte_level, err);
    }
    if (!rc && !byte_level)
        rc = qp_fail(err, QP_BADFILE,
                     "pre_tokenizer without ByteLevel: only byte-level vocabularies are supported");
    return rc;
}

/* ---- model ---- */

static qp_status wrong(qp_json *j, const char *what)
{
    if (j->kind == QP_JSON_ERROR) return j->err->status;
    return qp_fail(j->err, QP_BADFILE, "%s, at byte %lld", what, (long long)(j->start - j->text));
}

static qp_status read_vocab(reader *r, qp_json *j)
{
    if (qp_json_next(j) != QP_JSON_OBJECT) return wrong(j, "model.vocab: an object was wanted");
    qp_buf *bytes = &r->left;
    while (qp_json_next(j) == QP_JSON_KEY) {
        qp_buf_clear(bytes);
        bool ok = qp_bytelevel_bytes(&r->names, j->str.data ? j->str.data : "", j->str.len, bytes);
        if (!ok)
            qp_buf_add(bytes, j->str.data,
                       j->str.len); /* no bytes encode to it: known by id only */
        bool searchable = ok && bytes->len;
        if (qp_json_next(j) != QP_JSON_NUMBER || !j->is_integer || j->integer < 0 ||
            j->integer > QP_VOCAB_MAX_ID)
            return wrong(j, "model.vocab: an id from 0 to 16777215 was wanted");
        if (!qp_vocab_add(&r->t->bpe.vocab, (int32_t)j->integer, bytes->data, bytes->len,
                          searchable))
            return qp_fail(
                r->err, QP_BADFILE, "model.vocab: id %lld or token '%.*s' stands there twice",
                (long long)j->integer, (int)(bytes->len < 80 ? bytes->len : 80), bytes->data);
    }
    r->have_vocab = true;
    return j->kind == QP_JSON_OBJECT_END ? QP_OK : wrong(j, "model.vocab");
}

static qp_status add_merge(reader *r, int32_t rank, const char *left, size_t left_len,
                           const char *right, size_t right_len)
{
    qp_buf *a = &r->left, *b = &r->right, missing = { 0 };
    if (!left_len || !right_len)
        return qp_fail(r->err, QP_BADFILE,
                       "model.merges[%d]: a merge with an empty piece ('%.*s' and '%.*s')", rank,
                       (int)(left_len < 80 ? left_len : 80), left,
                       (int)(right_len < 80 ? right_len : 80), right);
    qp_buf_clear(a);
    qp_buf_clear(b);
    bool ok = qp_bytelevel_bytes(&r->names, left, left_len, a) &&
              qp_bytelevel_bytes(&r->names, right, right_len, b);
    if (!ok)
        return qp_fail(r->err, QP_BADFILE, "model.merges[%d]: a character that stands for no byte",
                       rank);
    ok = qp_bpe_add_merge(&r->t->bpe, rank, a->data, a->len, b->data, b->len, &missing);
    if (!ok) {
        qp_buf_clear(a);
        qp_bytelevel_names(&r->names, missing.data, missing.len, a);
        qp_fail(r->err, QP_BADFILE, "model.merges[%d]: '%s' is not in the vocabulary", rank,
                a->data);
    }
    qp_buf_release(&missing);
    return ok ? QP_OK : r->err->status;
}

/* "a b" */
static qp_status read_merge_text(reader *r, qp_json *j, int32_t rank)
{
    const char *s = j->str.data ? j->str.data : "", *space = memchr(s, ' ', j->str.len);
    if (!space) return wrong(j, "model.merges: two pieces with a space between were wanted");
    size_t left = (size_t)(space - s);
    return add_merge(r, rank, s, left, space + 1, j->str.len - left - 1);
}

/* ["a", "b"] */
static qp_status read_merge_pair(reader *r, qp_json *j, int32_t rank, qp_buf *left)
{
    if (qp_json_next(j) != QP_JSON_STRING) return wrong(j, "model.merges: two strings were wanted");
    qp_buf_clear(left);
    qp_buf_add(left, j->str.data, j->str.len);
    if (qp_json_next(j) != QP_JSON_STRING) return wrong(j, "model.merges: two strings were wanted");
    qp_status rc = add_merge(r, rank, left->data, left->len, j->str.data, j->str.len);
    if (!rc && qp_json_next(j) != QP_JSON_ARRAY_END)
        rc = wrong(j, "model.merges: two strings were wanted");
    return rc;
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
            rc = read_merge_text(r, j, rank);
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
    if (strcmp(key, "unk_token") == 0 && text_of(v)) r->unknown = qp_xstrdup(v->str);
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
            if (!id->is_integer || id->integer < 0 || id->integer > QP_VOCAB_MAX_ID)
                return qp_fail(r->err, QP_BADFILE, "post_processor: the ids of %s are none",
                               name->str);
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

/* An added token may stand in the vocabulary too; its id must agree. */
static qp_status add_token(reader *r, const qp_value *v)
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
    qp_vocab *vocab = &r->t->bpe.vocab;
    int32_t n = (int32_t)id->integer;
    size_t len;
    const char *there = qp_vocab_bytes(vocab, n, &len);
    qp_buf_clear(&r->left);
    bool names = qp_bytelevel_bytes(&r->names, content->str, content->str_len, &r->left);
    bool same = there && ((len == content->str_len && memcmp(there, content->str, len) == 0) ||
                          (names && len == r->left.len && memcmp(there, r->left.data, len) == 0));
    if (there && !same)
        return qp_fail(r->err, QP_BADFILE, "added_tokens: %s has id %d, which is another token's",
                       content->str, n);
    if (!there) qp_vocab_add(vocab, n, content->str, content->str_len, false);
    qp_added_token t = { .id = n,
                         .special = is_true(qp_json_get(v, "special")),
                         .lstrip = is_true(qp_json_get(v, "lstrip")),
                         .rstrip = is_true(qp_json_get(v, "rstrip")) };
    if (t.special) vocab->token[n].flags |= QP_TOKEN_SPECIAL;
    qp_added_add(is_true(qp_json_get(v, "normalized")) ? &r->t->normalized : &r->t->raw,
                 content->str, content->str_len, t);
    return QP_OK;
}

static qp_status read_added(reader *r, const qp_value *v)
{
    qp_status rc = QP_OK;
    for (const qp_value *p = v && v->kind == QP_JSON_ARRAY ? v->child : NULL; p && !rc; p = p->next)
        rc = add_token(r, p);
    return rc;
}

/* ---- the file ---- */

static qp_status read_model(reader *r, qp_json *j)
{
    if (qp_json_next(j) != QP_JSON_OBJECT) return wrong(j, "model: an object was wanted");
    qp_status rc = QP_OK;
    while (!rc && qp_json_next(j) == QP_JSON_KEY) {
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
    qp_bpe_ready(&t->bpe);
    for (int i = 0; r->unknown && i < 256; i++)
        if (t->bpe.byte_id[i] < 0)
            return qp_fail(r->err, QP_BADFILE,
                           "model.unk_token %s with no token for byte 0x%02x: not supported",
                           r->unknown, i);
    qp_added_ready(&t->raw);
    qp_added_ready(&t->normalized);
    for (int64_t i = 0; t->bpe.ignore_merges && i < t->bpe.vocab.n; i++) /* never from plain text */
        if (t->bpe.vocab.token[i].flags & QP_TOKEN_SPECIAL)
            qp_vocab_hide(&t->bpe.vocab, (int32_t)i);
    return QP_OK;
}

qp_status qp_tokenizer_read_json(qp_tokenizer *t, const char *path, qp_err *err)
{
    qp_map file = { 0 };
    qp_status rc = qp_map_open(&file, path, err);
    if (rc) return rc;
    reader r = { .t = t, .err = err };
    qp_bytelevel_init(&r.names);
    qp_value *section[SECTIONS] = { 0 };
    qp_json j;
    qp_json_init(&j, (const char *)file.data, file.len, err);
    rc = read_sections(&r, &j, section);
    if (!rc) rc = finish(&r, section);
    qp_json_release(&j);
    for (int i = 0; i < SECTIONS; i++) qp_json_free(section[i]);
    qp_buf_release(&r.left);
    qp_buf_release(&r.right);
    free(r.unknown);
    qp_map_release(&file);
    return rc ? qp_wrap(err, "%s", path) : QP_OK;
}
