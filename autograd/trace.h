/* Calls as events on a time line: JSON in the Trace Event Format, as chrome://tracing and Perfetto
   open it.

     qp_profile cost = { 0 };
     cost.trace = qp_trace_new(100000);
     c.profile = &cost;
     ... a few steps ...
     qp_trace_write(cost.trace, "trace.json", &err);
     qp_trace_free(cost.trace);

   Ops lie nested within the op or the phase that called them. */
#ifndef QP_AUTOGRAD_TRACE_H
#define QP_AUTOGRAD_TRACE_H
#include "autograd/op_work.h"
#include "base/buf.h"
QP_C_BEGIN

typedef struct qp_trace qp_trace;

/* Holds so many events; what comes later is only counted. */
qp_trace *qp_trace_new(int64_t most);
void qp_trace_free(qp_trace *t);
int64_t qp_trace_events(const qp_trace *t);
int64_t qp_trace_left_out(const qp_trace *t);

/* Operands of a call as the trace shows them, the output first; more than fit are left out. */
enum { QP_TRACE_OPERANDS = 4, QP_TRACE_DIMS = 4 };
typedef struct {
    int count;
    struct {
        signed char storage, ndim; /* of more dimensions only the last are held */
        int32_t shape[QP_TRACE_DIMS];
    } of[QP_TRACE_OPERANDS];
} qp_trace_operands;
void qp_trace_describe(qp_trace_operands *o, const qp_tensor *out, int count, qp_tensor *const *in);

/* name and category outlive the trace; start and end as qp_now gives them. work and operands may be
   NULL. lane 0 is where ops are; other lanes are threads of their own. */
void qp_trace_add(qp_trace *t, const char *name, const char *category, int lane, double start,
                  double end, const qp_op_work *work, const qp_trace_operands *operands);

qp_status qp_trace_write(const qp_trace *t, const char *path, qp_err *err) QP_MUST_CHECK;
QP_C_END
#endif
