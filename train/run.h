#ifndef QP_TRAIN_RUN_H
#define QP_TRAIN_RUN_H
#include "train/config.h"

/* Everything from opening files to final/: returns QP_OK, QP_STOPPED after a signal with a checkpoint saved, or what
   went wrong. */
qp_status qp_train_run(const qp_options *o, qp_err *err) QP_MUST_CHECK;
#endif
