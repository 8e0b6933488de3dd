/* Sources to tokenised documents. */
#ifndef QP_DATA_CORPUS_H
#define QP_DATA_CORPUS_H
#include "data/chat.h"
QP_C_BEGIN

typedef enum { QP_EXCESS_RAISE, QP_EXCESS_TRUNCATE, QP_EXCESS_DROP } qp_excess;
typedef enum { QP_BAD_RAISE, QP_BAD_SKIP } qp_on_bad;

typedef struct {
    const char *path; /* .jsonl .json .txt, or a folder, which stands for its training file */
    const char
        *type; /* auto (or NULL), chat_template, prompt_completion, alpaca, input_output, text */
    const char *field_messages, *field_prompt, *field_completion, *field_instruction, *field_input,
        *field_output,
        *field_text; /* NULL: the usual names, then the pairs people use (question/answer, ...) */
    double
        weight; /* how often each document is taken: 2 twice, 0.5 every other one; 0 is read as 1 */
} qp_source;

/* The file that `path` stands for in a split ("train", "valid", "test"): in a folder train.jsonl,
   .json or .txt (valid also as validation, val or dev); a file stands for itself in "train" and for
   nothing elsewhere. *file is the caller's to free, NULL when there is none, which is an error only
   for "train". */
qp_status qp_source_resolve(const char *path, const char *split, char **file,
                            qp_err *err) QP_MUST_CHECK;

typedef struct {
    const qp_tokenizer *tokenizer;
    const qp_chat *chat; /* NULL or "none": pairs are joined as they are */
    qp_chat_options chat_options;
    int64_t sequence_len; /* rows a document may have */
    qp_excess
        excess; /* longer ones; too long to learn anything after truncation counts as dropped */
    qp_on_bad on_bad; /* records that cannot be read or teach nothing */
    double bad_limit; /* percent of a file's records that may be skipped */
    int threads;
} qp_corpus_options;

/* Documents back to back. Document d has rows start[d] .. start[d+1]-1; targets[i] is what is
   predicted at row i: the next token where it is learned, else -1. A document ends with its last
   target: later rows could teach nothing, and no earlier row sees them. A .txt is one text (BOS,
   text, EOS as the tokenizer has them) cut into windows of sequence_len rows; the target of a
   window's last row is the next one's first token, so each target is used once. */
typedef struct {
    int32_t *tokens, *targets;
    int64_t *start; /* (documents + 1) */
    int64_t documents, n, trained;
    int64_t truncated, dropped, skipped;
    int64_t bytes; /* of text read */
    char *found;   /* what the sources turned out to be, one line each */
} qp_corpus;

qp_status qp_corpus_load(qp_corpus *c, const qp_source *sources, int n, const qp_corpus_options *o,
                         qp_err *err) QP_MUST_CHECK;
/* Moves documents chosen by seed into valid, so that it holds that share (below 1) or, from 1 on,
   that many of them. Both keep their order. Taking all or none is QP_USAGE. */
qp_status qp_corpus_split(qp_corpus *c, qp_corpus *valid, double share, uint64_t seed,
                          qp_err *err) QP_MUST_CHECK;
void qp_corpus_hash(const qp_corpus *c, char hex[65]);
void qp_corpus_release(qp_corpus *c);
QP_C_END
#endif
