#include "autograd/grad.h"
#include "autograd/ops.h"
#include "autograd/profile.h"

enum { X };
typedef struct {
    qp_node node;
    const void *cos, *sin;
    const int32_t *pos;
    int64_t heads;
} rope_node;

static void rope_backward(qp_ctx *c, qp_node *node)
{
    rope_node *n = (rope_node *)node;
    qp_tensor *x = node->in[X];
    qp_grad_part g = qp_grad_open(c, x, x);
    qp_k(c, x)->rope(g.to, g.beta, node->out->grad, n->cos, n->sin, n->pos, -1, qp_rows(x),
                     n->heads, qp_cols(x) / n->heads);
    qp_grad_close(c, &g);
}

static const qp_op rope_op = { "rope", rope_backward };

qp_tensor *qp_rope(qp_ctx *c, qp_tensor *x, const void *cos, const void *sin, const int32_t *pos,
                   int64_t heads)
{
    QP_TIMED(c, &rope_op);
    qp_assert_compute("rope", x);
    QP_ASSERT(
        x->ndim >= 1 && heads > 0 && qp_cols(x) % (2 * heads) == 0,
        "rope: x %s with %lld heads: the last dimension must be a multiple of twice the heads",
        qp_str(x), (long long)heads);
    qp_tensor *y = qp_like(c, x);
    rope_node *n = qp_record(c, sizeof *n, &rope_op, y, QP_IN([X] = x));
    if (n) {
        n->cos = cos;
        n->sin = sin;
        n->pos = pos;
        n->heads = heads;
    }
    qp_k(c, x)->rope(y->data, 0, x->data, cos, sin, pos, 1, qp_rows(x), heads, qp_cols(x) / heads);
    return y;
}
