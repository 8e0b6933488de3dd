#include "autograd/profile.h"
#include <string.h>
#include <unistd.h>

/* A limit on address space (ulimit -v, a batch system's) may allow less than the machine has: then
   the default budget is halved until it fits, down to this. */
enum { LEAST = 1 << 26 };

static size_t machine_memory(void)
{
    return (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
}

qp_status qp_ctx_init(qp_ctx *c, const qp_backend *be, size_t budget_bytes, qp_err *err)
{
    *c = (qp_ctx){ .be = be, .recording = true };
    size_t budget = budget_bytes ? budget_bytes : machine_memory();
    qp_status rc = qp_arena_init(&c->arena, budget, err);
    while (rc && !budget_bytes && budget > LEAST) rc = qp_arena_init(&c->arena, budget /= 2, err);
    c->arena.tape = &c->tape;
    return rc;
}

void qp_ctx_release(qp_ctx *c)
{
    qp_arena_release(&c->arena);
    *c = (qp_ctx){ 0 };
}

void qp_ctx_reset(qp_ctx *c)
{
    qp_arena_reset(&c->arena);
    c->tape = NULL;
    c->recording = true;
    if (c->profile) c->profile->walking = false;
}

qp_tensor *qp_wrap_data(qp_ctx *c, qp_storage storage, int ndim, const int64_t *shape, void *data)
{
    QP_ASSERT(ndim >= 0 && ndim <= QP_MAX_DIMS, "a tensor of %d dimensions: at most %d", ndim,
              QP_MAX_DIMS);
    qp_tensor t = { .storage = storage, .ndim = ndim, .data = data };
    for (int64_t i = 0, values = 1; i < ndim; i++) {
        QP_ASSERT(shape[i] >= 0, "dimension %d of a tensor is %lld: sizes are 0 or more", (int)i,
                  (long long)shape[i]);
        QP_ASSERT(!__builtin_mul_overflow(values, shape[i], &values) && values <= INT64_MAX / 16,
                  "dimension %d of a tensor is %lld: more values than can be addressed", (int)i,
                  (long long)shape[i]);
        t.shape[i] = shape[i];
    }
    qp_tensor *made = qp_arena_alloc(&c->arena, sizeof t);
    *made = t;
    return made;
}

qp_tensor *qp_new(qp_ctx *c, qp_storage storage, int ndim, const int64_t *shape)
{
    qp_tensor *t = qp_wrap_data(c, storage, ndim, shape, NULL);
    t->data = qp_arena_alloc(&c->arena, qp_value_bytes(t));
    return t;
}

void *qp_record(qp_ctx *c, size_t bytes, const qp_op *op, qp_tensor *out, int count,
                qp_tensor *const *in)
{
    bool wanted = false;
    if (c->profile) qp_profile_call(c->profile, op, false, out, count, in);
    for (int i = 0; i < count; i++) wanted |= in[i] && in[i]->needs_grad;
    if (!c->recording || !wanted) return NULL;
    bytes = (bytes + sizeof *in - 1) / sizeof *in * sizeof *in; /* the inputs lie behind the node */
    const size_t list = (size_t)count * sizeof *in;
    qp_node *n = qp_arena_alloc(&c->arena, bytes + list);
    memset(n, 0, bytes);
    *n = (qp_node){ .op = op, .prev = c->tape, .out = out, .count = count };
    n->in = memcpy((char *)n + bytes, in, list);
    c->tape = n;
    out->needs_grad = true;
    return n;
}

/* An activation of an outer scope must not get a gradient that dies with this one: see segment.c.
 */
static bool lies_outside(const qp_arena *a, const void *p)
{
    const char *at = p;
    return at >= a->base && at < a->base + a->scope->start;
}

void *qp_grad(qp_ctx *c, qp_tensor *t, double *beta)
{
    *beta = 1;
    if (!t || !t->needs_grad) return NULL;
    if (t->grad) return t->grad;
    *beta = 0;
    if (t->grad_home) return t->grad = t->grad_home;
    QP_ASSERT(!t->is_param, "a parameter %s without a place for its gradient", qp_str(t));
    QP_ASSERT(!lies_outside(&c->arena, t), "a gradient for %s, made outside the open scope",
              qp_str(t));
    return t->grad = qp_arena_alloc(&c->arena, qp_value_bytes(t));
}

static void run_back(qp_ctx *c, qp_node *n)
{
    qp_timed t = { .c = NULL };
    if (c->profile) {
        qp_profile_call(c->profile, n->op, true, n->out, n->count, n->in);
        qp_timed_begin(&t, c, n->op, true);
    }
    n->op->backward(c, n);
    qp_timed_leave(&t);
}

static void walk(qp_ctx *c, qp_node *stop, const qp_tensor *root)
{
    while (c->tape != stop) {
        qp_node *n = c->tape;
        QP_ASSERT(n, "walking back past the start of the tape");
        c->tape = n->prev;
        if (n->out->grad) run_back(c, n);
        if (n->shares_out) continue;
        qp_arena_recycle(&c->arena, n->out->grad, qp_value_bytes(n->out));
        n->out->grad = NULL;
        if (n->out == root) { /* its value survives, its history does not */
            n->out->needs_grad = false;
            continue;
        }
        qp_arena_recycle(&c->arena, n->out->data, qp_value_bytes(n->out));
        n->out->data = NULL; /* a later use stops at once */
    }
}

void qp_backward_to(qp_ctx *c, qp_node *stop) { walk(c, stop, NULL); }

static void *root_grad(qp_ctx *c, qp_tensor *y)
{
    double beta;
    void *dy = qp_grad(c, y, &beta);
    QP_ASSERT(dy, "backward from %s: it depends on nothing that is trained, or was run back before",
              qp_str(y));
    QP_ASSERT(beta == 0, "%s was run back before", qp_str(y));
    return dy;
}

void qp_backward(qp_ctx *c, qp_tensor *loss, double scale)
{
    QP_ASSERT(loss->ndim == 0, "backward from %s: a loss has rank 0", qp_str(loss));
    void *dy = root_grad(c, loss);
    qp_k(c, loss)->cast_in(dy, 0, &scale, QP_F64, 1);
    walk(c, NULL, loss);
}

void qp_backward_from(qp_ctx *c, qp_tensor *y, const void *dy)
{
    qp_k(c, y)->axpy(root_grad(c, y), 0, dy, 1, qp_numel(y));
    walk(c, NULL, y);
}
