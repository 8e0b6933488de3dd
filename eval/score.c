#include "eval/score.h"
#include <math.h>

qp_status qp_score(qp_ctx *c, qp_model *m, const qp_batch *b, double *nll, qp_err *err)
{
    bool recording = c->recording;
    qp_scope scope;
    c->recording = false;
    qp_scope_open(&c->arena, &scope);
    qp_model_loss(c, m, b, nll);
    qp_scope_close(&c->arena, &scope);
    c->recording = recording;
    int64_t i = 0;
    while (i < b->n && isfinite(nll[i])) i++;
    if (i == b->n) return QP_OK;
    qp_status rc = qp_model_check_finite(m, err);
    return rc ? rc
              : qp_fail(err, QP_FAIL,
                        "the loss of token %d at position %d is %g, though every weight is finite",
                        (int)b->targets[i], (int)b->pos[i] + 1, nll[i]);
}

void qp_tally_add(qp_tally *t, const qp_batch *b, const double *nll)
{
    for (int64_t i = 0; i < b->n; i++) {
        if (b->targets[i] < 0) continue;
        t->n++;
        t->sum += nll[i];
        t->squares += nll[i] * nll[i];
    }
}

double qp_tally_error(const qp_tally *t)
{
    if (t->n < 2) return 0;
    double mean = t->sum / (double)t->n, variance = t->squares / (double)t->n - mean * mean;
    return variance > 0 ? sqrt(variance / (double)(t->n - 1)) : 0;
}
