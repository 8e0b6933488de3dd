#include "model/linear.h"
#include "autograd/work.h"
#include "base/buf.h"
#include <stdlib.h>

static qp_tensor *dense_forward(qp_ctx *c, qp_proj *p, qp_tensor *x)
{
    return qp_linear(c, x, p->w);
}

static void dense_free(qp_proj *p) { free(p); }

static const qp_proj_type dense_type = { dense_forward, dense_free };

void qp_proj_forward_all(qp_ctx *c, int count, qp_proj *const *p, qp_tensor *x, qp_tensor **y)
{
    qp_tensor *w[QP_NT_ALL];
    int plain = 0;
    for (; plain < count && p[plain]->w; plain++) w[plain] = p[plain]->w;
    if (plain == count)
        qp_linears(c, x, count, w, y);
    else
        for (int i = 0; i < count; i++) y[i] = qp_proj_forward(c, p[i], x);
}

qp_proj *qp_dense_new(qp_tensor *w)
{
    qp_proj *p = qp_xmalloc(sizeof *p);
    *p = (qp_proj){ &dense_type, w->shape[1], w->shape[0], w };
    return p;
}

void qp_proj_free(qp_proj *p)
{
    if (p) p->type->free(p);
}
