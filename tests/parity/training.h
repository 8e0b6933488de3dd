#ifndef QP_TESTS_PARITY_TRAINING_H
#define QP_TESTS_PARITY_TRAINING_H
#include "model/model.h"
#include "tests/parity/parity.h"

/* Trains m by trajectory.json's settings on batches.safetensors' rows and compares loss, gradient
   norm and rate of every step. grad_prefix, when not "", names stored gradients of the first step
   in that file. */
void parity_trajectory(parity *p, qp_ctx *c, qp_model *m, const qp_value *json, const char *batches,
                       const char *grad_prefix);
#endif
