/* What is learned: batch in, scalar to minimise out. An objective is a file of its own. */
#ifndef QP_TRAIN_OBJECTIVE_H
#define QP_TRAIN_OBJECTIVE_H
#include "model/model.h"
QP_C_BEGIN

typedef struct {
    const char *name;
    /* Rank 0: the SUM over the batch's targets; the step divides by their number over all its
     * micro-batches. Its value need not be there before qp_backward. */
    qp_tensor *(*loss)(qp_ctx *c, qp_model *m, const qp_batch *b);
} qp_objective;

extern const qp_objective qp_objective_sft; /* sum of -log p of the next token */
QP_C_END
#endif
