/* The flat store of what is trained: masters, gradients, the copies the model reads. Declare every
   parameter, seal once, then tensors have data and gradient homes. Optimisers see flat ranges; a
   group is {lo, hi} with its settings: decayed matrices first, then the rest. */
#ifndef QP_AUTOGRAD_PARAM_H
#define QP_AUTOGRAD_PARAM_H
#include "autograd/tape.h"

typedef struct {
    char *name;
    qp_tensor *t; /* storage = compute type; owned by the store */
    int64_t
        lo; /* first element in the flat arrays; ranges follow declaration order within a group */
    bool decay; /* weight decay applies: matrices */
} qp_param;

typedef struct {
    int64_t lo, hi;
    bool decay;
    double lr_scale;
} qp_param_group;

typedef struct {
    qp_storage compute;
    int64_t count, n; /* parameters; elements */
    qp_param *item;   /* after sealing sorted by group, then declaration */
    void *master;     /* f32 (f64 for f64) */
    void *grad;       /* the same type */
    void *value;      /* compute type; = master unless bf16 */
    int groups;
    qp_param_group group[4];
    bool sealed;
} qp_params;

qp_params *qp_params_new(qp_storage compute);
/* The tensor's data is NULL until sealed. Decay: ndim >= 2. The name is copied. */
qp_tensor *qp_params_add(qp_params *p, const char *name, int ndim, const int64_t *shape);
qp_status qp_params_seal(qp_params *p, qp_err *err) QP_MUST_CHECK;
qp_param *qp_params_find(const qp_params *p, const char *name); /* or NULL */
/* Writes master values from any plain storage; publish afterwards. */
void qp_params_set(qp_params *p, qp_param *item, qp_storage from, const void *data);
void qp_params_publish(qp_params *p);    /* value = master, rounded */
void qp_params_begin_step(qp_params *p); /* every gradient: first write overwrites */
void qp_params_end_grads(qp_params *p);  /* those nobody wrote become zero */
void qp_params_free(qp_params *p);
#endif
