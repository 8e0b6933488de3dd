/* Every weight finds its tensor, and every tensor its weight. */
#include "base/log.h"
#include "model/weights.h"
#include <stdlib.h>
#include <string.h>

static void shape_text(qp_buf *out, int ndim, const int64_t *shape)
{
    qp_buf_char(out, '(');
    for (int i = 0; i < ndim; i++) qp_buf_printf(out, "%s%lld", i ? ", " : "", (long long)shape[i]);
    qp_buf_char(out, ')');
}

qp_status qp_weight_attach(qp_weight *w, const qp_file_tensor *t, const char *file,
                           const char *config, bool interleaved, qp_err *err)
{
    const bool same =
        t->ndim == w->t->ndim && !memcmp(t->shape, w->t->shape, (size_t)t->ndim * sizeof *t->shape);
    if (!same) {
        qp_buf found = { 0 }, wanted = { 0 };
        shape_text(&found, t->ndim, t->shape);
        shape_text(&wanted, w->t->ndim, w->t->shape);
        qp_fail(err, QP_BADFILE, "%s: %s: shape %s, %s wants %s", file, t->name, found.data, config,
                wanted.data);
        qp_buf_release(&found);
        qp_buf_release(&wanted);
        return QP_BADFILE;
    }
    if (t->storage == QP_OTHER)
        return qp_fail(err, QP_BADFILE,
                       "%s: %s: type %s is not supported; F32, F16, BF16, Q8_0, Q4_0 and Q4_1 are",
                       file, t->name, t->type);
    if (t->storage >= QP_I64)
        return qp_fail(err, QP_BADFILE, "%s: %s: type %s is not supported for a weight", file,
                       t->name, t->type);
    w->file = t;
    w->interleaved = interleaved && w->rope_heads;
    return QP_OK;
}

/* Tensors that other programs leave beside the weights and that say nothing new. */
static bool is_ignored(const qp_model *m, const qp_file_tensor *t)
{
    size_t len = strlen(t->name), tail = strlen(".rotary_emb.inv_freq");
    if (m->source.is_gguf) return !strcmp(t->name, "rope_freqs.weight");
    if (len > tail && !strcmp(t->name + len - tail, ".rotary_emb.inv_freq")) return true;
    return m->config.tied && !strcmp(t->name, "lm_head.weight");
}

static void compare_tied_head(const qp_model *m)
{
    const qp_file_tensor *head = qp_source_find(&m->source, "lm_head.weight");
    const qp_file_tensor *embed = qp_source_find(&m->source, "model.embed_tokens.weight");
    if (!m->config.tied || !head || !embed) return;
    if (head->bytes != embed->bytes || head->storage != embed->storage ||
        memcmp(head->data, embed->data, head->bytes) != 0)
        qp_warn("%s: lm_head.weight differs from the embedding, but the configuration ties them: "
                "ignored",
                qp_source_file(&m->source, head));
}

static qp_status refuse_unexpected(const qp_model *m, qp_err *err)
{
    int64_t count;
    const qp_file_tensor *list = qp_source_list(&m->source, &count);
    bool *used = qp_xcalloc((size_t)count + 1, sizeof *used);
    for (int64_t i = 0; i < m->count; i++)
        if (m->weight[i]->file) used[m->weight[i]->file - list] = true;
    qp_status rc = QP_OK;
    for (int64_t i = 0; i < count && !rc; i++)
        if (!used[i] && !is_ignored(m, &list[i]))
            rc = qp_fail(err, QP_BADFILE, "%s: %s: not a weight of this %s",
                         qp_source_file(&m->source, &list[i]), list[i].name, m->arch->name);
    free(used);
    return rc;
}

qp_status qp_weights_attach(qp_model *m, const char *path, qp_err *err)
{
    const char *config = m->source.is_gguf ? "metadata" : "config.json";
    for (int64_t i = 0; i < m->count; i++) {
        qp_weight *w = m->weight[i];
        if (w->adapter) continue;
        const qp_file_tensor *t = qp_source_find(&m->source, w->name);
        if (!t)
            return qp_fail(err, QP_BADFILE, "%s: no tensor %s, which %s wants", path, w->name,
                           config);
        qp_status rc = qp_weight_attach(w, t, qp_source_file(&m->source, t), config,
                                        m->source.interleaved, err);
        if (rc) return rc;
    }
    compare_tied_head(m);
    return refuse_unexpected(m, err);
}
