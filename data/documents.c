/* A corpus once it is read: validation documents taken out of it, and its end. */
#include "base/rng.h"
#include "data/corpus.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint64_t hash;
    int64_t document;
} ticket;

static int by_hash(const void *a, const void *b)
{
    const ticket *x = a, *y = b;
    if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
    return x->document < y->document ? -1 : x->document > y->document;
}

static void append(qp_corpus *to, const qp_corpus *from, int64_t d)
{
    int64_t at = from->start[d], rows = from->start[d + 1] - at;
    memmove(to->tokens + to->n, from->tokens + at, (size_t)rows * sizeof *to->tokens);
    memmove(to->targets + to->n, from->targets + at, (size_t)rows * sizeof *to->targets);
    for (int64_t i = 0; i < rows; i++) to->trained += to->targets[to->n + i] >= 0;
    to->n += rows;
    to->documents++;
}

/* Bytes of text follow the rows: which record each document came from is no longer known. */
static int64_t part_of(int64_t bytes, int64_t rows, int64_t of)
{
    return of ? (int64_t)((double)bytes * (double)rows / (double)of) : 0;
}

qp_status qp_corpus_split(qp_corpus *c, qp_corpus *valid, double share, uint64_t seed, qp_err *err)
{
    *valid = (qp_corpus){ 0 };
    int64_t k = share < 1 ? (int64_t)llround(share * (double)c->documents) : (int64_t)share;
    if (share < 1 && k == 0) k = 1;
    if (!(share > 0) || k >= c->documents)
        return qp_fail(
            err, QP_USAGE,
            "val_set_size %g takes %lld of %lld documents: wanted at least one on either side",
            share, (long long)k, (long long)c->documents);
    ticket *t = qp_xmalloc((size_t)c->documents * sizeof *t);
    char *taken = qp_xcalloc((size_t)c->documents, 1);
    uint64_t key = qp_rng_key(seed, "split");
    for (int64_t d = 0; d < c->documents; d++)
        t[d] = (ticket){ qp_rng_u64(key, 0, (uint64_t)d), d };
    qsort(t, (size_t)c->documents, sizeof *t, by_hash);
    int64_t rows = 0;
    for (int64_t i = 0; i < k; i++) {
        taken[t[i].document] = 1;
        rows += c->start[t[i].document + 1] - c->start[t[i].document];
    }
    valid->tokens = qp_xmalloc((size_t)rows * sizeof *valid->tokens + 1);
    valid->targets = qp_xmalloc((size_t)rows * sizeof *valid->targets + 1);
    valid->start = qp_xmalloc((size_t)(k + 1) * sizeof *valid->start);
    valid->start[0] = 0;
    qp_corpus left =
        *c; /* the same arrays, filled from the front again: documents only move down */
    left.n = left.documents = left.trained = 0;
    int64_t documents = c->documents, *ends = qp_xmalloc((size_t)(documents + 1) * sizeof *ends);
    ends[0] = 0;
    for (int64_t d = 0; d < documents; d++) {
        qp_corpus *to = taken[d] ? valid : &left;
        append(to, c, d);
        (taken[d] ? valid->start : ends)[to->documents] = to->n;
    }
    valid->bytes = part_of(c->bytes, valid->n, c->n);
    left.bytes = c->bytes - valid->bytes;
    free(c->start);
    left.start = ends;
    *c = left;
    free(taken);
    free(t);
    return QP_OK;
}

void qp_corpus_release(qp_corpus *c)
{
    free(c->tokens);
    free(c->targets);
    free(c->start);
    free(c->found);
    *c = (qp_corpus){ 0 };
}
