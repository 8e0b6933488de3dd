#include "autograd/segment.h"
#include "autograd/profile.h"

enum { X, INSIDE };
typedef struct {
    qp_node node;
    qp_segment_fn fn;
    void *module;
    const void *env;
    qp_rng rng; /* as it was before forward */
} segment_node;

static void enter(qp_ctx *c, void *module)
{
    if (c->residency.enter) c->residency.enter(c->residency.state, module);
}

static void leave(qp_ctx *c, void *module)
{
    if (c->residency.leave) c->residency.leave(c->residency.state, module);
}

/* fn runs again on a stand-in for x. Its gradient lands in x's own buffer, made here, outside the
   scope, or is added to what x has already. */
static void segment_backward(qp_ctx *c, qp_node *node)
{
    segment_node *n = (segment_node *)node;
    qp_tensor *x = node->in[X], stand_in = *x;
    double beta;
    void *dx = qp_grad(c, x, &beta);
    stand_in.grad_home = dx;

    const qp_rng rng = c->rng;
    const bool recording = c->recording;
    qp_node *const mark = c->tape;
    c->rng = n->rng;
    c->recording = true;
    enter(c, n->module);
    qp_scope scope;
    qp_scope_open(&c->arena, &scope);
    qp_tensor *y = n->fn(c, n->module, n->env, &stand_in);
    y->grad = node->out->grad;
    qp_backward_to(c, mark);
    qp_scope_close(&c->arena, &scope);
    leave(c, n->module);
    c->rng = rng;
    c->recording = recording;
    if (dx && !stand_in.grad) qp_k(c, x)->zero(dx, qp_numel(x)); /* nothing inside used x */
}

static const qp_op segment_op = { "segment", segment_backward };

qp_tensor *qp_segment(qp_ctx *c, qp_segment_fn fn, void *module, const void *env, qp_tensor *x,
                      int ndim, const int64_t *shape)
{
    QP_ASSERT(!x->is_param, "a segment of parameter %s: give it a value of the step", qp_str(x));
    if (c->recording && !c->recompute) return fn(c, module, env, x);
    QP_TIMED(c, &segment_op);

    const qp_rng rng = c->rng;
    qp_node *const mark = c->tape;
    qp_tensor *y = qp_new(c, x->storage, ndim, shape);
    enter(c, module);
    qp_scope scope;
    qp_scope_open(&c->arena, &scope);
    qp_tensor *inner = fn(c, module, env, x);
    QP_ASSERT(inner->storage == y->storage && qp_numel(inner) == qp_numel(y),
              "a segment gave %s, not %s", qp_str(inner), qp_str(y));
    QP_ASSERT(inner != x, "a segment must end in a tensor of its own");
    qp_k(c, y)->axpy(y->data, 0, inner->data, 1, qp_numel(y));
    y->needs_grad =
        inner->needs_grad; /* what fn recorded shows it; the knots themselves go with the scope */
    c->tape = mark;
    qp_scope_close(&c->arena, &scope);
    leave(c, module);

    segment_node *n = qp_record(c, sizeof *n, &segment_op, y, QP_IN([X] = x, [INSIDE] = y));
    if (n) {
        n->fn = fn;
        n->module = module;
        n->env = env;
        n->rng = rng;
    }
    return y;
}
