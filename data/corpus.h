/* Sources to tokenised documents. */
#ifndef QP_DATA_CORPUS_H
#define QP_DATA_CORPUS_H
#include "data/chat.h"

typedef enum { QP_EXCESS_RAISE, QP_EXCESS_TRUNCATE, QP_EXCESS_DROP } qp_excess;
typedef enum { QP_BAD_RAISE, QP_BAD_SKIP } qp_on_bad;

typedef struct {
    const char *path; /* .jsonl .json .txt, or a folder with train/valid/test.jsonl (the caller names the file) */
    const char *type; /* auto, chat_template, prompt_completion, alpaca, text (completion) */
    const char *field_messages, *field_prompt, *field_completion, *field_instruction, *field_input, *field_output,
        *field_text; /* NULL: the usual names, then the pairs people use (question/answer, ...) */
    double weight;
} qp_source;

typedef struct {
    const qp_tokenizer *tokenizer;
    const qp_chat *chat;
    qp_chat_options chat_options;
    int64_t sequence_len; /* tokens; a plain text is cut into windows of this, each target once */
    qp_excess excess;
    qp_on_bad on_bad;
    double bad_limit; /* percent */
    int threads;
} qp_corpus_options;

/* Documents back to back. Document d has tokens start[d] .. start[d+1]-1; target[i] is what is predicted at token i
   (the next token where it is learned, else -1). */
typedef struct {
    int32_t *tokens, *targets;
    int64_t *start; /* (documents + 1) */
    int64_t documents, n, trained;
    int64_t truncated, dropped, skipped;
    int64_t bytes;  /* of text read */
    char *found;    /* what the sources turned out to be, one line each */
} qp_corpus;

qp_status qp_corpus_load(qp_corpus *c, const qp_source *sources, int n, const qp_corpus_options *o, qp_err *err) QP_MUST_CHECK;
/* Moves every k-th document, chosen by seed, into valid so that it holds about `share` (0..1) or, above 1, that many. */
qp_status qp_corpus_split(qp_corpus *c, qp_corpus *valid, double share, uint64_t seed, qp_err *err) QP_MUST_CHECK;
void qp_corpus_hash(const qp_corpus *c, char hex[65]);
void qp_corpus_release(qp_corpus *c);
#endif
