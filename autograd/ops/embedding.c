#include "autograd/ops.h"

enum { W };
typedef struct {
    qp_node node;
    const int32_t *ids;
} embedding_node;

static void embedding_backward(qp_ctx *c, qp_node *node)
{
    embedding_node *n = (embedding_node *)node;
    qp_tensor *w = node->in[W];
    double beta;
    void *dw = qp_grad(c, w, &beta);
    qp_k(c, node->out)
        ->embedding_bwd(dw, beta, node->out->grad, n->ids, qp_rows(node->out), qp_cols(w),
                        qp_rows(w));
}

static const qp_op embedding_op = { "embedding", embedding_backward };

qp_tensor *qp_embedding(qp_ctx *c, qp_tensor *w, const int32_t *ids, int64_t n, qp_storage out)
{
    QP_ASSERT(w->ndim == 2 && out < QP_NCOMPUTE, "embedding: w %s", qp_str(w));
    QP_ASSERT(!w->needs_grad || (w->is_param && qp_sum_storage(out) == qp_sum_storage(w->storage)),
              "embedding: a gradient for %s from %s", qp_str(w), qp_storages[out].name);
    for (int64_t i = 0; i < n; i++)
        QP_ASSERT(ids[i] >= 0 && ids[i] < qp_rows(w), "embedding: id %d at row %lld, w %s", ids[i],
                  (long long)i, qp_str(w));
    qp_tensor *y = qp_new(c, out, 2, (int64_t[]){ n, qp_cols(w) });
    embedding_node *node = qp_record(c, sizeof *node, &embedding_op, y, QP_IN([W] = w));
    if (node) node->ids = ids;
    qp_k(c, y)->embedding_fwd(y->data, w, ids, n, qp_cols(w));
    return y;
}
