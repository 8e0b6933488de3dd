/* Bytes to ids and back. Kinds: "bytes" (id = byte), tokenizer.json (byte-level BPE), the
   vocabulary in a GGUF, Meta's tokenizer.model of Llama 3. */
#ifndef QP_DATA_TOKENIZER_H
#define QP_DATA_TOKENIZER_H
#include "base/buf.h"
#include <stdbool.h>
#include <stdint.h>
QP_C_BEGIN

typedef struct qp_tokenizer qp_tokenizer;
typedef struct {
    int32_t *id;
    int64_t n, cap;
} qp_ids;
void qp_ids_add(qp_ids *ids, int32_t id);
void qp_ids_release(qp_ids *ids);

enum {
    QP_TOK_BOS = 1,     /* BOS in front, if the tokenizer has one */
    QP_TOK_SPECIAL = 2, /* the text of special tokens counts as such, not as plain text */
};

/* path: "bytes", a tokenizer.json, tokenizer.model, a folder with one, or a .gguf. Read-only and
 * thread-safe after opening. */
qp_status qp_tokenizer_open(qp_tokenizer **t, const char *path, qp_err *err) QP_MUST_CHECK;
void qp_tokenizer_free(qp_tokenizer *t);
/* Appends ids. The text may hold NUL bytes and invalid UTF-8: a byte that is no UTF-8 is a word of
   its own and cuts the text in two there. Tokens added for words (not special ones) count always.
   At most 2 GB at once. */
qp_status qp_tokenizer_encode(const qp_tokenizer *t, const char *text, size_t len, unsigned flags,
                              qp_ids *out, qp_err *err) QP_MUST_CHECK;
/* The same with, per id, the byte offset in the text where it begins (n offsets appended; may be
 * NULL). */
qp_status qp_tokenizer_encode_at(const qp_tokenizer *t, const char *text, size_t len,
                                 unsigned flags, qp_ids *out, qp_ids *offsets,
                                 qp_err *err) QP_MUST_CHECK;
/* Appends bytes; special tokens as their text unless skip_special. Unknown ids: error. */
qp_status qp_tokenizer_decode(const qp_tokenizer *t, const int32_t *ids, int64_t n,
                              bool skip_special, qp_buf *out, qp_err *err) QP_MUST_CHECK;
int64_t qp_tokenizer_vocab(const qp_tokenizer *t);
int32_t qp_tokenizer_bos(const qp_tokenizer *t); /* -1: none is added */
int32_t qp_tokenizer_eos(const qp_tokenizer *t); /* -1: none known */
/* The token with exactly these bytes, special ones first; -1: none. */
int32_t qp_tokenizer_id(const qp_tokenizer *t, const char *token);
const char *qp_tokenizer_kind(const qp_tokenizer *t);     /* "bytes", "llama3", "smollm2", "bpe" */
const char *qp_tokenizer_template(const qp_tokenizer *t); /* the model's own jinja text, or NULL */
/* Of all that decides ids: the same for a GGUF and the tokenizer.json of its model. */
void qp_tokenizer_hash(const qp_tokenizer *t, char hex[65]);
/* Writes tokenizer.json, tokenizer_config.json, special_tokens_map.json (and chat template) into
   dir: a copy of what lay beside the model, or made from GGUF metadata. "bytes": nothing. */
qp_status qp_tokenizer_save(const qp_tokenizer *t, const char *dir, qp_err *err) QP_MUST_CHECK;
QP_C_END
#endif
