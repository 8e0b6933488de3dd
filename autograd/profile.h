/* What each op costs: time forward and backward without the ops it calls, and memory. Zero a
   qp_profile, point c->profile at it, and NULL again to stop:

     qp_profile cost = { 0 };
     c.profile = &cost;
     ... steps ...
     qp_profile_print(&cost, &text);

   A forward that a segment's backward runs again is counted apart. */
#ifndef QP_AUTOGRAD_PROFILE_H
#define QP_AUTOGRAD_PROFILE_H
#include "autograd/tape.h"
#include "base/buf.h"

QP_C_BEGIN

typedef struct {
    int64_t calls;
    double s;
} qp_op_time;

typedef struct {
    const qp_op *op;
    qp_op_time forward, again, backward;
    /* What forwards left in the arena, all together: outputs, nodes, what backward needs. A
       segment's is what its scope gave back, and so below 0. */
    int64_t kept_bytes;
    size_t most_bytes; /* the most that one call, forward or backward, held at a time */
} qp_op_cost;

enum { QP_PROFILE_OPS = 128 }; /* more kinds are booked under the last */
struct qp_profile {
    int count;
    qp_op_cost cost[QP_PROFILE_OPS];
    size_t most_bytes; /* the most in use at a time, and where */
    const qp_op *most_op;
    bool most_backward;
    /* The measurement's own. */
    double booked_s; /* of all ops that have ended */
    int64_t booked_bytes;
    bool walking; /* inside an op's backward */
};

/* A line an op, the dearest first, and their sum; appends. */
void qp_profile_print(const qp_profile *p, qp_buf *out);

typedef struct {
    qp_ctx *c; /* NULL: nothing is measured */
    const qp_op *op;
    bool backward, was_walking;
    double start, booked_s;
    size_t live, most;
    int64_t booked_bytes;
} qp_timed;
void qp_timed_begin(qp_timed *t, qp_ctx *c, const qp_op *op, bool backward);
void qp_timed_end(qp_timed *t);
static inline void qp_timed_leave(qp_timed *t)
{
    if (t->c) qp_timed_end(t);
}

/* Opens every op's forward: measures until the function returns. */
#define QP_TIMED(context, kind)                                                                    \
    __attribute__((cleanup(qp_timed_leave))) qp_timed timed_;                                      \
    timed_.c = NULL;                                                                               \
    if ((context)->profile) qp_timed_begin(&timed_, context, kind, false)

QP_C_END
#endif
