/* Perplexity by the published methods; definitions in docs/perplexity.md. */
#ifndef QP_EVAL_PERPLEXITY_H
#define QP_EVAL_PERPLEXITY_H
#include "data/loader.h"
#include "model/model.h"

typedef struct {
    int64_t windows, tokens; /* tokens scored */
    double nll;              /* mean, natural log */
    double ppl, stderr_ppl;
    double bits_per_byte; /* NaN when the bytes are not known */
} qp_ppl;

/* method: hf, hf-exact, paper, llama.cpp. context L and stride (0: L) in tokens. ids are the whole text's; bytes its length.
   bos -1: none put in place (llama.cpp). Rows of several windows go through one pass of at most `rows` rows. */
qp_status qp_perplexity(qp_ctx *c, qp_model *m, const char *method, const int32_t *ids, int64_t n, int64_t bytes,
                        int64_t context, int64_t stride, int32_t bos, qp_ppl *out, qp_err *err) QP_MUST_CHECK;
/* The training loop's evaluation: mean loss over every target of the loader's epoch 0, at most max_tokens targets (0: all). */
qp_status qp_eval_loss(qp_ctx *c, qp_model *m, qp_loader *l, int64_t max_tokens, qp_ppl *out, qp_err *err) QP_MUST_CHECK;
#endif
