/* From a tensor in a file, or from nothing, to the values that a weight holds: order of rotated
   rows, type. A frozen weight that already has the wanted type stays in the mapped file. */
#include "autograd/cpu/weight.h"
#include "model/arch.h"
#include <stdlib.h>
#include <string.h>

static qp_status alloc(void **p, size_t bytes, const char *name, qp_err *err)
{
    *p = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
    if (*p) return QP_OK;
    return qp_fail(err, QP_NOMEM, "%s: no memory for %.1f MB", name, (double)bytes / 1e6);
}

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

/* What frozen values are rounded to: nothing that their file has not, with QP_AS_FILED. */
static qp_storage rounded_to(const qp_model *m, const qp_weight *w)
{
    const bool matrix = w->t->ndim > 1;
    if (m->options.load_in != QP_AS_FILED) return m->options.load_in;
    if (!matrix) return qp_sum_storage(m->options.compute);
    return w->file ? w->file->storage : m->options.compute;
}

/* Norms are few and read often: full precision, but rounded like the matrices. */
qp_storage qp_weight_held_as(const qp_model *m, const qp_weight *w)
{
    return w->t->ndim > 1 ? rounded_to(m, w) : qp_sum_storage(rounded_to(m, w));
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
    const qp_storage to = qp_weight_held_as(m, w), via = rounded_to(m, w);
    const void *data;
    void *owned = NULL;
    qp_storage from;
    qp_status rc;
    if (w->file) {
        from = w->file->storage;
        rc = ordered(w, &data, &owned, err);
    } else {
        from = qp_sum_storage(via);
        rc = alloc(&owned, qp_storage_bytes(from, qp_numel(w->t)), w->name, err);
        if (!rc) qp_init_draw(w->init, m->options.seed, w->name, from, owned, qp_numel(w->t));
        data = owned;
    }
    if (rc) return rc;
    if (from != to || via != to) {
        void *converted = NULL;
        rc = convert(w, via, to, data, from, &converted, err);
        free(owned);
        if (rc) return rc;
        data = owned = converted;
    } else if (!owned && w->t->ndim < 2) { /* small: not for its sake does a file stay mapped */
        if ((rc = alloc(&owned, w->file->bytes, w->name, err))) return rc;
        data = memcpy(owned, data, w->file->bytes);
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
        if (!rc) qp_init_draw(w->init, m->options.seed, w->name, sum, owned, qp_numel(w->t));
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
    if (w->t->is_param && from != to) { /* else its copy has these very bits */
        const qp_param *item = qp_params_find(m->params, w->name);
        from = qp_sum_storage(m->params->compute);
        *data = (const char *)m->params->master + qp_storage_bytes(from, item->lo);
    }
    if (from == to) return QP_OK;
    qp_status rc = convert(w, to, to, *data, from, owned, err);
    *data = *owned;
    return rc;
}
