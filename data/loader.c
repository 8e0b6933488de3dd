#include "data/loader.h"
#include "data/pack.h"
#include <stdlib.h>

struct qp_loader {
    const qp_corpus *c;
    qp_loader_options o;
    qp_packing plan;
    int64_t epoch; /* of the plan; -1: none yet */
};

qp_status qp_loader_new(qp_loader **l, const qp_corpus *c, const qp_loader_options *o, qp_err *err)
{
    *l = NULL;
    if (o->sequence_len < 1 || o->micro_batch_size < 1)
        return qp_fail(err, QP_USAGE, "sequence_len %lld, micro_batch_size %lld: wanted at least 1",
                       (long long)o->sequence_len, (long long)o->micro_batch_size);
    if (!c->documents) return qp_fail(err, QP_BADFILE, "no documents to make batches of");
    for (int64_t d = 0; d < c->documents; d++) {
        int64_t rows = c->start[d + 1] - c->start[d];
        if (rows > o->sequence_len)
            return qp_fail(err, QP_USAGE, "document %lld has %lld tokens, sequence_len is %lld",
                           (long long)d, (long long)rows, (long long)o->sequence_len);
    }
    *l = qp_xcalloc(1, sizeof **l);
    **l = (qp_loader){ .c = c, .o = *o, .epoch = -1 };
    return QP_OK;
}

void qp_loader_free(qp_loader *l)
{
    if (!l) return;
    qp_packing_release(&l->plan);
    free(l);
}

static const qp_packing *plan_of(qp_loader *l, int64_t epoch)
{
    if (l->epoch == epoch) return &l->plan;
    qp_packing_release(&l->plan);
    qp_pack(&l->plan, l->c->start, l->c->documents, &l->o, epoch);
    l->epoch = epoch;
    return &l->plan;
}

int64_t qp_loader_batches(qp_loader *l, int64_t epoch)
{
    int64_t rows = plan_of(l, epoch)->rows, size = l->o.micro_batch_size;
    return (rows + size - 1) / size;
}

void qp_loader_next(qp_loader *l, qp_position *p, qp_batch *b)
{
    const qp_corpus *c = l->c;
    int64_t size = l->o.micro_batch_size, batches = qp_loader_batches(l, p->epoch);
    QP_ASSERT(p->position >= 0 && p->position < batches,
              "position %lld of epoch %lld, which has %lld micro-batches", (long long)p->position,
              (long long)p->epoch, (long long)batches);
    const qp_packing *plan = plan_of(l, p->epoch);
    int64_t from = p->position * size, to = from + size < plan->rows ? from + size : plan->rows;
    qp_batch_clear(b);
    for (int64_t i = plan->first[from]; i < plan->first[to]; i++) {
        int64_t d = plan->document[i], at = c->start[d];
        qp_batch_add(b, c->tokens + at, c->targets + at, c->start[d + 1] - at);
    }
    if (++p->position == batches) *p = (qp_position){ .epoch = p->epoch + 1 };
}
