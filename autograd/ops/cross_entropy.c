#include "autograd/general.h"
#include "autograd/grad.h"
#include "autograd/profile.h"

enum { X };
typedef struct {
    qp_node node;
    const int32_t *targets;
    double *stats; /* (N, 2): each row's largest logit and softmax denominator, from forward */
    double smoothing, factor; /* 1/counted for the mean, else 1 */
} cross_entropy_node;

static size_t stats_bytes(const qp_tensor *x) { return (size_t)qp_rows(x) * 2 * sizeof(double); }

static void cross_entropy_backward(qp_ctx *c, qp_node *node)
{
    const cross_entropy_node *n = (cross_entropy_node *)node;
    qp_tensor *x = node->in[X];
    const bool each = qp_numel(node->out) == qp_rows(x); /* of one row, step does not matter */
    qp_grad_part g = qp_grad_open(c, x, x);
    qp_k(c, x)->cross_entropy_bwd(g.to, g.beta, node->out->grad, each, n->factor, n->stats, x->data,
                                  n->targets, n->smoothing, qp_rows(x), qp_cols(x));
    qp_grad_close(c, &g);
    qp_arena_recycle(&c->arena, n->stats, stats_bytes(x));
}

static const qp_op cross_entropy_op = { "cross_entropy", cross_entropy_backward };

/* How many rows have a target. */
static int64_t counted(const qp_tensor *x, const int32_t *targets)
{
    int64_t count = 0;
    for (int64_t i = 0; i < qp_rows(x); i++) {
        QP_ASSERT(targets[i] < qp_cols(x),
                  "cross_entropy: target %d at row %lld of logits %s: it must be below the last "
                  "dimension, or negative to be ignored",
                  targets[i], (long long)i, qp_str(x));
        count += targets[i] >= 0;
    }
    return count;
}

qp_tensor *qp_cross_entropy(qp_ctx *c, qp_tensor *x, const int32_t *targets, double smoothing,
                            qp_how how)
{
    QP_TIMED(c, &cross_entropy_op);
    qp_assert_compute("cross_entropy", x);
    QP_ASSERT(x->ndim >= 1, "cross_entropy: logits %s: the rank must be 1 or more", qp_str(x));
    QP_ASSERT(how >= QP_MEAN && how <= QP_NONE, "cross_entropy: how %d: QP_MEAN, QP_SUM or QP_NONE",
              how);
    QP_ASSERT(smoothing >= 0 && smoothing <= 1, "cross_entropy: smoothing %g: it must be 0 to 1",
              smoothing);
    const int64_t rows = qp_rows(x), count = counted(x, targets);
    const qp_storage sums = qp_sum_storage(x->storage);
    qp_tensor *y = qp_new(c, sums, how == QP_NONE ? x->ndim - 1 : 0, x->shape);
    cross_entropy_node *n = qp_record(c, sizeof *n, &cross_entropy_op, y, QP_IN([X] = x));
    double *stats = qp_arena_alloc(&c->arena, stats_bytes(x));
    const size_t bytes = (size_t)rows * sizeof(double);
    double *loss = qp_arena_alloc(&c->arena, bytes), total = 0;
    const double factor = how == QP_MEAN ? 1 / (double)count : 1;
    qp_k(c, x)->cross_entropy_fwd(loss, stats, x->data, targets, smoothing, rows, qp_cols(x));
    for (int64_t i = 0; how != QP_NONE && i < rows; i++) total += loss[i];
    total = how == QP_MEAN ? total / (double)count : total; /* of nothing: NaN */
    c->be->k[sums]->cast_in(y->data, 0, how == QP_NONE ? loss : &total, QP_F64, qp_numel(y));
    qp_arena_recycle(&c->arena, loss, bytes);
    if (!n) {
        qp_arena_recycle(&c->arena, stats, stats_bytes(x));
        return y;
    }
    n->targets = targets;
    n->stats = stats;
    n->smoothing = smoothing;
    n->factor = factor;
    return y;
}
