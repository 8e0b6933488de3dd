/* How much memory a run needs, found by running one step on the backend that computes nothing: the
   same code asks for the same memory. And how fast this machine multiplies, measured. */
#ifndef QP_TRAIN_PLAN_H
#define QP_TRAIN_PLAN_H
#include "optim/optim.h"
#include "train/objective.h"

typedef struct {
    size_t program;      /* what the process holds before the model: code, tokenizer, data */
    size_t frozen;       /* weights as held */
    size_t trained;      /* masters, gradients and the copies the model reads */
    size_t optimizer;    /* moments */
    size_t accumulation; /* partial sums of gradients */
    size_t activations;  /* the arena's peak */
    size_t saving;       /* HDF5's tables, a file's buffer */
    size_t measuring;    /* the machine's speed, before the first step: what exceeds all that */
    size_t total;
} qp_memory_plan;

/* Beside what is counted one by one: code of libraries that is read later on, their own tables,
   stacks of threads, heap that was given back to malloc only, the last huge page of every array. Up
   to 18 MB have been seen, on models of 0.2 to 135M parameters. */
enum { QP_PLAN_UNCOUNTED = 24 << 20 };

/* rows: token rows of a micro-batch, `documents` of them equally long. levels: buffers of
   accumulation. The model is sealed; its gradients are not touched. */
qp_status qp_plan_memory(qp_model *m, const qp_optim *o, const qp_objective *objective,
                         int64_t rows, int64_t documents, int levels, bool recompute,
                         size_t program, qp_memory_plan *plan, qp_err *err) QP_MUST_CHECK;
/* Counts qp_plan_peak in, and qp_plan_bandwidth where a profile is wanted: they run when weights
   are there, gradients and moments not yet. */
void qp_plan_add_measuring(qp_memory_plan *plan, qp_storage compute, bool profile);
/* "1.0G (frozen weights 257M, ...)" */
void qp_memory_text(qp_buf *out, const qp_memory_plan *m, bool recompute);
/* Operations a second of a square product in this compute type, the best of several in about 50 ms.
 */
qp_status qp_plan_peak(const qp_backend *be, qp_storage compute, double *flops,
                       qp_err *err) QP_MUST_CHECK;
/* Bytes read and written a second by a copy that no cache holds, the best of several; a tenth of a
   second. */
qp_status qp_plan_bandwidth(const qp_backend *be, double *bytes_per_s, qp_err *err) QP_MUST_CHECK;
#endif
