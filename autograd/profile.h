/* What each op costs: time forward and backward without the ops it calls, and the memory it leaves
   in the arena. Zero a qp_profile, point c->profile at it, and NULL again to stop. */
#ifndef QP_AUTOGRAD_PROFILE_H
#define QP_AUTOGRAD_PROFILE_H
#include "autograd/tape.h"
QP_C_BEGIN

typedef struct {
    const qp_op *op;
    int64_t calls, backward_calls;
    double forward_s, backward_s;
    int64_t kept_bytes; /* output, node and what backward needs, all calls together */
} qp_op_cost;

enum { QP_PROFILE_OPS = 128 }; /* more kinds are booked under the last */
typedef struct qp_timed qp_timed;
struct qp_profile {
    int count;
    qp_op_cost cost[QP_PROFILE_OPS];
    qp_timed *open; /* the innermost op running */
};

struct qp_timed {
    qp_ctx *c; /* NULL: nothing is measured */
    const qp_op *op;
    qp_timed *outer;
    double start, inside; /* seconds; those of the ops it called */
    size_t used, inside_used;
};
void qp_timed_begin(qp_timed *t, qp_ctx *c, const qp_op *op);
void qp_timed_end(qp_timed *t);

/* Opens every op's forward: measures until the function returns. */
#define QP_TIMED(c, op)                                                                            \
    __attribute__((cleanup(qp_timed_end))) qp_timed timed_;                                        \
    timed_.c = NULL;                                                                               \
    if ((c)->profile) qp_timed_begin(&timed_, c, op)
QP_C_END
#endif
