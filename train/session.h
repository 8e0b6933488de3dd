/* One run of the loop, from the lock on its folder to final/. Shared by run.c, snapshot.c, saving.c
   and record.c only. */
#ifndef QP_TRAIN_SESSION_H
#define QP_TRAIN_SESSION_H
#include "base/thread.h"
#include "train/checkpoint.h"
#include "train/metrics.h"
#include "train/forecast.h"
#include "train/profiling.h"
#include "train/setup.h"
#include "train/state.h"
#include "train/step.h"

/* The checkpoint that is being written beside the training, if there is one: see saving.c. */
typedef struct {
    qp_task *task;
    char name[QP_CHECKPOINT_NAME];
    bool best;
    qp_progress p;
    double start, end, waited_s; /* training stood still */
    int64_t bytes;
    qp_status rc;
    qp_err err;
} qp_saving;

typedef struct {
    const qp_options *o;
    const char *dir; /* output_dir */
    qp_setup s;
    qp_ctx ctx;
    bool ctx_open;
    qp_stepper stepper;
    qp_metrics metrics;
    char *from; /* the checkpoint to go on from; NULL: none */
    qp_progress p;
    qp_buf trajectory;  /* what must stay the same for the numbers to go on the same */
    bool identified;    /* run.json is written */
    int64_t saved_step; /* of the newest checkpoint, which may still be being written; -1: none */
    qp_saving saving;
    qp_profiling profiling;
    qp_memory_plan plan;
    double peak_flops; /* this machine's, measured */
    double planned_seconds;
    /* of this process */
    double start, window_seconds;
    int64_t first_step, window_tokens, window_targets;
} qp_session;

/* snapshot.c: what lies on disk between two sessions */
/* Which checkpoint to go on from. Before the first product is computed, since the one that made the
   checkpoint is to serve again. */
qp_status qp_session_find(qp_session *r, qp_err *err) QP_MUST_CHECK;
qp_status qp_session_resume(qp_session *r,
                            qp_err *err) QP_MUST_CHECK; /* from a checkpoint, or from the start */
qp_status qp_session_weights(qp_session *r, const char *dir, qp_err *err) QP_MUST_CHECK;
qp_status qp_session_final(qp_session *r, qp_err *err) QP_MUST_CHECK;
/* What the bits of a step depend on besides its trajectory: "cpu-v4bf16, loop avx512_bf16". The
   caller frees. */
char *qp_session_kernels(const qp_session *r);

/* saving.c: checkpoints, beside the training */
/* Begins one; an earlier one is waited for, and its failure is this call's. */
qp_status qp_session_save(qp_session *r, bool best, qp_err *err) QP_MUST_CHECK;
/* To be called before weights or moments change. */
void qp_session_before_update(qp_session *r);
/* Tells how one that has ended went; `wait`: one that has not is waited for. */
qp_status qp_session_saved(qp_session *r, bool wait, qp_err *err) QP_MUST_CHECK;

/* record.c: what is told about the run as a whole */
void qp_session_banner(qp_session *r);
qp_status qp_session_record(qp_session *r, qp_err *err) QP_MUST_CHECK; /* config.yaml */
void qp_session_describe(qp_session *r); /* fills in trajectory: waits for the base's hash */
/* Describes, and writes run.json, once, when the hash is there; wait: until it is. */
qp_status qp_session_identify(qp_session *r, bool wait, qp_err *err) QP_MUST_CHECK;
void qp_session_summary(qp_session *r);
#endif
