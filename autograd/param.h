/* The flat store of what is trained: masters, gradients, the copies the model reads. Declare every
   parameter, seal once, then tensors have data and gradient homes. Optimisers see flat ranges; a
   group is {lo, hi} with its settings: those decayed first, then the rest. */
#ifndef QP_AUTOGRAD_PARAM_H
#define QP_AUTOGRAD_PARAM_H
#include "autograd/init.h"
#include "autograd/tape.h"
QP_C_BEGIN

typedef struct {
    char *name;
    qp_tensor *t; /* storage = compute type; owned by the store */
    int64_t
        lo; /* first element in the flat arrays; ranges follow declaration order within a group */
    bool decay;      /* weight decay applies */
    double lr_scale; /* factor of the optimiser's rate */
} qp_param;

enum { QP_PARAM_GROUPS = 16 };
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
    qp_param_group group[QP_PARAM_GROUPS];
    bool outline; /* set before sealing: its arrays are addresses that nobody reads or writes */
    bool sealed;
} qp_params;

qp_params *qp_params_new(qp_storage compute);
/* The tensor's data is NULL until sealed. Decay: ndim >= 2. The name is copied. */
qp_tensor *qp_params_add(qp_params *p, const char *name, int ndim, const int64_t *shape);
/* Settings of one parameter, before sealing; those with equal settings are one group. lr_scale > 0
   or 0, which freezes it. At first: decay for matrices, lr_scale 1. */
void qp_params_tune(qp_params *p, const qp_tensor *t, bool decay, double lr_scale);
qp_status qp_params_seal(qp_params *p, qp_err *err) QP_MUST_CHECK;
qp_param *qp_params_find(const qp_params *p, const char *name); /* or NULL */
/* First values of a sealed store's parameter, master and value: a function of seed and name.
   `qp_params_fill(p, w, qp_init_kaiming_normal(w, 1), seed)`. Unfilled ones are 0. */
void qp_params_fill(qp_params *p, const qp_tensor *t, qp_init init, uint64_t seed);
/* Writes master values from any plain storage; publish afterwards. */
void qp_params_set(qp_params *p, qp_param *item, qp_storage from, const void *data);
void qp_params_publish(qp_params *p);    /* value = master, rounded */
void qp_params_begin_step(qp_params *p); /* every gradient: first write overwrites */
void qp_params_end_grads(qp_params *p);  /* those nobody wrote become zero */
void qp_params_free(qp_params *p);

/* The masters as safetensors, by name; the file appears whole or not at all. */
qp_status qp_params_save(const qp_params *p, const char *path, qp_err *err) QP_MUST_CHECK;
/* Masters from such a file, of any floating type (f64, f32, bf16, f16), and publishes. The file
   must hold exactly the store's parameters in their shapes, besides what qp_optim_save adds; else
   QP_BADFILE names the tensor and nothing has changed. */
qp_status qp_params_load(qp_params *p, const char *path, qp_err *err) QP_MUST_CHECK;

/* The same with more flat arrays of the store's layout, f32 (f64 for f64): array k holds
   "optimizer/NAME[k]/PARAMETER". */
typedef struct {
    int count;
    const char *name[4];
    void *data[4];
    int64_t *step; /* "optimizer/step" */
} qp_params_beside;
qp_status qp_params_save_beside(const qp_params *p, const qp_params_beside *b, const char *path,
                                qp_err *err) QP_MUST_CHECK;
qp_status qp_params_load_beside(qp_params *p, const qp_params_beside *b, const char *path,
                                qp_err *err) QP_MUST_CHECK;
QP_C_END
#endif
