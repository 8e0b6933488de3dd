/* Context and tape. Ops compute at once; one is recorded when the context records and an input
   needs a gradient. Everything an op makes lives in the context's arena until its scope closes. */
#ifndef QP_AUTOGRAD_TAPE_H
#define QP_AUTOGRAD_TAPE_H
#include "autograd/backend.h"
#include "base/arena.h"
#include "base/rng.h"
QP_C_BEGIN

typedef struct qp_ctx qp_ctx;
typedef struct qp_node qp_node;

/* One static const per op file. An op without a backward is not an op. */
typedef struct {
    const char *name;
    void (*backward)(qp_ctx *c, qp_node *n);
} qp_op;

/* First member of every op's own node struct. Recording order is a topological order. */
struct qp_node {
    const qp_op *op;
    qp_node *prev;
    qp_tensor *out, **in;
    int count;       /* of in; entries may be NULL */
    bool shares_out; /* adds into an earlier node's output: that node gives it back */
};
/* qp_record's last two arguments: QP_IN([X] = x, [W] = w). */
#define QP_IN(...) QP_COUNT(qp_tensor *, __VA_ARGS__), QP_LIST(qp_tensor *, __VA_ARGS__)

/* What makes a segment's weights usable and lets them go again: streaming, sharding; NULLs for
   nothing. */
typedef struct {
    void (*enter)(void *state, void *module);
    void (*leave)(void *state, void *module);
    void *state;
} qp_residency;

/* What ops cost, filled while c->profile points at one: autograd/profile.h. */
typedef struct qp_profile qp_profile;

struct qp_ctx {
    const qp_backend *be;
    qp_arena arena;
    qp_node *tape;
    bool recording;
    bool recompute; /* segments keep only their input */
    qp_residency residency;
    qp_rng rng;          /* dropout; segments repeat it */
    qp_profile *profile; /* NULL: nothing is measured */
};

/* budget_bytes 0: the machine's memory, or what a limit on address space leaves of it. recording
   starts true. c must not move afterwards. */
qp_status qp_ctx_init(qp_ctx *c, const qp_backend *be, size_t budget_bytes,
                      qp_err *err) QP_MUST_CHECK;
void qp_ctx_release(qp_ctx *c);
/* As after qp_ctx_init, whatever was going on: the tape is dropped, every scope closed, every
   tensor of the context gone, recording on. For what a fatal handler jumped out of. Settings
   (recompute, residency, profile) stay; rng stands where it was, which in a segment's backward is
   in the past. */
void qp_ctx_reset(qp_ctx *c);

qp_tensor *qp_new(qp_ctx *c, qp_storage storage, int ndim, const int64_t *shape);
static inline qp_tensor *qp_like(qp_ctx *c, const qp_tensor *t)
{
    return qp_new(c, t->storage, t->ndim, t->shape);
}
/* A tensor over the caller's memory, which must outlive the scope; needs no gradient. */
qp_tensor *qp_wrap_data(qp_ctx *c, qp_storage storage, int ndim, const int64_t *shape, void *data);

/* The kernels for t's type on this context's backend. */
static inline const qp_kernels *qp_k(const qp_ctx *c, const qp_tensor *t)
{
    return c->be->k[t->storage];
}

/* Puts a node of `bytes` bytes, zero behind its qp_node, on the tape if recording and any input
   needs a gradient, else returns NULL. in is copied. */
void *qp_record(qp_ctx *c, size_t bytes, const qp_op *op, qp_tensor *out, int count,
                qp_tensor *const *in);

/* For ops made of others: gives back the value of an intermediate that no node keeps. */
static inline void qp_drop(qp_ctx *c, qp_tensor *t)
{
    qp_arena_recycle(&c->arena, t->data, qp_value_bytes(t));
    t->data = NULL;
}

/* Where an op's backward writes t's gradient; NULL: not wanted. *beta is 0 on the first write, then
   1. */
void *qp_grad(qp_ctx *c, qp_tensor *t, double *beta);

/* A tape that will not be walked must be dropped, c->tape = NULL, before its scope closes, which
   stops otherwise. */

/* Walks the tape back to `stop`, adding to gradients and giving each node's value and gradient back
   to the arena as it passes. Afterwards only parameters' gradients, and those of inputs made before
   `stop`, remain. */
void qp_backward_to(qp_ctx *c, qp_node *stop);
/* The gradient of the rank-0 loss is `scale`. The loss's own value survives the walk, its history
   does not: no second time. */
void qp_backward(qp_ctx *c, qp_tensor *loss, double scale);
/* The same from any y with a given dy (y's type and shape). */
void qp_backward_from(qp_ctx *c, qp_tensor *y, const void *dy);
QP_C_END
#endif
