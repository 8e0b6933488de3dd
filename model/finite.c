/* Which weight holds a value that is no number: asked when a loss is none. */
#include "model/arch.h"
#include <math.h>
#include <stdlib.h>

static qp_status check_weight(const qp_model *m, const qp_weight *w, qp_err *err)
{
    const void *data;
    void *owned;
    const bool wide = m->options.compute == QP_F64;
    qp_status rc = qp_weight_values(m, w, wide ? QP_F64 : QP_F32, &data, &owned, err);
    for (int64_t i = 0, n = qp_numel(w->t); i < n && !rc; i++) {
        double v = wide ? ((const double *)data)[i] : (double)((const float *)data)[i];
        if (!isfinite(v))
            rc = qp_fail(err, QP_BADFILE, "%s: %s: value %lld of %lld is %g, wanted finite ones",
                         m->path && !w->adapter ? m->path : "model", w->name, (long long)i,
                         (long long)n, v);
    }
    free(owned);
    return rc;
}

qp_status qp_model_check_finite(const qp_model *m, qp_err *err)
{
    qp_status rc = QP_OK;
    for (int64_t i = 0; i < m->count && !rc; i++) rc = check_weight(m, m->weight[i], err);
    return rc;
}
