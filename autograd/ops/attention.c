#include "autograd/ops.h"
#include "autograd/work.h"

enum { Q, KEYS, V };
typedef struct {
    qp_node node;
    qp_span span;
    int64_t heads, kv_heads;
    void *lse; /* (N, H): log of each softmax's denominator, from forward */
} attention_node;

static void attention_backward(qp_ctx *c, qp_node *node)
{
    attention_node *a = (attention_node *)node;
    qp_tensor *q = node->in[Q], *k = node->in[KEYS], *v = node->in[V], *y = node->out;
    const int64_t n = qp_rows(q), m = qp_rows(k), h = a->heads, g = a->kv_heads, e = qp_cols(q) / h;
    double bq, bk, bv;
    void *dq = qp_grad_own(c, q, &bq), *dk = qp_grad_own(c, k, &bk), *dv = qp_grad_own(c, v, &bv);
    const size_t bytes = qp_attn_bwd_work(q->storage, n, m, h, g, e);
    void *work = qp_arena_alloc(&c->arena, bytes);
    qp_k(c, q)->attn_bwd(dq, bq, dk, bk, dv, bv, work, y->grad, y->data, a->lse, q->data, k->data,
                         v->data, a->span.first, a->span.last, n, m, h, g, e);
    qp_arena_recycle(&c->arena, work, bytes);
    qp_arena_recycle(&c->arena, a->lse, qp_sum_bytes(q, n * h));
}

static const qp_op attention_op = { "attention", attention_backward };

qp_tensor *qp_attention(qp_ctx *c, qp_tensor *q, qp_tensor *k, qp_tensor *v, qp_span span,
                        int64_t heads, int64_t kv_heads)
{
    QP_ASSERT(heads > 0 && kv_heads > 0 && heads % kv_heads == 0 && qp_cols(q) % heads == 0 &&
                  qp_cols(k) * heads == qp_cols(q) * kv_heads && qp_cols(v) == qp_cols(k) &&
                  qp_rows(v) == qp_rows(k) && k->storage == q->storage && v->storage == q->storage,
              "attention: q %s, k %s, v %s, %lld heads, %lld key heads", qp_str(q), qp_str(k),
              qp_str(v), (long long)heads, (long long)kv_heads);
    const int64_t n = qp_rows(q), m = qp_rows(k), e = qp_cols(q) / heads;
    qp_tensor *y = qp_like(c, q);
    attention_node *a =
        qp_record(c, sizeof *a, &attention_op, y, QP_IN([Q] = q, [KEYS] = k, [V] = v));
    if (a) {
        a->span = span;
        a->heads = heads;
        a->kv_heads = kv_heads;
        a->lse = qp_arena_alloc(&c->arena, qp_sum_bytes(q, n * heads));
    }
    const size_t bytes = qp_attn_fwd_work(q->storage, n, m, heads, kv_heads, e);
    void *work = qp_arena_alloc(&c->arena, bytes);
    qp_k(c, q)->attn_fwd(y->data, a ? a->lse : NULL, work, q->data, k->data, v->data, span.first,
                         span.last, n, m, heads, kv_heads, e);
    qp_arena_recycle(&c->arena, work, bytes);
    return y;
}
