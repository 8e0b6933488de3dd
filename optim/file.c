/* An optimiser and what it trains to one safetensors file and back. */
#include "base/buf.h"
#include "optim/optim.h"
#include <stdlib.h>

typedef qp_status transfer(qp_params *p, const qp_params_beside *b, const char *path, qp_err *err);

static qp_status save(qp_params *p, const qp_params_beside *b, const char *path, qp_err *err)
{
    return qp_params_save_beside(p, b, path, err);
}

/* State k is called "adamw.m": another type's file lacks it. */
static qp_status move(const qp_optim *o, int64_t *step, const char *path, transfer *to, qp_err *err)
{
    qp_params_beside b = { .count = o->type->states, .step = step };
    char *name[4] = { 0 };
    for (int k = 0; k < b.count; k++) {
        b.name[k] = name[k] = qp_xformat("%s.%s", o->type->name, o->type->state_name[k]);
        b.data[k] = o->state[k];
    }
    const qp_status rc = to(o->params, &b, path, err);
    for (int k = 0; k < b.count; k++) free(name[k]);
    return rc;
}

qp_status qp_optim_save(const qp_optim *o, int64_t step, const char *path, qp_err *err)
{
    return move(o, &step, path, save, err);
}

qp_status qp_optim_load(qp_optim *o, int64_t *step, const char *path, qp_err *err)
{
    return move(o, step, path, qp_params_load_beside, err);
}
