#include "autograd/profile.h"
#include "base/thread.h"

static qp_op_cost *cost_of(qp_profile *p, const qp_op *op)
{
    int i = 0;
    while (i < p->count && p->cost[i].op != op) i++;
    if (i == QP_PROFILE_OPS) return &p->cost[QP_PROFILE_OPS - 1];
    if (i == p->count) p->cost[p->count++].op = op;
    return &p->cost[i];
}

void qp_timed_begin(qp_timed *t, qp_ctx *c, const qp_op *op)
{
    *t = (qp_timed){
        .c = c, .op = op, .outer = c->profile->open, .used = c->arena.used, .start = qp_now()
    };
    c->profile->open = t;
}

void qp_timed_end(qp_timed *t)
{
    qp_profile *p = t->c ? t->c->profile : NULL;
    if (!p) return;
    const double took = qp_now() - t->start;
    const size_t kept = t->c->arena.used - t->used;
    qp_op_cost *cost = cost_of(p, t->op);
    cost->calls++;
    cost->forward_s += took - t->inside;
    cost->kept_bytes += (int64_t)kept - (int64_t)t->inside_used;
    p->open = t->outer;
    if (!t->outer) return;
    t->outer->inside += took;
    t->outer->inside_used += kept;
}
