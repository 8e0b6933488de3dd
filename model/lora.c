#include "model/lora.h"
#include "base/buf.h"
#include <stdlib.h>

typedef struct {
    qp_proj proj, *base;
    qp_tensor *a, *b;
    double scale, dropout;
} lora;

static qp_tensor *lora_forward(qp_ctx *c, qp_proj *p, qp_tensor *x)
{
    const lora *l = (const lora *)p;
    if (l->base->w) return qp_linear_lora(c, x, l->base->w, l->a, l->b, l->scale, l->dropout);
    qp_tensor *y = qp_proj_forward(c, l->base, x);
    return qp_lora(c, y, x, l->a, l->b, l->scale, l->dropout);
}

static void lora_free(qp_proj *p)
{
    qp_proj_free(((lora *)p)->base);
    free(p);
}

static const qp_proj_type lora_type = { lora_forward, lora_free };

qp_proj *qp_lora_wrap(qp_proj *base, qp_tensor *a, qp_tensor *b, double scale, double dropout)
{
    QP_ASSERT(a->shape[1] == base->in && b->shape[0] == base->out && a->shape[0] == b->shape[1],
              "LoRA A %s and B %s on a projection of %lld to %lld", qp_str(a), qp_str(b),
              (long long)base->in, (long long)base->out);
    lora *l = qp_xmalloc(sizeof *l);
    *l = (lora){ { &lora_type, base->in, base->out, NULL }, base, a, b, scale, dropout };
    return &l->proj;
}
