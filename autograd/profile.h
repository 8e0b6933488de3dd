/* What each op costs: time forward and backward without the ops it calls, memory, and the work done
   in that time. Zero a qp_profile, point c->profile at it, and NULL again to stop:

     qp_profile cost = { 0 };
     c.profile = &cost;
     ... steps ...
     qp_profile_print(&cost, &text);

   A forward that a segment's backward runs again is counted apart. */
#ifndef QP_AUTOGRAD_PROFILE_H
#define QP_AUTOGRAD_PROFILE_H
#include "autograd/trace.h"
#include "base/buf.h"

QP_C_BEGIN

typedef struct {
    int64_t calls;
    double s;
    qp_op_work work;
} qp_op_time;

typedef struct {
    const qp_op *op;
    qp_op_time forward, again, backward;
    /* What forwards left in the arena, all together: outputs, nodes, what backward needs. A
       segment's is what its scope gave back, and so below 0. */
    int64_t kept_bytes;
    size_t most_bytes; /* the most that one call, forward or backward, held at a time */
} qp_op_cost;

/* A part of a step that is no op, with the ops in it: data, forward, ... */
typedef struct {
    const char *name;
    qp_op_time time;
} qp_phase_cost;

enum { QP_PROFILE_OPS = 128, QP_PROFILE_PHASES = 16 }; /* more kinds are booked under the last */
struct qp_profile {
    int count;
    qp_op_cost cost[QP_PROFILE_OPS];
    size_t most_bytes; /* the most in use at a time, and where */
    const qp_op *most_op;
    bool most_backward;
    int phases;
    qp_phase_cost phase[QP_PROFILE_PHASES];
    qp_trace *trace; /* calls and phases go there, too; NULL: nowhere */
    /* The measurement's own. */
    double booked_s; /* of all ops that have ended */
    int64_t booked_bytes;
    bool walking; /* inside an op's backward */
    struct {      /* what the op that ran last said of itself */
        const qp_op *op;
        bool backward;
        qp_op_work work;
        qp_trace_operands operands;
    } last;
};

/* A line an op, the dearest first, and their sum; appends. */
void qp_profile_print(const qp_profile *p, qp_buf *out);
/* Phases; then a line an op and pass: time, operations and bytes (see op_work.h), how many of them
   a second, and what share that is of the machine's. 0: not known, no share is shown. */
void qp_profile_print_work(const qp_profile *p, double peak_flops, double peak_bytes_per_s,
                           qp_buf *out);

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

/* Called by qp_record and before an op's backward, while c->profile is set. */
void qp_profile_call(qp_profile *p, const qp_op *op, bool backward, const qp_tensor *out, int count,
                     qp_tensor *const *in);
/* For ops whose operands do not tell their work; counts nothing where c->profile is NULL. */
void qp_profile_work(qp_ctx *c, const qp_op *op, bool backward, qp_op_work work);

typedef struct {
    qp_profile *p;
    const char *name;
    double start;
} qp_phase;
/* Books a span to a phase; lane as in trace.h. */
void qp_profile_span(qp_profile *p, const char *name, int lane, double start, double end);
qp_phase qp_phase_enter(qp_profile *p, const char *name);
void qp_phase_leave(qp_phase *phase);
/* Measures a phase until the block is left; costs a branch while c->profile is NULL. */
#define QP_PHASE(context, name)                                                                    \
    __attribute__((cleanup(qp_phase_leave), unused)) qp_phase phase_ =                             \
        qp_phase_enter((context)->profile, name)

/* Opens every op's forward: measures until the function returns. */
#define QP_TIMED(context, kind)                                                                    \
    __attribute__((cleanup(qp_timed_leave))) qp_timed timed_;                                      \
    timed_.c = NULL;                                                                               \
    if ((context)->profile) qp_timed_begin(&timed_, context, kind, false)

QP_C_END
#endif
