/* Perplexity by the published methods; definitions in docs/perplexity.md. */
#ifndef QP_EVAL_PERPLEXITY_H
#define QP_EVAL_PERPLEXITY_H
#include "data/loader.h"
#include "model/model.h"
QP_C_BEGIN

typedef struct {
    const char *method; /* hf (or NULL), hf-exact, paper, llama.cpp */
    int64_t context;    /* tokens a window sees */
    int64_t stride;     /* tokens from window to window; 0: context. hf and hf-exact only */
    int32_t bos;  /* llama.cpp: what the model reads in place of a window's first token; -1: that
                     token */
    int64_t rows; /* windows go through the model together, up to about this many rows; 0: 2048 */
    void (*progress)(void *arg, int64_t done, int64_t windows,
                     double ppl); /* after each pass; may be NULL */
    void *arg;
} qp_ppl_options;

typedef struct {
    int64_t windows, tokens; /* tokens scored */
    double nll;              /* mean, natural log, weighted as the method says */
    double ppl;              /* exp(nll) */
    double stderr_ppl;       /* ppl sqrt((mean(nll^2) - mean(nll)^2) / (tokens - 1)) */
    double bits_per_byte; /* nll / ln 2 * tokens of the text / its bytes; NaN when the bytes are not
                             known */
} qp_ppl;

/* ids: the whole text's, as the tokenizer gives them; bytes: its length, 0 if unknown. An unknown
   method, a number out of its range or a text that is too short is QP_USAGE, a loss that is not
   finite QP_BADFILE when a weight is at fault, else QP_FAIL. */
qp_status qp_perplexity(qp_ctx *c, qp_model *m, const qp_ppl_options *o, const int32_t *ids,
                        int64_t n, int64_t bytes, qp_ppl *out, qp_err *err) QP_MUST_CHECK;
typedef struct {
    int64_t max_tokens; /* stop when that many targets are scored; 0: all */
    /* After each pass: false ends the evaluation with QP_STOPPED. May be NULL. */
    bool (*go_on)(void *arg, int64_t done, int64_t batches);
    void *arg;
} qp_eval_options;

/* The training loop's evaluation: mean loss over the targets of the loader's epoch 0. windows
   counts documents. o may be NULL. */
qp_status qp_eval_loss(qp_ctx *c, qp_model *m, qp_loader *l, const qp_eval_options *o, qp_ppl *out,
                       qp_err *err) QP_MUST_CHECK;
QP_C_END
#endif
