/* Gradients to new weights. An optimiser is a row of the type table in optim.c; its state is flat
   arrays beside the parameter store, so a checkpoint and a rank's share are ranges. */
#ifndef QP_OPTIM_OPTIM_H
#define QP_OPTIM_OPTIM_H
#include "autograd/param.h"
QP_C_BEGIN

typedef struct {
    double beta1, beta2, eps, weight_decay;
} qp_optim_settings;

typedef struct qp_optim qp_optim;

/* What one update works on: elements lo .. hi-1 of the flat arrays, all of one group. */
typedef struct {
    int64_t lo, hi;
    double lr, weight_decay; /* the group's */
    double grad_scale;       /* clipping: multiplies every gradient first */
    int64_t step;            /* counts from 1 */
} qp_optim_range;

/* An optimiser of your own is such a type, given to qp_optim_init_type; make it the first member of
   a struct when it has settings that qp_optim_settings lacks. */
typedef struct {
    const char *name; /* "adamw" */
    int states;       /* state arrays of the store's size */
    const char *state_name[4];
    /* From gradients and states to new masters. */
    void (*update)(qp_optim *o, qp_ctx *c, const qp_optim_range *r);
    bool writes_values; /* bf16 stores: update rounds masters to values itself */
} qp_optim_type;

struct qp_optim {
    const qp_optim_type *type;
    qp_params *params; /* borrowed */
    qp_optim_settings s;
    void *state[4]; /* params->n elements each, f32 (f64 for f64); zero at the start */
};

/* Unknown names: QP_USAGE naming the known ones. */
qp_status qp_optim_init(qp_optim *o, const char *type, const qp_optim_settings *s, qp_params *p,
                        qp_err *err) QP_MUST_CHECK;
/* The same for a type that is in no table; it must outlive o. */
qp_status qp_optim_init_type(qp_optim *o, const qp_optim_type *type, const qp_optim_settings *s,
                             qp_params *p, qp_err *err) QP_MUST_CHECK;
void qp_optim_release(qp_optim *o);
/* One update of everything: groups, rate scales and decay observed. */
void qp_optim_step(qp_optim *o, qp_ctx *c, double lr, double grad_scale, int64_t step);
/* One update of elements lo .. hi-1, which may span groups: a rank's share. */
void qp_optim_step_range(qp_optim *o, qp_ctx *c, int64_t lo, int64_t hi, double lr,
                         double grad_scale, int64_t step);

/* A whole step for a loss (rank 0) that no other loss is added to: backward, gradients clipped to
   max_norm (0: not clipped), one update; step counts from 1. Returns the norm before clipping. One
   that is not finite changes no weight. The loss's value survives. */
double qp_optim_minimize(qp_optim *o, qp_ctx *c, qp_tensor *loss, double lr, double max_norm,
                         int64_t step);

/* Parameters, states and the last step done, in one safetensors file that appears whole or not at
   all; and back into an optimiser of the same type and store, as qp_params_load. What follows is
   what would have followed, bit for bit. */
qp_status qp_optim_save(const qp_optim *o, int64_t step, const char *path,
                        qp_err *err) QP_MUST_CHECK;
qp_status qp_optim_load(qp_optim *o, int64_t *step, const char *path, qp_err *err) QP_MUST_CHECK;

/* Rate at step k (1-based) as a factor of the peak: transformers' formulas. Warm-up rises to 1 at
   step `warmup`, the end is reached at step `total`. lag 0: step k has f(k), so that no step is
   spent at rate 0 (transformers' cosine_warmup_with_min_lr); lag 1: f(k - 1), as its other
   schedules count. */
typedef enum {
    QP_SCHEDULE_CONSTANT,
    QP_SCHEDULE_LINEAR,
    QP_SCHEDULE_COSINE,
    QP_SCHEDULE_WSD, /* warm-up from min_ratio, stable, then a cosine down to min_ratio */
    QP_SCHEDULES
} qp_schedule_kind;
typedef struct {
    qp_schedule_kind kind;
    int64_t warmup, total; /* steps */
    double min_ratio;      /* where linear, cosine and wsd end */
    double decay_ratio;    /* wsd: share of the steps spent falling */
    int64_t lag;           /* 0 or 1 */
} qp_schedule;
bool qp_schedule_find(const char *name,
                      qp_schedule_kind *kind); /* "constant", "linear", "cosine", "wsd" */
double qp_schedule_factor(const qp_schedule *s, int64_t step);

/* sqrt(sum g^2) over the store, summed in f64 in a fixed order. */
double qp_grad_norm(qp_ctx *c, const qp_params *p);
/* What clipping multiplies by: min(1, max_norm / (norm + 1e-6)), as torch; max_norm <= 0: 1. */
double qp_clip_scale(double norm, double max_norm);
QP_C_END
#endif
