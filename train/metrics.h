/* What a run says while it runs: lines for people, metrics.jsonl for programs, and on a terminal a
 * bar beneath. */
#ifndef QP_TRAIN_METRICS_H
#define QP_TRAIN_METRICS_H
#include "eval/perplexity.h"
#include <stdio.h>

typedef struct {
    int64_t step, total; /* total 0: not known */
    double epoch, loss, lr, grad_norm;
    double tokens_per_s, trained_per_s, mfu; /* mfu: share of the measured peak */
    double eta;                              /* seconds; NaN: not known */
} qp_step_line;

typedef struct {
    FILE *out;
    int jsonl; /* file descriptor */
    char *path;
    bool terminal, colour, bar_shown;
    double bar_drawn; /* when; ten times a second are enough */
} qp_metrics;

/* Opens run/metrics.jsonl for appending, after dropping the steps beyond `step`, the evaluations
   beyond `eval_step` and a last line that was cut off. */
qp_status qp_metrics_open(qp_metrics *m, const char *run, int64_t step, int64_t eval_step,
                          FILE *out, qp_err *err) QP_MUST_CHECK;
void qp_metrics_close(qp_metrics *m);
/* What was written so far is on the disk afterwards. From any thread. */
qp_status qp_metrics_sync(const qp_metrics *m, qp_err *err) QP_MUST_CHECK;
void qp_metrics_text(qp_metrics *m, const char *fmt, ...)
    QP_PRINTF(2, 3); /* a whole line without its end */
qp_status qp_metrics_step(qp_metrics *m, const qp_step_line *l, qp_err *err) QP_MUST_CHECK;
qp_status qp_metrics_eval(qp_metrics *m, int64_t step, const qp_ppl *p, qp_err *err) QP_MUST_CHECK;
/* seconds: from its beginning to its end; waited: of these, training stood still. */
void qp_metrics_save(qp_metrics *m, const char *name, int64_t bytes, double seconds, double waited,
                     bool best);
/* share of the run that is done; label: such as "step 3/600, micro-batch 2/8". Nothing unless on a
 * terminal. */
void qp_metrics_bar(qp_metrics *m, double share, const char *label);
#endif
