/* The loop. Between two steps everything that matters is in the session's progress, the optimiser
   and the masters; a checkpoint holds exactly these, so a resumed run cannot tell that it was ever
   stopped. */
#include "train/run.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/zio.h"
#include "train/checkpoint.h"
#include "train/fault.h"
#include "train/manifest.h"
#include "train/session.h"
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Set by the first signal; one that comes later ends the program at once. Some senders, timeout(1)
   among them, signal both the process and its group, so what arrives within a moment of the first
   is the same request. */
static volatile sig_atomic_t stop_signal;
static struct timespec stop_time;

static double since(struct timespec t)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - t.tv_sec) + 1e-9 * (double)(now.tv_nsec - t.tv_nsec);
}

static void on_signal(int sig)
{
    if (!stop_signal) {
        clock_gettime(CLOCK_MONOTONIC, &stop_time);
        stop_signal = sig;
    } else if (since(stop_time) > 0.5) {
        signal(sig, SIG_DFL);
        raise(sig);
    }
}

static void catch_signals(void)
{
    static const int stopping[] = { SIGINT, SIGTERM, SIGHUP };
    struct sigaction a = { .sa_handler = on_signal, .sa_flags = (int)SA_RESTART };
    stop_signal = 0;
    for (size_t i = 0; i < sizeof stopping / sizeof *stopping; i++)
        sigaction(stopping[i], &a, NULL);
    signal(SIGXFSZ, SIG_IGN); /* a file-size limit is a failed write like any other */
    signal(SIGPIPE, SIG_IGN); /* and so is a reader that has gone: `| head`, `| tee` */
}

static bool is_stopped(void *arg)
{
    (void)arg;
    return stop_signal != 0;
}

static double seconds_so_far(const qp_session *r) { return r->p.seconds + qp_now() - r->start; }

static double run_share(const qp_session *r, double part_of_step)
{
    if (r->s.total_steps) return ((double)r->p.step + part_of_step) / (double)r->s.total_steps;
    return isnan(r->o->max_time) ? 0 : fmin(1, seconds_so_far(r) / r->o->max_time);
}

static void show_progress(void *arg, int64_t micro, int64_t micros)
{
    qp_session *r = arg;
    char label[80];
    snprintf(label, sizeof label, "step %lld, micro-batch %lld/%lld", (long long)r->p.step + 1,
             (long long)micro + 1, (long long)micros);
    qp_metrics_bar(&r->metrics, run_share(r, (double)micro / (double)micros), label);
}

static void before_update(void *r) { qp_session_before_update(r); }

/* Opening */

static qp_status open_context(qp_session *r, qp_err *err)
{
    const qp_backend *be = qp_cpu_backend();
    size_t budget = (size_t)r->o->memory;
    qp_status rc = qp_ctx_init(&r->ctx, be, budget, err);
    r->ctx_open = !rc;
    if (!rc) rc = qp_plan_peak(be, r->s.compute, &r->peak_flops, err);
    if (!rc && r->o->profile) rc = qp_profiling_open(&r->profiling, be, err);
    if (!rc) qp_setup_hash(&r->s); /* not beside what is measured */
    return rc;
}

static void open_stepper(qp_session *r)
{
    const qp_options *o = r->o;
    r->stepper =
        (qp_stepper){ .ctx = &r->ctx,
                      .model = r->s.model,
                      .optim = &r->s.optim,
                      .loader = r->s.loader,
                      .objective = r->s.objective,
                      .schedule = r->s.schedule,
                      .peak_lr = o->learning_rate,
                      .max_grad_norm = o->max_grad_norm,
                      .seed = (uint64_t)o->seed,
                      .accumulate = o->gradient_accumulation_steps,
                      /* A tree needs buffers of the store's size: affordable for adapters only. */
                      .tree = r->s.adapter,
                      .stop = is_stopped,
                      .before_update = before_update,
                      .progress = show_progress,
                      .arg = r };
    qp_stepper_init(&r->stepper);
}

static qp_status open_session(qp_session *r, FILE *out, qp_err *err)
{
    qp_status rc = qp_setup_open(&r->s, r->o, err);
    if (!rc) rc = qp_session_find(r, err);
    if (!rc) rc = open_context(r, err);
    if (!rc) rc = qp_session_resume(r, err);
    if (!rc) open_stepper(r);
    if (!rc) rc = qp_forecast_memory(&r->s, &r->ctx.recompute, &r->plan, err);
    if (!rc) rc = qp_metrics_open(&r->metrics, r->dir, r->p.step, r->p.last_eval, out, err);
    return rc;
}

static void close_session(qp_session *r)
{
    qp_err late = { 0 };
    if (qp_session_saved(r, true, &late)) qp_warn("%s", late.msg); /* the run failed before that */
    qp_metrics_close(&r->metrics);
    qp_stepper_release(&r->stepper);
    if (r->ctx_open) qp_ctx_release(&r->ctx);
    qp_setup_release(&r->s);
    qp_profiling_release(&r->profiling);
    qp_buf_release(&r->trajectory);
    free(r->from);
}

/* A step */

static int64_t micros_left(const qp_session *r)
{
    return r->s.total_micros == INT64_MAX
               ? INT64_MAX
               : r->s.total_micros - r->p.step * r->o->gradient_accumulation_steps;
}

static bool is_over(const qp_session *r)
{
    bool patience = r->o->early_stopping_patience != QP_UNSET &&
                    r->p.evals_since_best >= r->o->early_stopping_patience;
    bool time = !isnan(r->o->max_time) && seconds_so_far(r) >= r->o->max_time;
    return patience || time || (r->s.total_steps && r->p.step >= r->s.total_steps) ||
           micros_left(r) <= 0;
}

static double eta(const qp_session *r)
{
    double per_step = (qp_now() - r->start) / (double)(r->p.step - r->first_step);
    double left = r->s.total_steps ? (double)(r->s.total_steps - r->p.step) * per_step : INFINITY;
    double clock = isnan(r->o->max_time) ? INFINITY : r->o->max_time - seconds_so_far(r);
    double least = fmax(0, fmin(left, clock));
    return isfinite(least) ? least : NAN;
}

static qp_status print_step(qp_session *r, const qp_step_result *res, qp_err *err)
{
    double tokens_per_s = (double)r->window_tokens / r->window_seconds;
    qp_step_line l = {
        .step = r->p.step,
        .total = r->s.total_steps,
        .epoch = (double)r->p.epoch +
                 (double)r->p.position / (double)qp_loader_batches(r->s.loader, r->p.epoch),
        .loss = r->p.window_nll / (double)r->p.window_trained,
        .lr = res->lr,
        .grad_norm = res->grad_norm,
        .tokens_per_s = tokens_per_s,
        .trained_per_s = (double)r->window_targets / r->window_seconds,
        .mfu = tokens_per_s * qp_forecast_flops(&r->s) / r->peak_flops,
        .eta = eta(r),
    };
    r->window_seconds = 0;
    r->window_tokens = r->window_targets = 0;
    r->p.window_nll = 0;
    r->p.window_trained = 0;
    return qp_metrics_step(&r->metrics, &l, err);
}

/* Names the weight that came so from its file, or the step, what was no number, where the batch
 * lies in the data, and how its first document begins. */
static qp_status nonfinite(qp_session *r, const qp_step_result *res, qp_position from, qp_err *err)
{
    if (!r->p.updates && qp_model_check_finite(r->s.model, err)) return err->status;
    int64_t micro = res->bad_micro < 0 ? 0 : res->bad_micro;
    const qp_batch *b = &r->stepper.batch[micro];
    qp_buf text = { 0 };
    qp_err ignored = { 0 };
    int64_t n = 1; /* of its tokens */
    while (n < b->n && n < 24 && b->pos[n]) n++;
    if (qp_tokenizer_decode(r->s.tokenizer, b->tokens, n, false, &text, &ignored))
        qp_buf_clear(&text);
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.data[i] < ' ') text.data[i] = ' ';
    qp_status rc = qp_fail(err, QP_FAIL,
                           "step %lld: %s is %g in micro-batch %lld of epoch %lld's position %lld "
                           "(%lld documents, the "
                           "first begins \"%.60s\"); the update was not applied",
                           (long long)r->p.step + 1, res->bad_micro < 0 ? "gradient norm" : "loss",
                           res->bad_micro < 0 ? res->grad_norm : res->nll, (long long)micro,
                           (long long)from.epoch, (long long)from.position, (long long)b->documents,
                           text.data ? text.data : "");
    qp_buf_release(&text);
    return rc;
}

static qp_status take_step(qp_session *r, bool *stopped, qp_err *err)
{
    int64_t micros = r->o->gradient_accumulation_steps, left = micros_left(r);
    qp_position from = { r->p.epoch, r->p.position }, at = from;
    qp_step_result res;
    double start = qp_now();
    if (r->profiling.on) {
        qp_profiling_step(&r->profiling, r->s.total_steps && r->p.step + 1 == r->s.total_steps);
        r->ctx.profile = &r->profiling.cost;
    }
    qp_status rc = qp_step(&r->stepper, &at, left < micros ? left : micros, r->p.step + 1,
                           r->p.updates + 1, &res, err);
    if (rc || (*stopped = res.stopped)) return rc;
    if (!res.finite) {
        rc = nonfinite(r, &res, from, err);
        if (rc != QP_FAIL || strcmp(r->o->on_nonfinite, "skip")) return rc;
        qp_warn("%s", err->msg);
        *err = (qp_err){ 0 };
    } else {
        r->p.updates++;
        r->p.window_nll += res.nll;
        r->p.window_trained += res.trained;
    }
    r->p.step++;
    r->p.epoch = at.epoch;
    r->p.position = at.position;
    r->p.tokens += res.tokens;
    r->p.trained += res.trained;
    r->window_tokens += res.tokens;
    r->window_targets += res.trained;
    r->window_seconds += qp_now() - start;
    bool due = r->p.step % r->o->logging_steps == 0 || is_over(r);
    return due && r->p.window_trained ? print_step(r, &res, err) : QP_OK;
}

/* Evaluation */

static bool eval_due(const qp_session *r)
{
    if (!r->s.valid_loader || r->p.last_eval == r->p.step) return false;
    return is_over(r) || r->p.step == 0 || (r->o->eval_steps && r->p.step % r->o->eval_steps == 0);
}

/* Asked after every pass: a signal does not wait for the end of a long evaluation. */
static bool eval_goes_on(void *arg, int64_t done, int64_t batches)
{
    qp_session *r = arg;
    char label[80];
    snprintf(label, sizeof label, "evaluating, pass %lld/%lld", (long long)done,
             (long long)batches);
    qp_metrics_bar(&r->metrics, run_share(r, 0), label);
    qp_fault("eval_mid");
    return !stop_signal;
}

static qp_status evaluate(qp_session *r, bool *best, qp_err *err)
{
    qp_ppl e;
    qp_eval_options eo = { .max_tokens =
                               r->o->eval_max_tokens == QP_UNSET ? 0 : r->o->eval_max_tokens,
                           .go_on = eval_goes_on,
                           .arg = r };
    double start = qp_now();
    r->ctx.profile = NULL; /* its forwards are not the steps' */
    qp_status rc = qp_eval_loss(&r->ctx, r->s.model, r->s.valid_loader, &eo, &e, err);
    if (r->profiling.on) qp_profile_span(&r->profiling.cost, "evaluation", 0, start, qp_now());
    if (rc == QP_STOPPED) return QP_OK; /* as if it had not begun: the next session does it */
    if (rc) return qp_wrap(err, "evaluation at step %lld", (long long)r->p.step);
    qp_fault("eval_end");
    r->p.last_eval = r->p.step;
    *best =
        r->p.step > 0 && e.nll < r->p.best_loss; /* what training has not touched is not its best */
    if (*best) {
        r->p.best_loss = e.nll;
        r->p.best_step = r->p.step;
        r->p.evals_since_best = 0;
    } else if (r->p.step > 0) {
        r->p.evals_since_best++;
    }
    return qp_metrics_eval(&r->metrics, r->p.step, &e, err);
}

/* The whole */

static qp_status loop(qp_session *r, qp_err *err)
{
    qp_status rc = QP_OK;
    for (bool stopped = false;;) {
        bool best = false, over;
        if ((rc = qp_session_identify(r, false, err))) return rc;
        if ((rc = qp_session_saved(r, false, err))) return rc;
        stopped = stopped || stop_signal;
        if (!stopped && eval_due(r)) rc = evaluate(r, &best, err);
        if (rc) return rc;
        over = is_over(r);
        if (over && !stopped && eval_due(r)) continue; /* the clock ran out, or a signal came */
        bool due = r->o->save_steps && r->p.step > 0 && r->p.step % r->o->save_steps == 0;
        if (best || ((over || stopped || due) && r->saved_step != r->p.step))
            rc = qp_session_save(r, best, err);
        if (rc) return rc;
        if (over || stopped) break;
        if ((rc = take_step(r, &stopped, err))) return rc;
    }
    if ((rc = qp_session_saved(r, true, err))) return rc;
    if (stop_signal && (!is_over(r) || eval_due(r)))
        return qp_fail(err, QP_STOPPED,
                       "stopped by signal %d after step %lld; the same command goes on from there",
                       (int)stop_signal, (long long)r->p.step);
    return QP_OK;
}

static qp_status report_profile(qp_session *r, qp_err *err)
{
    qp_buf text = { 0 };
    if (!r->profiling.on || !r->profiling.steps) return QP_OK;
    qp_status rc = qp_profiling_write(&r->profiling, r->dir, r->peak_flops, &text, err);
    while (text.len && text.data[text.len - 1] == '\n') text.data[--text.len] = '\0';
    if (text.len) qp_metrics_text(&r->metrics, "%s", text.data);
    qp_buf_release(&text);
    return rc;
}

/* A result that was damaged since is written again; so is that of an earlier, shorter run, which
   has other weights than the checkpoint. */
static bool has_final(const qp_session *r)
{
    char name[QP_CHECKPOINT_NAME];
    qp_checkpoint_name(name, r->p.step);
    char *final = qp_path_join(r->dir, "final"), *last = qp_path_join(r->dir, name);
    qp_err why = { 0 };
    bool whole = qp_path_is_dir(final) && !qp_manifest_verify(final, &why);
    if (why.status) qp_warn("%s; it is written again", why.msg);
    bool is_last = whole && qp_manifest_agrees(last, final);
    free(final);
    free(last);
    return is_last;
}

/* final/ will be replaced as a whole: it must be ours. */
static qp_status check_final(const qp_session *r, qp_err *err)
{
    char *final = qp_path_join(r->dir, "final"), *manifest = qp_path_join(final, QP_MANIFEST);
    qp_status rc = QP_OK;
    if (qp_path_exists(final) && !qp_path_exists(manifest))
        rc = qp_fail(err, QP_USAGE, "%s is in the way: no result of a run (it has no %s)", final,
                     QP_MANIFEST);
    free(manifest);
    free(final);
    return rc;
}

static qp_status run_locked(qp_session *r, FILE *out, qp_err *err)
{
    qp_status rc = check_final(r, err);
    if (!rc) rc = qp_sweep(r->dir, err);
    if (!rc) rc = open_session(r, out, err);
    if (rc) return rc;
    r->start = qp_now();
    if (is_over(r) && has_final(r)) {
        qp_metrics_text(&r->metrics,
                        "%s: this run is finished, at step %lld; its result is in %s/final", r->dir,
                        (long long)r->p.step, r->dir);
        return QP_OK;
    }
    qp_session_banner(r);
    rc = qp_session_record(r, err);
    if (!rc) rc = loop(r, err);
    if (rc) {
        qp_err late = { 0 }; /* what it was is told even of a run that failed at once */
        if (qp_session_identify(r, true, &late)) qp_warn("%s", late.msg);
    }
    if (!rc) rc = qp_session_final(r, err);
    if (!rc || rc == QP_STOPPED) {
        qp_err failed = { 0 };
        if (report_profile(r, &failed)) qp_warn("%s", failed.msg); /* the training is whole */
    }
    if (!rc) qp_session_summary(r);
    return rc;
}

qp_status qp_train_run(const qp_options *o, FILE *out, qp_err *err)
{
    int lock = -1;
    qp_session *r = qp_xcalloc(1, sizeof *r); /* not on the stack: a context must not move */
    r->o = o;
    r->dir = o->output_dir;
    r->metrics.jsonl = -1;
    catch_signals();
    bool is_new = !qp_path_exists(r->dir);
    qp_status rc = qp_mkdirs(r->dir, err);
    if (!rc) rc = qp_lock(r->dir, &lock, err);
    if (!rc) rc = run_locked(r, out, err);
    close_session(r);
    if (rc && is_new && lock >= 0) qp_remove_unused(r->dir);
    if (lock >= 0) close(lock);
    free(r);
    return rc;
}
