#include "optim/types.h"
#include "autograd/profile.h"
#include "base/buf.h"
#include <math.h>
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
    for (int i = 0; i < TYPES; i++)
        if (!strcmp(type, types[i]->name)) return qp_optim_init_type(o, types[i], s, p, err);
    *o = (qp_optim){ 0 };
    return unknown(type, err);
}

qp_status qp_optim_init_type(qp_optim *o, const qp_optim_type *type, const qp_optim_settings *s,
                             qp_params *p, qp_err *err)
{
    *o = (qp_optim){ .type = type, .params = p, .s = *s };
    size_t bytes = qp_storage_bytes(qp_sum_storage(p->compute), p->n);
    for (int i = 0; i < type->states && !p->outline; i++) {
        o->state[i] = calloc(bytes ? bytes : 1, 1); /* pages are touched by the first step */
        if (o->state[i]) continue;
        qp_optim_release(o);
        return qp_fail(err, QP_NOMEM, "optimizer %s: no memory for %zu bytes of state", type->name,
                       bytes);
    }
    return QP_OK;
}

void qp_optim_release(qp_optim *o)
{
    for (int i = 0; i < 4; i++) free(o->state[i]);
    *o = (qp_optim){ 0 };
}

/* What the network reads, made anew from the masters. */
static void round_values(qp_params *p, qp_ctx *c, int64_t lo, int64_t hi)
{
    if (p->value == p->master) return;
    char *value = (char *)p->value + qp_storage_bytes(p->compute, lo);
    qp_k(c, p->item->t)->cast_in(value, 0, (float *)p->master + lo, QP_F32, hi - lo);
}

static const qp_op update_op = { "optimizer", NULL }; /* for the profile's table */

/* Every array once: gradients read; masters and states read and written; values written. About a
   dozen operations an element. */
static void count_work(const qp_optim *o, qp_ctx *c, int64_t n)
{
    const qp_params *p = o->params;
    const int arrays = 1 + 2 * (1 + o->type->states);
    const double sums = (double)qp_storage_bytes(qp_sum_storage(p->compute), n);
    const double values = p->value == p->master ? 0 : (double)qp_storage_bytes(p->compute, n);
    qp_profile_work(c, &update_op, false, (qp_op_work){ 12 * (double)n, arrays * sums + values });
}

void qp_optim_step_range(qp_optim *o, qp_ctx *c, int64_t lo, int64_t hi, double lr,
                         double grad_scale, int64_t step)
{
    QP_TIMED(c, &update_op);
    for (int g = 0; g < o->params->groups; g++) {
        const qp_param_group *group = &o->params->group[g];
        const qp_optim_range r = {
            .lo = lo > group->lo ? lo : group->lo,
            .hi = hi < group->hi ? hi : group->hi,
            .lr = lr * group->lr_scale,
            .weight_decay = group->decay ? o->s.weight_decay : 0,
            .grad_scale = grad_scale,
            .step = step,
        };
        if (r.lo >= r.hi) continue;
        o->type->update(o, c, &r);
        if (!o->type->writes_values) round_values(o->params, c, r.lo, r.hi);
        count_work(o, c, r.hi - r.lo);
    }
}

void qp_optim_step(qp_optim *o, qp_ctx *c, double lr, double grad_scale, int64_t step)
{
    qp_optim_step_range(o, c, 0, o->params->n, lr, grad_scale, step);
}

double qp_optim_minimize(qp_optim *o, qp_ctx *c, qp_tensor *loss, double lr, double max_norm,
                         int64_t step)
{
    qp_params_begin_step(o->params);
    qp_backward(c, loss, 1);
    qp_params_end_grads(o->params);
    const double norm = qp_grad_norm(c, o->params);
    if (isfinite(norm)) qp_optim_step(o, c, lr, qp_clip_scale(norm, max_norm), step);
    return norm;
}
