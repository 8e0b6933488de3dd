#include "optim/optim.h"
#include "autograd/profile.h"
#include "autograd/work.h"
#include <math.h>

static const qp_op norm_op = { "gradient norm", NULL }; /* for the profile's table */

double qp_grad_norm(qp_ctx *c, const qp_params *p)
{
    QP_TIMED(c, &norm_op);
    double sum = 0;
    size_t bytes = qp_sumsq_work(p->n);
    void *work = qp_arena_alloc(&c->arena, bytes);
    c->be->k[p->compute]->sumsq(&sum, work, p->grad, p->n);
    qp_arena_recycle(&c->arena, work, bytes);
    qp_profile_work(c, &norm_op, false,
                    (qp_op_work){ 2 * (double)p->n,
                                  (double)qp_storage_bytes(qp_sum_storage(p->compute), p->n) });
    return sqrt(sum);
}

double qp_clip_scale(double norm, double max_norm)
{
    if (max_norm <= 0) return 1;
    double scale = max_norm / (norm + 1e-6);
    return scale > 1 ? 1 : scale; /* NaN stays NaN */
}
