/* Losses of batches without a tape: what every evaluation rests on. */
#ifndef QP_EVAL_SCORE_H
#define QP_EVAL_SCORE_H
#include "model/model.h"
QP_C_BEGIN

/* nll[i] of every row of b with a target, 0 for the others. Nothing is recorded and no memory stays
   in use. A value that is not finite is QP_BADFILE, naming the weight at fault, or QP_FAIL, naming
   the row. */
qp_status qp_score(qp_ctx *c, qp_model *m, const qp_batch *b, double *nll,
                   qp_err *err) QP_MUST_CHECK;

/* Sums for a mean and its standard error, in the order they come. */
typedef struct {
    int64_t n;
    double sum, squares;
} qp_tally;
void qp_tally_add(qp_tally *t, const qp_batch *b, const double *nll);
/* sqrt((mean(x^2) - mean(x)^2) / (n - 1)): the standard error of the mean; 0 for n < 2. */
double qp_tally_error(const qp_tally *t);
QP_C_END
#endif
