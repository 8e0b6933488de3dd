/* What a tokenizer is made of, and how one is built: for the files that read, run and save one. */
#ifndef QP_DATA_TOKENIZER_PARTS_H
#define QP_DATA_TOKENIZER_PARTS_H
#include "base/json.h"
#include "data/added.h"
#include "data/bpe.h"
#include "data/bytelevel.h"
#include "data/pretok.h"
#include "data/tokenizer.h"

struct qp_tokenizer {
    char *source; /* the file it was read from; NULL: bytes */
    bool copied;  /* saved by copying it and what lies beside it */
    qp_bpe bpe;
    qp_pretok *pretok;          /* NULL: bytes */
    qp_added raw, normalized;   /* looked for in this order, as in Hugging Face's tokenizers */
    bool prefix_space;          /* a space is put before a text that does not begin with one */
    qp_ids before;              /* what the post-processor puts in front of a text (BOS) */
    int32_t bos, eos, pad, unk; /* as the configuration names them; -1: not named */
    char *chat_template;        /* jinja text, or NULL */
};

/* Fill a fresh tokenizer. On failure the caller frees it. */
qp_status qp_tokenizer_read_json(qp_tokenizer *t, const char *path, qp_err *err) QP_MUST_CHECK;
qp_status qp_tokenizer_read_gguf(qp_tokenizer *t, const char *path, qp_err *err) QP_MUST_CHECK;
qp_status qp_tokenizer_read_model(qp_tokenizer *t, const char *path, qp_err *err) QP_MUST_CHECK;
/* tokenizer_config.json, special_tokens_map.json and chat_template.jinja of a folder, as far as
   they are there. */
qp_status qp_tokenizer_read_config(qp_tokenizer *t, const char *dir, qp_err *err) QP_MUST_CHECK;
/* The pre_tokenizer member of a tokenizer.json. Written: for stages that isolate only. */
qp_status qp_tokenizer_read_pre(qp_tokenizer *t, const qp_value *pre, qp_err *err) QP_MUST_CHECK;
void qp_tokenizer_write_pre(const qp_tokenizer *t, qp_json_writer *w);

typedef struct {
    qp_tokenizer *t;
    qp_bytelevel names;
    qp_buf left, right, missing;
    const char *where; /* "model" or "tokenizer.ggml": how messages name the file's parts */
    qp_err *err;
} qp_tokenizer_builder;

void qp_tokenizer_builder_init(qp_tokenizer_builder *b, qp_tokenizer *t, const char *where,
                               qp_err *err);
void qp_tokenizer_builder_release(qp_tokenizer_builder *b);
/* A token by its printable name. */
qp_status qp_tokenizer_add_token(qp_tokenizer_builder *b, int64_t id, const char *name,
                                 size_t len) QP_MUST_CHECK;
qp_status qp_tokenizer_add_merge(qp_tokenizer_builder *b, int32_t rank, const char *left,
                                 size_t left_len, const char *right,
                                 size_t right_len) QP_MUST_CHECK;
/* "left right" */
qp_status qp_tokenizer_add_merge_text(qp_tokenizer_builder *b, int32_t rank, const char *s,
                                      size_t len) QP_MUST_CHECK;
/* A token that stands in the text as it is; it may be in the vocabulary already, under the same id.
   flags: all but text and len. */
qp_status qp_tokenizer_add_added(qp_tokenizer_builder *b, const char *text, size_t len,
                                 qp_added_token flags, bool normalized) QP_MUST_CHECK;
void qp_tokenizer_finish(qp_tokenizer_builder *b); /* after the last token */
#endif
