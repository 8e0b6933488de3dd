/* Hugging Face's files of a tokenizer: copied when it came from such, else written from what the
   file had, so that transformers makes the same ids. */
#include "base/zio.h"
#include "data/tokenizer_parts.h"
#include <stdlib.h>
#include <string.h>

typedef struct {
    const qp_tokenizer *t;
    qp_bytelevel names;
    qp_json_writer w;
    qp_buf name;
} writer;

/* ---- tokenizer.json ---- */

/* How the file names a token: those of bytes by the bytes' printable names, others by their text.
 */
static const char *name_of(writer *r, int32_t id)
{
    const qp_vocab *v = &r->t->bpe.vocab;
    size_t len;
    const char *bytes = qp_vocab_bytes(v, id, &len);
    qp_buf_clear(&r->name);
    if (v->token[id].flags & QP_TOKEN_BYTES)
        qp_bytelevel_names(&r->names, bytes, len, &r->name);
    else
        qp_buf_add(&r->name, bytes, len);
    return r->name.data;
}

static void text(writer *r, const char *key, const char *value)
{
    qp_json_key(&r->w, key);
    qp_json_cstring(&r->w, value);
}

static void flag(writer *r, const char *key, bool value)
{
    qp_json_key(&r->w, key);
    qp_json_bool(&r->w, value);
}

static void null(writer *r, const char *key)
{
    qp_json_key(&r->w, key);
    qp_json_null(&r->w);
}

static int by_id(const void *x, const void *y)
{
    const qp_added_token *a = x, *b = y;
    return (a->id > b->id) - (a->id < b->id);
}

/* Sorted by id: the order in which transformers adds them. From a GGUF all are `raw`. */
static void write_added(writer *r)
{
    const qp_added *a = &r->t->raw;
    qp_added_token *token = qp_xcalloc((size_t)a->n + 1, sizeof *token);
    if (a->n) memcpy(token, a->token, (size_t)a->n * sizeof *token);
    qsort(token, (size_t)a->n, sizeof *token, by_id);
    qp_json_key(&r->w, "added_tokens");
    qp_json_open_array(&r->w);
    for (int64_t i = 0; i < a->n; i++) {
        qp_json_open_object(&r->w);
        qp_json_key(&r->w, "id");
        qp_json_int(&r->w, token[i].id);
        qp_json_key(&r->w, "content");
        qp_json_string(&r->w, token[i].text, token[i].len);
        flag(r, "single_word", false);
        flag(r, "lstrip", token[i].lstrip);
        flag(r, "rstrip", token[i].rstrip);
        flag(r, "normalized", false);
        flag(r, "special", token[i].special);
        qp_json_close_object(&r->w);
    }
    qp_json_close_array(&r->w);
    free(token);
}

static void write_sequence_a(writer *r)
{
    qp_json_open_object(&r->w);
    qp_json_key(&r->w, "Sequence");
    qp_json_open_object(&r->w);
    text(r, "id", "A");
    qp_json_key(&r->w, "type_id");
    qp_json_int(&r->w, 0);
    qp_json_close_object(&r->w);
    qp_json_close_object(&r->w);
}

static void write_byte_level(writer *r, const char *key)
{
    qp_json_key(&r->w, key);
    qp_json_open_object(&r->w);
    text(r, "type", "ByteLevel");
    flag(r, "add_prefix_space", true);
    flag(r, "trim_offsets", false);
    flag(r, "use_regex", true);
    qp_json_close_object(&r->w);
}

/* BOS, then the text; `pair`, which no causal model uses, is the same. */
static void write_bos(writer *r)
{
    const char *bos = name_of(r, r->t->before.id[0]);
    qp_json_key(&r->w, "post_processor");
    qp_json_open_object(&r->w);
    text(r, "type", "TemplateProcessing");
    for (int pair = 0; pair < 2; pair++) {
        qp_json_key(&r->w, pair ? "pair" : "single");
        qp_json_open_array(&r->w);
        qp_json_open_object(&r->w);
        qp_json_key(&r->w, "SpecialToken");
        qp_json_open_object(&r->w);
        text(r, "id", bos);
        qp_json_key(&r->w, "type_id");
        qp_json_int(&r->w, 0);
        qp_json_close_object(&r->w);
        qp_json_close_object(&r->w);
        write_sequence_a(r);
        qp_json_close_array(&r->w);
    }
    qp_json_key(&r->w, "special_tokens");
    qp_json_open_object(&r->w);
    qp_json_key(&r->w, bos);
    qp_json_open_object(&r->w);
    text(r, "id", bos);
    qp_json_key(&r->w, "ids");
    qp_json_open_array(&r->w);
    qp_json_int(&r->w, r->t->before.id[0]);
    qp_json_close_array(&r->w);
    qp_json_key(&r->w, "tokens");
    qp_json_open_array(&r->w);
    qp_json_cstring(&r->w, bos);
    qp_json_close_array(&r->w);
    qp_json_close_object(&r->w);
    qp_json_close_object(&r->w);
    qp_json_close_object(&r->w);
}

/* Added tokens stand in the vocabulary too: only so does every one of them keep its id. */
static void write_model(writer *r)
{
    const qp_bpe *b = &r->t->bpe;
    qp_json_key(&r->w, "model");
    qp_json_open_object(&r->w);
    text(r, "type", "BPE");
    null(r, "dropout");
    null(r, "unk_token");
    null(r, "continuing_subword_prefix");
    null(r, "end_of_word_suffix");
    flag(r, "fuse_unk", false);
    flag(r, "byte_fallback", false);
    flag(r, "ignore_merges", b->ignore_merges);
    qp_json_key(&r->w, "vocab");
    qp_json_open_object(&r->w);
    for (int32_t i = 0; i < b->vocab.n; i++) {
        if (!b->vocab.token[i].flags) continue;
        qp_json_key(&r->w, name_of(r, i));
        qp_json_int(&r->w, i);
    }
    qp_json_close_object(&r->w);
    qp_json_key(&r->w, "merges");
    qp_json_open_array(&r->w);
    int64_t n;
    qp_merge *merge = qp_bpe_by_rank(b, &n);
    for (int64_t i = 0; i < n; i++) {
        qp_json_open_array(&r->w);
        qp_json_cstring(&r->w, name_of(r, (int32_t)(merge[i].pair >> 32)));
        qp_json_cstring(&r->w, name_of(r, (int32_t)(uint32_t)merge[i].pair));
        qp_json_close_array(&r->w);
    }
    free(merge);
    qp_json_close_array(&r->w);
    qp_json_close_object(&r->w);
}

static void write_tokenizer(writer *r)
{
    qp_json_open_object(&r->w);
    text(r, "version", "1.0");
    null(r, "truncation");
    null(r, "padding");
    write_added(r);
    null(r, "normalizer");
    qp_json_key(&r->w, "pre_tokenizer");
    qp_tokenizer_write_pre(r->t, &r->w);
    if (r->t->before.n)
        write_bos(r);
    else
        write_byte_level(r, "post_processor");
    write_byte_level(r, "decoder");
    write_model(r);
    qp_json_close_object(&r->w);
}

/* ---- the smaller files ---- */

static void write_named(writer *r)
{
    const struct {
        const char *key;
        int32_t id;
    } named[] = { { "bos_token", r->t->bos },
                  { "eos_token", r->t->eos },
                  { "pad_token", r->t->pad },
                  { "unk_token", r->t->unk } };
    for (int i = 0; i < 4; i++)
        if (named[i].id >= 0) text(r, named[i].key, name_of(r, named[i].id));
}

static void write_config(writer *r)
{
    qp_json_open_object(&r->w);
    text(r, "tokenizer_class", "PreTrainedTokenizerFast");
    flag(r, "clean_up_tokenization_spaces", false);
    write_named(r);
    if (r->t->chat_template) text(r, "chat_template", r->t->chat_template);
    qp_json_close_object(&r->w);
}

static void write_map(writer *r)
{
    qp_json_open_object(&r->w);
    write_named(r);
    qp_json_close_object(&r->w);
}

static const struct {
    const char *name;
    void (*write)(writer *r);
    int indent;
} files[] = { { "tokenizer.json", write_tokenizer, 0 },
              { "tokenizer_config.json", write_config, 2 },
              { "special_tokens_map.json", write_map, 2 },
              { "chat_template.jinja", NULL, 0 } };
enum { FILES = sizeof files / sizeof *files };

static qp_status write_file(const qp_tokenizer *t, int k, const char *path, qp_err *err)
{
    qp_buf out = { 0 };
    writer r = { .t = t, .w = { .out = &out, .indent = files[k].indent } };
    qp_bytelevel_init(&r.names);
    files[k].write(&r);
    qp_buf_char(&out, '\n');
    qp_status rc = qp_file_write(path, out.data, out.len, err);
    qp_buf_release(&out);
    qp_buf_release(&r.name);
    return rc;
}

/* The first is the tokenizer itself, whatever its file is called; the others lie beside it. */
static qp_status copy_file(const qp_tokenizer *t, int k, const char *path, qp_err *err)
{
    char *dir = qp_path_parent(t->source);
    char *from = k ? qp_path_join(dir, files[k].name) : qp_xstrdup(t->source);
    qp_buf bytes = { 0 };
    qp_status rc = QP_OK;
    if (!k || qp_path_exists(from)) {
        rc = qp_file_read(from, &bytes, err);
        if (!rc) rc = qp_file_write(path, bytes.data, bytes.len, err);
    }
    qp_buf_release(&bytes);
    free(from);
    free(dir);
    return rc;
}

qp_status qp_tokenizer_save(const qp_tokenizer *t, const char *dir, qp_err *err)
{
    qp_status rc = QP_OK;
    for (int k = 0; t->source && k < FILES && !rc; k++) {
        char *path = qp_path_join(dir, files[k].name);
        if (t->copied)
            rc = copy_file(t, k, path, err);
        else if (files[k].write)
            rc = write_file(t, k, path, err);
        free(path);
    }
    return rc ? qp_wrap(err, "saving the tokenizer") : QP_OK;
}
