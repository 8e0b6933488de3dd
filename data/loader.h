/* Order, packing and batches: a pure function of (corpus, options, epoch, position), so the whole
   state is two integers. */
#ifndef QP_DATA_LOADER_H
#define QP_DATA_LOADER_H
#include "base/batch.h"
#include "data/corpus.h"
QP_C_BEGIN

typedef struct {
    int64_t sequence_len, micro_batch_size; /* a micro-batch holds micro_batch_size rows of at most
                                               sequence_len tokens */
    bool packing;                           /* false: one document a row */
    bool shuffle;
    uint64_t seed;
} qp_loader_options;

typedef struct {
    int64_t epoch;    /* from 0 */
    int64_t position; /* micro-batches already taken from this epoch */
} qp_position;

typedef struct qp_loader qp_loader;
qp_status qp_loader_new(qp_loader **l, const qp_corpus *c, const qp_loader_options *o,
                        qp_err *err) QP_MUST_CHECK; /* borrows c */
void qp_loader_free(qp_loader *l);
int64_t qp_loader_batches(qp_loader *l, int64_t epoch); /* micro-batches in that epoch */
/* Fills b with the micro-batch at *p and moves p on, into the next epoch at the end. */
void qp_loader_next(qp_loader *l, qp_position *p, qp_batch *b);
QP_C_END
#endif
