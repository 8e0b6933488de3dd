/* What a run must remember to go on as if it had never stopped: state.h5 of a checkpoint. */
#ifndef QP_TRAIN_STATE_H
#define QP_TRAIN_STATE_H
#include "base/h5.h"
#include "data/loader.h"
#include "optim/optim.h"

/* Names of the fields are names of the attributes in the file. */
#define QP_PROGRESS(INT, REAL)                                                                     \
    INT(step)    /* steps taken; the schedule's clock */                                           \
    INT(updates) /* steps whose update was applied; the optimiser's clock */                       \
    INT(epoch)   /* data position, as qp_position */                                               \
    INT(position)                                                                                  \
    INT(tokens)     /* seen so far */                                                              \
    INT(trained)    /* targets seen so far */                                                      \
    REAL(seconds)   /* of all sessions together */                                                 \
    INT(last_eval)  /* step of the last evaluation; -1: none yet */                                \
    REAL(best_loss) /* infinity: none yet */                                                       \
    INT(best_step)                                                                                 \
    INT(evals_since_best)                                                                          \
    REAL(window_nll) /* since the last printed line */                                             \
    INT(window_trained)

typedef struct {
#define QP_INT_FIELD(name) int64_t name;
#define QP_REAL_FIELD(name) double name;
    QP_PROGRESS(QP_INT_FIELD, QP_REAL_FIELD)
#undef QP_INT_FIELD
#undef QP_REAL_FIELD
} qp_progress;

/* Writes dir/state.h5: progress, masters and moments by parameter name, and `trajectory`: "key:
   value" lines of what must be the same for the numbers to go on the same; kernels: which build and
   product computed them, for a warning. The arrays go from where they are to the file. */
qp_status qp_state_save(const char *dir, const qp_progress *p, const qp_optim *o,
                        const char *trajectory, const char *kernels, qp_err *err) QP_MUST_CHECK;
/* Reads all but the arrays; the caller frees the two strings. */
qp_status qp_state_peek(const char *dir, qp_progress *p, char **trajectory, char **kernels,
                        qp_err *err) QP_MUST_CHECK;
/* Reads masters and moments into a sealed store of the same parameters, and publishes. */
qp_status qp_state_load(const char *dir, qp_optim *o, qp_err *err) QP_MUST_CHECK;

/* "lora_r: 8 there, 16 here; ..." for every key whose value differs; empty: none. */
void qp_trajectory_diff(const char *there, const char *here, qp_buf *out);
#endif
