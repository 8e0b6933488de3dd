/* From a container's tensors to the values the model holds: checks of names and shapes, order of
   rotated rows, type. A frozen weight that already has the wanted type stays in the mapped file. */
#include "autograd/cpu/weight.h"
#include "base/log.h"
#include "model/weights.h"
#include <stdlib.h>
#include <string.h>

static qp_status alloc(void **p, size_t bytes, const char *name, qp_err *err)
{
    *p = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
    if (*p) return QP_OK;
    return qp_fail(err, QP_NOMEM, "%s: no memory for %.1f MB", name, (double)bytes / 1e6);
}

/* Looking tensors up */

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

/* Values */

/* Meta's head has the rows of pair i at 2i and 2i + 1, Hugging Face's at i and i + E/2. Rows move
   whole, so quantised ones do too. */
static void deinterleave(char *to, const char *from, int64_t rows, size_t row_bytes, int64_t heads)
{
    int64_t e = rows / heads;
    for (int64_t r = 0; r < rows; r++) {
        int64_t head = r / e, half = r % e / (e / 2), pair = r % (e / 2);
        memcpy(to + (size_t)r * row_bytes, from + (size_t)(head * e + 2 * pair + half) * row_bytes,
               row_bytes);
    }
}

/* The file's values in our row order: where they lie, or in *owned. */
static qp_status ordered(const qp_weight *w, const void **data, void **owned, qp_err *err)
{
    const qp_file_tensor *t = w->file;
    const int element = qp_storages[t->storage].block == 1 ? qp_storages[t->storage].bytes : 1;
    *data = t->data;
    *owned = NULL;
    if (!w->interleaved && (uintptr_t)t->data % (size_t)element == 0) return QP_OK;
    qp_status rc = alloc(owned, t->bytes, w->name, err);
    if (rc) return rc;
    if (w->interleaved)
        deinterleave(*owned, t->data, t->shape[0], t->bytes / (size_t)t->shape[0], w->rope_heads);
    else
        memcpy(*owned, t->data, t->bytes);
    *data = *owned;
    return QP_OK;
}

/* Norms are few and read often: full precision, but rounded like the matrices. */
static qp_storage held_as(const qp_model *m, const qp_weight *w)
{
    if (w->t->ndim > 1) return m->options.load_in;
    return qp_sum_storage(m->options.load_in);
}

static qp_status convert(const qp_weight *w, qp_storage via, qp_storage to, const void *data,
                         qp_storage from, void **out, qp_err *err)
{
    int64_t n = qp_numel(w->t);
    void *rounded = NULL;
    qp_status rc = QP_OK;
    if (via != to && via != from) {
        if ((rc = alloc(&rounded, qp_storage_bytes(via, n), w->name, err))) return rc;
        qp_weight_convert(rounded, via, data, from, n);
        data = rounded;
        from = via;
    }
    if (!(rc = alloc(out, qp_storage_bytes(to, n), w->name, err)))
        qp_weight_convert(*out, to, data, from, n);
    free(rounded);
    return rc;
}

static qp_status fill_frozen(qp_model *m, qp_weight *w, qp_err *err)
{
    const qp_storage to = held_as(m, w);
    const void *data;
    void *owned = NULL;
    qp_storage from;
    qp_status rc;
    if (w->file) {
        from = w->file->storage;
        rc = ordered(w, &data, &owned, err);
    } else {
        from = qp_sum_storage(m->options.load_in);
        rc = alloc(&owned, qp_storage_bytes(from, qp_numel(w->t)), w->name, err);
        if (!rc) qp_weight_init(w, m->options.seed, from, owned);
        data = owned;
    }
    if (rc) return rc;
    if (from != to || m->options.load_in != to) {
        void *converted = NULL;
        rc = convert(w, m->options.load_in, to, data, from, &converted, err);
        free(owned);
        if (rc) return rc;
        data = owned = converted;
    }
    w->owned = owned;
    w->t->storage = to;
    w->t->data = (void *)(uintptr_t)data; /* the map is read-only, and so is a frozen weight */
    return QP_OK;
}

static qp_status fill_trained(qp_model *m, qp_weight *w, qp_err *err)
{
    qp_param *item = qp_params_find(m->params, w->name);
    const qp_storage sum = qp_sum_storage(m->options.compute);
    const void *data;
    void *owned = NULL, *wide = NULL;
    qp_storage from = sum;
    qp_status rc;
    if (w->file) {
        from = w->file->storage;
        rc = ordered(w, &data, &owned, err);
        if (!rc && from > QP_F16) {
            rc = convert(w, sum, sum, data, from, &wide, err);
            data = wide;
            from = sum;
        }
    } else {
        rc = alloc(&owned, qp_storage_bytes(sum, qp_numel(w->t)), w->name, err);
        if (!rc) qp_weight_init(w, m->options.seed, sum, owned);
        data = owned;
    }
    if (!rc) qp_params_set(m->params, item, from, data);
    free(owned);
    free(wide);
    return rc;
}

qp_status qp_weight_fill(qp_model *m, qp_weight *w, qp_err *err)
{
    return w->t->is_param ? fill_trained(m, w, err) : fill_frozen(m, w, err);
}

qp_status qp_weight_values(const qp_model *m, const qp_weight *w, qp_storage to, const void **data,
                           void **owned, qp_err *err)
{
    qp_storage from = w->t->storage;
    *data = w->t->data;
    *owned = NULL;
    if (w->t->is_param) {
        const qp_param *item = qp_params_find(m->params, w->name);
        from = qp_sum_storage(m->params->compute);
        *data = (const char *)m->params->master + qp_storage_bytes(from, item->lo);
    }
    if (from == to) return QP_OK;
    qp_status rc = convert(w, to, to, *data, from, owned, err);
    *data = *owned;
    return rc;
}
