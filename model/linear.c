#include "model/linear.h"
#include "base/buf.h"
#include <stdlib.h>

typedef struct {
    qp_proj proj;
    qp_tensor *w;
} dense;

static qp_tensor *dense_forward(qp_ctx *c, qp_proj *p, qp_tensor *x)
{
    return qp_linear(c, x, ((dense *)p)->w);
}

static void dense_free(qp_proj *p) { free(p); }

static const qp_proj_type dense_type = { dense_forward, dense_free };

qp_proj *qp_dense_new(qp_tensor *w)
{
    dense *d = qp_xmalloc(sizeof *d);
    *d = (dense){ { &dense_type, w->shape[1], w->shape[0] }, w };
    return &d->proj;
}

void qp_proj_free(qp_proj *p)
{
    if (p) p->type->free(p);
}
