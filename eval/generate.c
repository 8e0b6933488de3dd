#include "eval/generate.h"
#include "base/thread.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static qp_status check_prompt(const qp_model *m, const int32_t *prompt, int64_t n,
                              int64_t max_tokens, qp_err *err)
{
    const qp_config *cfg = qp_model_config(m);
    if (n < 1) return qp_fail(err, QP_USAGE, "the prompt has no tokens");
    if (max_tokens < 0 || max_tokens > cfg->max_positions - n)
        return qp_fail(err, QP_USAGE,
                       "%lld tokens of prompt and %lld to generate: the model has %lld positions",
                       (long long)n, (long long)max_tokens, (long long)cfg->max_positions);
    for (int64_t i = 0; i < n; i++)
        if (prompt[i] < 0 || prompt[i] >= cfg->vocab_size)
            return qp_fail(
                err, QP_USAGE,
                "prompt token %lld is %d: the model's vocabulary has %lld (another tokenizer?)",
                (long long)i, (int)prompt[i], (long long)cfg->vocab_size);
    return QP_OK;
}

static void copy_f32(float *to, const qp_tensor *t, int64_t n)
{
    const double *d = t->data;
    if (t->storage == QP_F64)
        for (int64_t i = 0; i < n; i++) to[i] = (float)d[i];
    else
        memcpy(to, t->data, (size_t)n * sizeof *to);
}

/* The batch's rows through the model into the cache; the last one's logits. */
static qp_status next_logits(qp_ctx *c, qp_model *m, const qp_batch *b, qp_kv *kv, float *logits,
                             qp_err *err)
{
    qp_scope scope;
    qp_scope_open(&c->arena, &scope);
    qp_tensor *h = qp_model_hidden(c, m, b, kv);
    size_t row = qp_storage_bytes(h->storage, qp_cols(h));
    qp_tensor *last = qp_wrap_data(c, h->storage, 2, (int64_t[]){ 1, qp_cols(h) },
                                   (char *)h->data + row * (size_t)(b->n - 1));
    qp_tensor *y = qp_model_logits(c, m, last);
    int64_t v = qp_cols(y);
    copy_f32(logits, y, v);
    qp_scope_close(&c->arena, &scope);
    int64_t i = 0;
    while (i < v && isfinite(logits[i])) i++;
    if (i == v) return QP_OK;
    qp_status rc = qp_model_check_finite(m, err);
    return rc ? rc
              : qp_fail(err, QP_FAIL,
                        "the logit of token %lld is %g, though every weight is finite",
                        (long long)i, (double)logits[i]);
}

static bool is_stop(const qp_generate_options *o, int32_t id)
{
    for (int i = 0; i < o->n_stop; i++)
        if (o->stop_ids[i] == id) return true;
    return false;
}

/* The row after `position` rows in the cache: it sees them all and itself. */
static void set_row(qp_batch *b, int32_t id, int64_t position)
{
    qp_batch_clear(b);
    qp_batch_add(b, &id, NULL, 1);
    b->pos[0] = b->last[0] = (int32_t)position;
}

typedef struct {
    qp_batch b;
    qp_kv *kv;
    float *logits;
    int32_t *past; /* prompt and what was made */
} state;

static qp_status run(qp_ctx *c, qp_model *m, state *s, int64_t n_prompt,
                     const qp_generate_options *o, int32_t *out, int64_t *n,
                     qp_generate_stats *stats, qp_err *err)
{
    int64_t v = qp_model_config(m)->vocab_size;
    double start = qp_now();
    qp_batch_add(&s->b, s->past, NULL, n_prompt);
    qp_status rc = next_logits(c, m, &s->b, s->kv, s->logits, err);
    stats->prompt_seconds = qp_now() - start;
    start = qp_now();
    while (!rc && *n < o->max_tokens) {
        int64_t seen = n_prompt + *n;
        int32_t id = qp_sample(s->logits, v, s->past, seen, &o->sampling, *n);
        stats->stopped = is_stop(o, id);
        if (stats->stopped) break;
        s->past[seen] = out[(*n)++] = id;
        stats->stopped = o->on_token && !o->on_token(o->arg, id);
        if (stats->stopped || *n == o->max_tokens) break;
        set_row(&s->b, id, seen);
        rc = next_logits(c, m, &s->b, s->kv, s->logits, err);
    }
    stats->token_seconds = qp_now() - start;
    return rc;
}

qp_status qp_generate(qp_ctx *c, qp_model *m, const int32_t *prompt, int64_t n_prompt,
                      const qp_generate_options *o, int32_t *out, int64_t *n,
                      qp_generate_stats *stats, qp_err *err)
{
    *n = 0;
    qp_generate_stats unused;
    if (!stats) stats = &unused;
    *stats = (qp_generate_stats){ 0 };
    state s = { 0 };
    qp_status rc = check_prompt(m, prompt, n_prompt, o->max_tokens, err);
    if (!rc) rc = qp_kv_new(&s.kv, m, n_prompt + o->max_tokens, err);
    if (rc) return rc;
    s.logits = qp_xmalloc((size_t)qp_model_config(m)->vocab_size * sizeof *s.logits);
    s.past = qp_xmalloc((size_t)(n_prompt + o->max_tokens) * sizeof *s.past);
    memcpy(s.past, prompt, (size_t)n_prompt * sizeof *prompt);
    bool recording = c->recording;
    c->recording = false;
    rc = run(c, m, &s, n_prompt, o, out, n, stats, err);
    c->recording = recording;
    free(s.past);
    free(s.logits);
    qp_kv_free(s.kv);
    qp_batch_release(&s.b);
    return rc;
}
