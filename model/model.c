#include "base/log.h"
#include "model/config.h"
#include "model/weights.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Weights */

static qp_weight *add_weight(qp_model *m, const char *name, int ndim, const int64_t *shape,
                             qp_init init, bool trained)
{
    qp_weight *w = qp_xcalloc(1, sizeof *w);
    w->name = qp_xstrdup(name);
    w->init = init;
    if (trained) {
        w->t = qp_params_add(m->params, name, ndim, shape);
    } else {
        w->t = &w->frozen;
        w->frozen = (qp_tensor){ .ndim = ndim };
        memcpy(w->frozen.shape, shape, (size_t)ndim * sizeof *shape);
    }
    m->weight = qp_xrealloc(m->weight, (size_t)m->count + 1, sizeof *m->weight);
    return m->weight[m->count++] = w;
}

qp_tensor *qp_model_declare(qp_model *m, const char *name, int ndim, const int64_t *shape,
                            qp_init init, int64_t rope_heads)
{
    qp_weight *w = add_weight(m, name, ndim, shape, init, m->options.train_base);
    w->rope_heads = rope_heads;
    return w->t;
}

qp_weight *qp_model_declare_adapter(qp_model *m, const char *name, int64_t rows, int64_t cols,
                                    qp_init init)
{
    qp_weight *w = add_weight(m, name, 2, (int64_t[]){ rows, cols }, init, true);
    w->adapter = true;
    return w;
}

/* Life */

static qp_status check_options(const qp_model_options *o, qp_err *err)
{
    if (o->compute >= QP_NCOMPUTE)
        return qp_fail(err, QP_USAGE, "dtype %s: must be f64, f32 or bf16",
                       qp_storages[o->compute].name);
    if (o->load_in >= QP_NCOMPUTE && o->load_in != QP_AS_FILED)
        return qp_fail(err, QP_USAGE, "load_in %s: must be f64, f32, bf16 or file",
                       qp_storages[o->load_in].name);
    return QP_OK;
}

static qp_model *new_model(const qp_config *cfg, const qp_model_options *o)
{
    qp_model *m = qp_xcalloc(1, sizeof *m);
    m->arch = qp_arch_find(cfg->architecture);
    m->config = *cfg;
    m->options = *o;
    m->params = qp_params_new(o->compute);
    m->params->outline = o->outline;
    double *inv_freq = qp_xmalloc((size_t)cfg->head_dim * sizeof *inv_freq);
    qp_config_frequencies(cfg, inv_freq);
    qp_rope_table_init(&m->rope, inv_freq, cfg->head_dim / 2, o->compute);
    free(inv_freq);
    m->arch->build(m);
    return m;
}

/* A GGUF's rope_freqs are obeyed whether or not a setting of config.json explains them. */
static qp_status apply_rope_freqs(qp_model *m, qp_err *err)
{
    const qp_file_tensor *t =
        m->source.is_gguf ? qp_gguf_tensor(&m->source.gguf, "rope_freqs.weight") : NULL;
    if (!t || m->config.rope_scaled) return QP_OK;
    if (t->storage != QP_F32 || t->numel != m->rope.pairs)
        return qp_fail(err, QP_BADFILE, "%s: rope_freqs.weight: must be f32(%lld)",
                       m->source.gguf.path, (long long)m->rope.pairs);
    bool plain = true;
    for (int64_t i = 0; i < m->rope.pairs; i++) {
        float divisor;
        memcpy(&divisor, (const char *)t->data + (size_t)i * sizeof divisor, sizeof divisor);
        if (!(divisor > 0) || isinf(divisor))
            return qp_fail(err, QP_BADFILE, "%s: rope_freqs.weight[%lld] is %g: must be positive",
                           m->source.gguf.path, (long long)i, (double)divisor);
        m->rope.inv_freq[i] /= divisor;
        plain &= divisor == 1;
    }
    if (!plain)
        qp_warn("%s: rope_freqs.weight follows no Llama 3.1 setting: used as it is, but a "
                "config.json written "
                "from this model will lack it",
                m->source.gguf.path);
    return QP_OK;
}

qp_status qp_model_open(qp_model **out, const char *path, const qp_model_options *o, qp_err *err)
{
    qp_config cfg;
    qp_status rc = check_options(o, err);
    *out = NULL;
    if (!rc) rc = qp_config_load(&cfg, path, err);
    if (rc) return rc;
    qp_model *m = new_model(&cfg, o);
    m->path = qp_xstrdup(path);
    rc = qp_source_open(&m->source, path, err);
    if (!rc) rc = qp_weights_attach(m, path, err);
    if (!rc) rc = apply_rope_freqs(m, err);
    if (rc) {
        qp_model_free(m);
        return rc;
    }
    *out = m;
    return QP_OK;
}

qp_status qp_model_create(qp_model **out, const qp_config *cfg, const qp_model_options *o,
                          qp_err *err)
{
    qp_status rc = check_options(o, err);
    *out = NULL;
    if (!rc) rc = qp_config_check(cfg, err);
    if (!rc) *out = new_model(cfg, o);
    return rc;
}

qp_status qp_model_seal(qp_model *m, qp_err *err)
{
    bool mapped = false;
    qp_status rc = qp_params_seal(m->params, err);
    for (int64_t i = 0; i < m->count; i++)
        if (!m->weight[i]->t->is_param)
            m->weight[i]->t->storage = qp_weight_held_as(m, m->weight[i]);
    if (rc || m->options.outline) return rc;
    for (int64_t i = 0; i < m->count && !rc; i++) {
        qp_weight *w = m->weight[i];
        rc = qp_weight_fill(m, w, err);
        w->file = NULL;
        mapped |= !w->t->is_param && !w->owned;
    }
    if (rc) return rc;
    qp_params_publish(m->params);
    qp_safetensors_release(&m->adapter.file);
    if (!mapped) qp_source_release(&m->source);
    return QP_OK;
}

void qp_model_free(qp_model *m)
{
    if (!m) return;
    m->arch->free(m->net);
    for (int64_t i = 0; i < m->count; i++) {
        free(m->weight[i]->owned);
        free(m->weight[i]->name);
        free(m->weight[i]);
    }
    free(m->weight);
    qp_rope_table_release(&m->rope);
    qp_params_free(m->params);
    for (int64_t i = 0; i < m->adapter.count; i++) free(m->adapter.linear[i].name);
    free(m->adapter.linear);
    qp_safetensors_release(&m->adapter.file);
    qp_source_release(&m->source);
    free(m->path);
    free(m);
}

/* Use */

qp_tensor *qp_model_hidden(qp_ctx *c, qp_model *m, const qp_batch *b, qp_kv *kv)
{
    QP_ASSERT(m->params->sealed, "a forward of a model that was not sealed");
    return m->arch->hidden(c, m, b, kv);
}

qp_tensor *qp_model_loss(qp_ctx *c, qp_model *m, const qp_batch *b, double *nll)
{
    return qp_linear_xent(c, qp_model_hidden(c, m, b, NULL), m->head, b->targets, nll);
}

qp_tensor *qp_model_loss_late(qp_ctx *c, qp_model *m, const qp_batch *b, double *nll)
{
    return qp_linear_xent_late(c, qp_model_hidden(c, m, b, NULL), m->head, b->targets, nll);
}

qp_tensor *qp_model_logits(qp_ctx *c, qp_model *m, qp_tensor *hidden)
{
    return qp_logits(c, hidden, m->head);
}

/* Facts */

const qp_config *qp_model_config(const qp_model *m) { return &m->config; }
qp_params *qp_model_params(qp_model *m) { return m->params; }

int64_t qp_model_parameters(const qp_model *m)
{
    int64_t n = 0;
    for (int64_t i = 0; i < m->count; i++)
        if (!m->weight[i]->adapter) n += qp_numel(m->weight[i]->t);
    return n;
}

/* Every matrix multiplies each token once, but an embedding that is no head is only looked up. */
int64_t qp_model_matmul_parameters(const qp_model *m)
{
    int64_t n = 0;
    for (int64_t i = 0; i < m->count; i++) {
        const qp_weight *w = m->weight[i];
        bool lookup = !strcmp(w->name, "model.embed_tokens.weight") && w->t != m->head;
        if (!w->adapter && w->t->ndim == 2 && !lookup) n += qp_numel(w->t);
    }
    return n;
}

size_t qp_model_weight_bytes(const qp_model *m)
{
    size_t bytes = 0;
    for (int64_t i = 0; i < m->count; i++)
        if (!m->weight[i]->t->is_param) bytes += qp_value_bytes(m->weight[i]->t);
    return bytes;
}
