/* profile: true of a run: what its ops and phases cost, and a trace of a few steps. */
#ifndef QP_TRAIN_PROFILING_H
#define QP_TRAIN_PROFILING_H
#include "autograd/profile.h"

/* Of a session's steps the first pays for pages and caches; the trace shows these. A run of one
   step shows that one. */
enum { QP_TRACE_FIRST = 2, QP_TRACE_LAST = 4, QP_TRACE_MOST = 100000 /* events, of 25 MB text */ };

typedef struct {
    bool on;
    qp_profile cost;
    qp_trace *trace;
    double peak_bytes_per_s;
    int64_t steps; /* of this session, taken */
} qp_profiling;

/* Measures the memory's speed; from then on the profile may be pointed at by a context. */
qp_status qp_profiling_open(qp_profiling *p, const qp_backend *be, qp_err *err) QP_MUST_CHECK;
void qp_profiling_release(qp_profiling *p);
/* Before every step; is_last: none will follow that is known of. */
void qp_profiling_step(qp_profiling *p, bool is_last);
/* Writes dir/profile.txt and dir/trace.json; appends the first's text to out. */
qp_status qp_profiling_write(const qp_profiling *p, const char *dir, double peak_flops, qp_buf *out,
                             qp_err *err) QP_MUST_CHECK;
#endif
