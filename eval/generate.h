/* Prompt to text on the training forward, with a KV cache. */
#ifndef QP_EVAL_GENERATE_H
#define QP_EVAL_GENERATE_H
#include "model/model.h"
QP_C_BEGIN

typedef struct {
    double temperature;                      /* 0: greedy */
    int64_t top_k;                           /* 0: all */
    double top_p, min_p, repetition_penalty; /* 1, 0, 1 (or 0 each): off */
    uint64_t seed;
} qp_sampling;

/* logits (V) f32, finite, changed in place; past: ids the penalty counts. step: the token's index,
   for the RNG. Filters as in transformers: penalty, temperature, top-k, top-p as a share of what
   top-k leaves, min-p. */
int32_t qp_sample(float *logits, int64_t v, const int32_t *past, int64_t n_past,
                  const qp_sampling *s, int64_t step);

typedef struct {
    int64_t max_tokens;
    const int32_t *stop_ids;
    int n_stop;
    qp_sampling sampling;
    bool (*on_token)(void *arg, int32_t id); /* false stops; may be NULL */
    void *arg;
} qp_generate_options;

typedef struct {
    double prompt_seconds, token_seconds; /* the pass over the prompt; all later passes together */
    bool stopped;                         /* by a stop id or on_token, not by max_tokens */
} qp_generate_stats;

/* One pass over the prompt, then one row a token. out: room for max_tokens ids; *n the number made,
   a stop id not included. stats may be NULL. An empty prompt, ids outside the vocabulary or more
   positions than the model has: QP_USAGE. */
qp_status qp_generate(qp_ctx *c, qp_model *m, const int32_t *prompt, int64_t n_prompt,
                      const qp_generate_options *o, int32_t *out, int64_t *n,
                      qp_generate_stats *stats, qp_err *err) QP_MUST_CHECK;
QP_C_END
#endif
