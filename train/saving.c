/* Checkpoints are written by a thread of their own, from the arrays themselves: weights and moments
   stay as they are until the next step's update, and an update waits until they have been read
   (qp_session_before_update). So there is no copy to make, none to hold, and training stands still
   only when a step is shorter than the writing. What follows, hashing, renaming and pruning, goes
   on beside further steps. */
#include "base/zio.h"
#include "train/fault.h"
#include "train/session.h"
#include <stdlib.h>

/* Everything that is read of the session is read before the task passes. */
static qp_status fill(qp_session *r, qp_task *task, const char *tmp, qp_err *err)
{
    qp_saving *s = &r->saving;
    qp_fault_slow("save_reads");
    char *kernels = qp_session_kernels(r);
    qp_status rc = qp_session_weights(r, tmp, err);
    if (!rc) qp_fault("save_mid");
    if (!rc) rc = qp_state_save(tmp, &s->p, &r->s.optim, r->trajectory.data, kernels, err);
    free(kernels);
    qp_task_pass(task);
    if (!rc) qp_fault_slow("save_writes");
    return rc;
}

static qp_status write_checkpoint(qp_session *r, qp_task *task, qp_err *err)
{
    qp_saving *s = &r->saving;
    char *tmp = NULL;
    qp_status rc = qp_folder_begin(r->dir, s->name, &tmp, err);
    if (rc) return rc;
    qp_fault("save_begin");
    rc = fill(r, task, tmp, err);
    /* A run that goes on from here keeps the lines up to here: they must be no less durable. */
    if (!rc) rc = qp_metrics_sync(&r->metrics, err);
    if (rc)
        qp_folder_abandon(tmp);
    else
        rc = qp_folder_commit(r->dir, s->name, tmp, &s->bytes, err);
    if (!rc) rc = qp_link(r->dir, "latest", s->name, err);
    qp_fault("save_linked");
    if (!rc && s->best) rc = qp_link(r->dir, "best", s->name, err);
    if (!rc && r->o->save_total_limit != QP_UNSET)
        rc = qp_checkpoint_prune(r->dir, r->o->save_total_limit, err);
    return rc;
}

static void work(qp_task *task, void *arg)
{
    qp_session *r = arg;
    const int threads = qp_cpu_thread_count(); /* put back, where no thread could be made */
    qp_cpu_threads(1);                         /* the others are at work for the training */
    r->saving.rc = write_checkpoint(r, task, &r->saving.err);
    qp_cpu_threads(threads);
    r->saving.end = qp_now();
}

qp_status qp_session_save(qp_session *r, bool best, qp_err *err)
{
    qp_saving *s = &r->saving;
    const double start = qp_now();
    qp_status rc = qp_session_saved(r, true, err);
    if (!rc) rc = qp_session_identify(r, true, err);
    if (rc) return rc;
    *s = (qp_saving){ .best = best, .p = r->p, .start = start };
    s->p.seconds += start - r->start;
    qp_checkpoint_name(s->name, r->p.step);
    r->saved_step = r->p.step;
    s->task = qp_task_start("saving", work, r);
    s->waited_s = qp_now() - start;
    return QP_OK;
}

void qp_session_before_update(qp_session *r)
{
    const double start = qp_now();
    if (!r->s.adapter) (void)qp_setup_hashed(&r->s, true); /* it reads what is trained */
    if (!r->saving.task) return;
    qp_task_await_pass(r->saving.task);
    r->saving.waited_s += qp_now() - start;
    if (r->profiling.on) qp_profile_span(&r->profiling.cost, "checkpoint wait", 0, start, qp_now());
}

qp_status qp_session_saved(qp_session *r, bool wait, qp_err *err)
{
    qp_saving *s = &r->saving;
    const double start = qp_now();
    if (!s->task || (!wait && !qp_task_ended(s->task))) return QP_OK;
    qp_task_finish(s->task);
    s->task = NULL;
    s->waited_s += qp_now() - start;
    if (r->profiling.on) qp_profile_span(&r->profiling.cost, "checkpoint", 1, s->start, s->end);
    if (!s->rc)
        qp_metrics_save(&r->metrics, s->name, s->bytes, s->end - s->start, s->waited_s, s->best);
    else
        *err = s->err;
    return s->rc;
}
