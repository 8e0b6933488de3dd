#ifndef QP_TRAIN_RUN_H
#define QP_TRAIN_RUN_H
#include "train/config.h"
#include <stdio.h>

/* Everything from opening files to final/. Lines about the run go to out, with a bar beneath them
   when it is a terminal. Returns QP_OK, QP_STOPPED after a signal with a checkpoint saved, or what
   went wrong. */
qp_status qp_train_run(const qp_options *o, FILE *out, qp_err *err) QP_MUST_CHECK;
#endif
