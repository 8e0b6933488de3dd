#include "autograd/grad.h"
#include "autograd/general.h"
#include <string.h>

static bool same_shape(const qp_tensor *a, const qp_tensor *b)
{
    return a->ndim == b->ndim && !memcmp(a->shape, b->shape, (size_t)a->ndim * sizeof *a->shape);
}

void qp_grad_pass(qp_ctx *c, qp_tensor *t, const qp_tensor *like, const void *dy, double alpha)
{
    double beta;
    void *dt = qp_grad(c, t, &beta);
    if (!dt) return;
    if (same_shape(t, like) && qp_grad_storage(t) == like->storage) {
        qp_k(c, like)->axpy(dt, beta, dy, alpha, qp_numel(t));
        return;
    }
    if (same_shape(t, like) && alpha == 1) {
        c->be->k[qp_grad_storage(t)]->cast_in(dt, beta, dy, like->storage, qp_numel(like));
        return;
    }
    bool repeated[QP_MAX_DIMS];
    const int lead = like->ndim - t->ndim;
    for (int d = 0; d < like->ndim; d++)
        repeated[d] = d < lead || t->shape[d - lead] != like->shape[d];
    const qp_reduction r = qp_reduction_of(like->ndim, like->shape, repeated);
    qp_k(c, like)->sum(dt, qp_grad_storage(t), beta, alpha, dy, &r);
}

/* `to` has like's shape and the given type. */
static qp_grad_part open_part(qp_ctx *c, qp_tensor *t, const qp_tensor *like, qp_storage storage)
{
    qp_grad_part g = { .t = t, .like = like, .storage = storage };
    if (!t || !t->needs_grad) return g;
    if (same_shape(t, like) && qp_grad_storage(t) == storage) {
        g.to = qp_grad(c, t, &g.beta);
        return g;
    }
    g.bytes = qp_storage_bytes(storage, qp_numel(like));
    g.to = qp_arena_alloc(&c->arena, g.bytes);
    return g;
}

qp_grad_part qp_grad_open(qp_ctx *c, qp_tensor *t, const qp_tensor *like)
{
    return open_part(c, t, like, like->storage);
}

qp_grad_part qp_grad_open_sums(qp_ctx *c, qp_tensor *t, qp_storage sums)
{
    return open_part(c, t, t, sums);
}

void qp_grad_close(qp_ctx *c, qp_grad_part *g)
{
    const bool aside = g->to && g->to != g->t->grad;
    if (aside) {
        qp_tensor written = *g->like;
        written.storage = g->storage;
        qp_grad_pass(c, g->t, &written, g->to, 1);
        qp_arena_recycle(&c->arena, g->to, g->bytes);
    }
    *g = (qp_grad_part){ 0 };
}

qp_tensor *qp_apart(qp_ctx *c, qp_tensor *t, const qp_tensor *other)
{
    return t && t == other ? qp_reshape(c, t, t->ndim, t->shape) : t;
}
