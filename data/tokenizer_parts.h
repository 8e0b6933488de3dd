/* What a tokenizer is made of: for the files that build, run and save one. */
#ifndef QP_DATA_TOKENIZER_PARTS_H
#define QP_DATA_TOKENIZER_PARTS_H
#include "data/added.h"
#include "data/bpe.h"
#include "data/pretok.h"
#include "data/tokenizer.h"

struct qp_tokenizer {
    char *source; /* the file it was read from; NULL: bytes */
    bool from_gguf;
    qp_bpe bpe;
    qp_pretok *pretok;
    qp_added raw, normalized;   /* looked for in this order, as in Hugging Face's tokenizers */
    bool prefix_space;          /* a space is put before a text that does not begin with one */
    qp_ids before;              /* what the post-processor puts in front of a text (BOS) */
    int32_t bos, eos, pad, unk; /* as the configuration names them; -1: not named */
    char *chat_template;        /* jinja text, or NULL */
    char *pre_json;             /* the pre_tokenizer as tokenizer.json would have it */
};

/* Fill a zeroed tokenizer (ids set to -1). On failure the caller frees it. */
qp_status qp_tokenizer_read_json(qp_tokenizer *t, const char *path, qp_err *err) QP_MUST_CHECK;
qp_status qp_tokenizer_read_gguf(qp_tokenizer *t, const char *path, qp_err *err) QP_MUST_CHECK;
/* Takes the pre_tokenizer object of a tokenizer.json. */
struct qp_value;
qp_status qp_tokenizer_read_pre(qp_tokenizer *t, const struct qp_value *pre,
                                qp_err *err) QP_MUST_CHECK;
#endif
