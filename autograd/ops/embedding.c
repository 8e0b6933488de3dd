#include "autograd/grad.h"
#include "autograd/ops.h"
#include "autograd/profile.h"

enum { W };
typedef struct {
    qp_node node;
    const int32_t *ids;
} embedding_node;

static void embedding_backward(qp_ctx *c, qp_node *node)
{
    embedding_node *n = (embedding_node *)node;
    qp_tensor *w = node->in[W];
    const qp_tensor *y = node->out;
    qp_grad_part g = qp_grad_open_sums(c, w, qp_sum_storage(y->storage));
    qp_k(c, y)->embedding_bwd(g.to, g.beta, y->grad, n->ids, qp_rows(y), qp_cols(w), qp_rows(w));
    qp_grad_close(c, &g);
}

static const qp_op embedding_op = { "embedding", embedding_backward };

qp_tensor *qp_embedding(qp_ctx *c, qp_tensor *w, const int32_t *ids, int64_t n, qp_storage out)
{
    QP_TIMED(c, &embedding_op);
    QP_ASSERT(w->ndim == 2 && out < QP_NCOMPUTE,
              "embedding: w %s to %s: w must have rank 2, and the type be f64, f32 or bf16",
              qp_str(w), qp_storages[out].name);
    qp_assert_weight("embedding", w);
    for (int64_t i = 0; i < n; i++)
        QP_ASSERT(ids[i] >= 0 && ids[i] < qp_rows(w),
                  "embedding: id %d at row %lld of w %s: it must be at least 0 and below w's rows",
                  ids[i], (long long)i, qp_str(w));
    qp_tensor *y = qp_new(c, out, 2, (int64_t[]){ n, qp_cols(w) });
    embedding_node *node = qp_record(c, sizeof *node, &embedding_op, y, QP_IN([W] = w));
    if (node) node->ids = ids;
    qp_k(c, y)->embedding_fwd(y->data, w, ids, n, qp_cols(w));
    return y;
}
