/* One optimiser step: micro-batches, gradients, clipping, update. Either all of it happens or none.
 */
#ifndef QP_TRAIN_STEP_H
#define QP_TRAIN_STEP_H
#include "data/loader.h"
#include "optim/optim.h"
#include "train/objective.h"
QP_C_BEGIN

enum { QP_TREE_LEVELS = 17 };

typedef struct {
    /* borrowed */
    qp_ctx *ctx;
    qp_model *model;
    qp_optim *optim;
    qp_loader *loader;
    const qp_objective *objective;
    qp_schedule schedule;
    double peak_lr, max_grad_norm;
    uint64_t seed;
    int64_t accumulate; /* micro-batches a step */
    bool tree; /* add micro-batch gradients in a fixed binary tree, not one after the other */
    /* asked after every micro-batch; true: leave without an update. May be NULL */
    bool (*stop)(void *arg);
    /* told that weights and moments are about to change. May be NULL */
    void (*before_update)(void *arg);
    /* told how far it is. May be NULL */
    void (*progress)(void *arg, int64_t micro, int64_t micros);
    void *arg;
    /* its own */
    qp_batch *batch;
    void *level[QP_TREE_LEVELS];
} qp_stepper;

typedef struct {
    double nll;              /* sum over the targets */
    int64_t trained, tokens; /* targets; token rows */
    double lr, grad_norm;    /* before clipping */
    bool stopped;            /* nothing was changed, the position neither */
    bool finite;             /* false: loss or norm is no number, the update was not applied */
    int64_t bad_micro; /* the first micro-batch with such a loss; -1: none, the gradients were it */
} qp_step_result;

/* Buffers of the store's size that the tree needs for so many micro-batches. */
int qp_tree_levels(int64_t accumulate);
void qp_stepper_init(qp_stepper *s);
void qp_stepper_release(qp_stepper *s);
/* The step on s->batch[0 .. micros-1], filled by the caller; the loader is not asked. Without a
   target in them nothing happens and r->trained is 0. step (from 1) picks rate and dropout, update
   (from 1) is the optimiser's clock. */
void qp_step_batches(qp_stepper *s, int64_t micros, int64_t step, int64_t update,
                     qp_step_result *r);
/* Takes `micros` micro-batches from *p on and steps. */
qp_status qp_step(qp_stepper *s, qp_position *p, int64_t micros, int64_t step, int64_t update,
                  qp_step_result *r, qp_err *err) QP_MUST_CHECK;
QP_C_END
#endif
