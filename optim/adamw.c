/* AdamW: Loshchilov & Hutter 2019, arXiv:1711.05101, with torch's order of operations (see the
   kernel). Each group has its own decay and rate; within one the store is a flat array. */
#include "optim/types.h"
#include <math.h>

static char *at(void *array, qp_storage s, int64_t i)
{
    return (char *)array + qp_storage_bytes(s, i);
}

static void adamw_step(qp_optim *o, qp_ctx *c, int64_t lo, int64_t hi, double lr, double grad_scale,
                       int64_t step)
{
    qp_params *p = o->params;
    qp_storage sum = qp_sum_storage(p->compute);
    for (int g = 0; g < p->groups; g++) {
        int64_t from = lo > p->group[g].lo ? lo : p->group[g].lo;
        int64_t to = hi < p->group[g].hi ? hi : p->group[g].hi;
        if (from >= to) continue;
        qp_adamw_args a = {
            .lr = lr * p->group[g].lr_scale,
            .beta1 = o->s.beta1,
            .beta2 = o->s.beta2,
            .eps = o->s.eps,
            .weight_decay = p->group[g].decay ? o->s.weight_decay : 0,
            .correction1 = 1 - pow(o->s.beta1, (double)step),
            .correction2 = 1 - pow(o->s.beta2, (double)step),
            .grad_scale = grad_scale,
        };
        c->be->k[p->compute]->adamw(at(p->master, sum, from), at(o->state[0], sum, from),
                                    at(o->state[1], sum, from), at(p->value, p->compute, from),
                                    at(p->grad, sum, from), &a, to - from);
    }
}

const qp_optim_type qp_adamw = { "adamw", 2, { "m", "v" }, adamw_step };
