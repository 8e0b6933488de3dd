#include "model/kv.h"
#include "base/buf.h"
#include "model/arch.h"
#include <stdlib.h>
#include <string.h>

struct qp_kv {
    qp_storage storage;
    int64_t layers, cap, width, rows; /* width: G*E */
    char *data;                       /* (layers, 2, cap, width) */
};

qp_status qp_kv_new(qp_kv **kv, const qp_model *m, int64_t rows, qp_err *err)
{
    qp_kv *k = qp_xmalloc(sizeof *k);
    *k = (qp_kv){ .storage = m->options.compute,
                  .layers = m->config.layers,
                  .cap = rows,
                  .width = m->config.kv_heads * m->config.head_dim };
    size_t bytes = qp_storage_bytes(k->storage, k->layers * 2 * rows * k->width);
    k->data = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!k->data) {
        free(k);
        return qp_fail(err, QP_NOMEM, "no memory for a cache of %lld rows (%.1f MB)",
                       (long long)rows, (double)bytes / 1e6);
    }
    *kv = k;
    return QP_OK;
}

void qp_kv_free(qp_kv *kv)
{
    if (!kv) return;
    free(kv->data);
    free(kv);
}

int64_t qp_kv_rows(const qp_kv *kv) { return kv->rows; }

void qp_kv_reset(qp_kv *kv, int64_t keep)
{
    QP_ASSERT(keep >= 0 && keep <= kv->rows, "keeping %lld of %lld cache rows", (long long)keep,
              (long long)kv->rows);
    kv->rows = keep;
}

static qp_tensor *append(qp_ctx *c, qp_kv *kv, int64_t half, const qp_tensor *rows)
{
    int64_t n = qp_rows(rows), shape[] = { kv->rows + n, kv->width };
    QP_ASSERT(rows->storage == kv->storage && qp_cols(rows) == kv->width && shape[0] <= kv->cap,
              "%s into a cache with %lld of %lld rows", qp_str(rows), (long long)kv->rows,
              (long long)kv->cap);
    char *first = kv->data + qp_storage_bytes(kv->storage, half * kv->cap * kv->width);
    memcpy(first + qp_storage_bytes(kv->storage, kv->rows * kv->width), rows->data,
           qp_value_bytes(rows));
    return qp_wrap_data(c, kv->storage, 2, shape, first);
}

void qp_kv_put(qp_ctx *c, qp_kv *kv, int64_t layer, qp_tensor **k, qp_tensor **v)
{
    *k = append(c, kv, 2 * layer, *k);
    *v = append(c, kv, 2 * layer + 1, *v);
}

void qp_kv_advance(qp_kv *kv, int64_t n) { kv->rows += n; }
