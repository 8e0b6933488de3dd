/* AdamW: Loshchilov & Hutter 2019, arXiv:1711.05101, with torch's order of operations (see the
   kernel). */
#include "optim/types.h"
#include <math.h>

enum { M, V };

static char *at(void *array, qp_storage s, int64_t i)
{
    return (char *)array + qp_storage_bytes(s, i);
}

static void update(qp_optim *o, qp_ctx *c, const qp_optim_range *r)
{
    const qp_params *p = o->params;
    const qp_storage sum = qp_sum_storage(p->compute);
    const qp_adamw_args a = {
        .lr = r->lr,
        .beta1 = o->s.beta1,
        .beta2 = o->s.beta2,
        .eps = o->s.eps,
        .weight_decay = r->weight_decay,
        .correction1 = 1 - pow(o->s.beta1, (double)r->step),
        .correction2 = 1 - pow(o->s.beta2, (double)r->step),
        .grad_scale = r->grad_scale,
    };
    c->be->k[p->compute]->adamw(at(p->master, sum, r->lo), at(o->state[M], sum, r->lo),
                                at(o->state[V], sum, r->lo), at(p->value, p->compute, r->lo),
                                at(p->grad, sum, r->lo), &a, r->hi - r->lo);
}

const qp_optim_type qp_adamw = { "adamw", 2, { "m", "v" }, update, .writes_values = true };
