#include "autograd/general.h"
#include "autograd/grad.h"
#include "autograd/profile.h"
#include "autograd/work.h"

enum { X, W, B };
typedef struct {
    qp_node node;
    double *stats; /* (N, 2): each row's mean and 1/sqrt(var + eps), from forward */
} layernorm_node;

static size_t stats_bytes(const qp_tensor *x) { return (size_t)qp_rows(x) * 2 * sizeof(double); }

static void layernorm_backward(qp_ctx *c, qp_node *node)
{
    layernorm_node *n = (layernorm_node *)node;
    qp_tensor *x = node->in[X], *w = node->in[W], *b = node->in[B];
    const qp_storage sums = qp_sum_storage(x->storage);
    qp_grad_part dx = qp_grad_open(c, x, x), dw = qp_grad_open_sums(c, w, sums),
                 db = qp_grad_open_sums(c, b, sums);
    const size_t bytes = dw.to || db.to ? qp_layernorm_work(qp_rows(x), qp_cols(x)) : 0;
    void *work = qp_arena_alloc(&c->arena, bytes);
    qp_k(c, x)->layernorm_bwd(dx.to, dx.beta, dw.to, dw.beta, db.to, db.beta, work, node->out->grad,
                              x->data, w ? w->data : NULL, n->stats, qp_rows(x), qp_cols(x));
    qp_arena_recycle(&c->arena, work, bytes);
    qp_grad_close(c, &db);
    qp_grad_close(c, &dw);
    qp_grad_close(c, &dx);
    qp_arena_recycle(&c->arena, n->stats, stats_bytes(x));
}

static const qp_op layernorm_op = { "layernorm", layernorm_backward };

/* w or b, if there is any. */
static void check(const qp_tensor *x, const qp_tensor *t, const char *name)
{
    if (!t) return;
    qp_assert_same_type("layernorm", x, t);
    QP_ASSERT(t->ndim == 1 && t->shape[0] == qp_cols(x),
              "layernorm: x %s and %s %s: %s must have rank 1 and the size of x's last dimension",
              qp_str(x), name, qp_str(t), name);
}

qp_tensor *qp_layernorm(qp_ctx *c, qp_tensor *x, qp_tensor *w, qp_tensor *b, double eps)
{
    QP_TIMED(c, &layernorm_op);
    qp_assert_compute("layernorm", x);
    QP_ASSERT(x->ndim >= 1, "layernorm: x %s: the rank must be 1 or more", qp_str(x));
    check(x, w, "w");
    check(x, b, "b");
    w = qp_apart(c, w, x);
    b = qp_apart(c, qp_apart(c, b, x), w);
    qp_tensor *y = qp_like(c, x);
    layernorm_node *n = qp_record(c, sizeof *n, &layernorm_op, y, QP_IN([X] = x, [W] = w, [B] = b));
    if (n) n->stats = qp_arena_alloc(&c->arena, stats_bytes(x));
    qp_k(c, x)->layernorm_fwd(y->data, n ? n->stats : NULL, x->data, w ? w->data : NULL,
                              b ? b->data : NULL, eps, qp_rows(x), qp_cols(x));
    return y;
}
