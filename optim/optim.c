#include "optim/types.h"
#include "base/buf.h"
#include <stdlib.h>
#include <string.h>

static const qp_optim_type *const types[] = { &qp_adamw };
enum { TYPES = sizeof types / sizeof *types };

static qp_status unknown(const char *name, qp_err *err)
{
    qp_buf known = { 0 };
    for (int i = 0; i < TYPES; i++) qp_buf_printf(&known, "%s%s", i ? ", " : "", types[i]->name);
    qp_fail(err, QP_USAGE, "optimizer %s: unknown; known: %s", name, known.data);
    qp_buf_release(&known);
    return QP_USAGE;
}

qp_status qp_optim_init(qp_optim *o, const char *type, const qp_optim_settings *s, qp_params *p,
                        qp_err *err)
{
    *o = (qp_optim){ .params = p, .s = *s };
    for (int i = 0; i < TYPES; i++)
        if (!strcmp(type, types[i]->name)) o->type = types[i];
    if (!o->type) return unknown(type, err);
    size_t bytes = qp_storage_bytes(qp_sum_storage(p->compute), p->n);
    for (int i = 0; i < o->type->states; i++) {
        o->state[i] = calloc(bytes ? bytes : 1, 1); /* pages are touched by the first step */
        if (o->state[i]) continue;
        qp_optim_release(o);
        return qp_fail(err, QP_NOMEM, "optimizer %s: no memory for %zu bytes of state", type,
                       bytes);
    }
    return QP_OK;
}

void qp_optim_release(qp_optim *o)
{
    for (int i = 0; i < 4; i++) free(o->state[i]);
    *o = (qp_optim){ 0 };
}

void qp_optim_step(qp_optim *o, qp_ctx *c, double lr, double grad_scale, int64_t step)
{
    o->type->step(o, c, 0, o->params->n, lr, grad_scale, step);
}
