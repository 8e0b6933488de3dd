#include "base/sha256.h"
#include "model/arch.h"
#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b)
{
    return strcmp((*(qp_weight *const *)a)->name, (*(qp_weight *const *)b)->name);
}

/* Frozen norms are held wider than they were rounded: their bits count in load_in, as the matrices'
 * do. */
void qp_model_hash(const qp_model *m, char hex[65])
{
    qp_weight **sorted = qp_xmalloc((size_t)m->count * sizeof *sorted);
    memcpy(sorted, m->weight, (size_t)m->count * sizeof *sorted);
    qsort(sorted, (size_t)m->count, sizeof *sorted, by_name);
    qp_sha256 s;
    qp_sha256_init(&s);
    for (int64_t i = 0; i < m->count; i++) {
        const qp_weight *w = sorted[i];
        if (w->adapter) continue;
        const qp_storage held =
            m->options.load_in == QP_AS_FILED ? w->t->storage : m->options.load_in;
        const qp_storage to = w->t->is_param ? qp_sum_storage(m->params->compute) : held;
        const void *data;
        void *owned;
        qp_err err = { 0 };
        qp_status rc = qp_weight_values(m, w, to, &data, &owned, &err);
        if (rc) qp_fatal(rc, __FILE__, __LINE__, "%s", err.msg);
        qp_sha256_add(&s, w->name, strlen(w->name));
        qp_sha256_add(&s, data, qp_storage_bytes(to, qp_numel(w->t)));
        free(owned);
    }
    qp_sha256_hex(&s, hex);
    free(sorted);
}
