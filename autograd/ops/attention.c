#include "autograd/general.h"
#include "autograd/grad.h"
#include "autograd/profile.h"
#include "autograd/work.h"

enum { Q, KEYS, V };
typedef struct {
    qp_node node;
    qp_span span;
    int64_t heads, kv_heads;
    void *lse;         /* (N, H): log2 of each softmax's denominator, from forward */
    int32_t *own_span; /* (2, N) made by causal_attention, or NULL */
} attention_node;

static size_t span_bytes(const qp_tensor *q) { return (size_t)qp_rows(q) * 2 * sizeof(int32_t); }

static const qp_op attention_op;

/* By what each row sees. Forward: a score and its share of v, 2 E operations each. Backward: the
   score again, dv, dp, dq and dk. */
static void count_work(qp_ctx *c, bool backward, qp_span span, const qp_tensor *q,
                       const qp_tensor *k)
{
    if (!c->profile) return;
    double seen = 0;
    for (int64_t i = 0; i < qp_rows(q); i++) seen += span.last[i] - span.first[i] + 1;
    const double once = (double)(qp_value_bytes(q) + qp_value_bytes(k)) * 2;
    qp_profile_work(c, &attention_op, backward,
                    (qp_op_work){ (backward ? 10 : 4) * seen * (double)qp_cols(q),
                                  backward ? 2 * once : once });
}

static void attention_backward(qp_ctx *c, qp_node *node)
{
    attention_node *a = (attention_node *)node;
    qp_tensor *q = node->in[Q], *k = node->in[KEYS], *v = node->in[V], *y = node->out;
    count_work(c, true, a->span, q, k);
    const int64_t n = qp_rows(q), m = qp_rows(k), h = a->heads, g = a->kv_heads, e = qp_cols(q) / h;
    qp_grad_part dq = qp_grad_open(c, q, q), dk = qp_grad_open(c, k, k), dv = qp_grad_open(c, v, v);
    const size_t bytes = qp_attn_bwd_work(q->storage, n, m, h, g, e);
    void *work = qp_arena_alloc(&c->arena, bytes);
    if (n > 0 && e > 0) {
        qp_k(c, q)->attn_bwd(dq.to, dq.beta, dk.to, dk.beta, dv.to, dv.beta, work, y->grad, y->data,
                             a->lse, q->data, k->data, v->data, a->span.first, a->span.last, n, m,
                             h, g, e);
    } else { /* keys that nobody saw */
        if (dk.to && dk.beta == 0) qp_k(c, k)->zero(dk.to, qp_numel(k));
        if (dv.to && dv.beta == 0) qp_k(c, v)->zero(dv.to, qp_numel(v));
    }
    qp_arena_recycle(&c->arena, work, bytes);
    qp_grad_close(c, &dv);
    qp_grad_close(c, &dk);
    qp_grad_close(c, &dq);
    qp_arena_recycle(&c->arena, a->lse, qp_sum_bytes(q, n * h));
    qp_arena_recycle(&c->arena, a->own_span, span_bytes(q));
}

static const qp_op attention_op = { "attention", attention_backward };

static void check(const char *op, const qp_tensor *q, const qp_tensor *k, const qp_tensor *v,
                  int64_t heads, int64_t kv_heads)
{
    qp_assert_same_type(op, q, k);
    qp_assert_same_type(op, q, v);
    QP_ASSERT(heads > 0 && kv_heads > 0 && heads % kv_heads == 0,
              "%s: %lld heads and %lld key heads: the first must be a multiple of the second", op,
              (long long)heads, (long long)kv_heads);
    QP_ASSERT(q->ndim >= 1 && qp_cols(q) % heads == 0 && k->ndim >= 1 &&
                  qp_cols(k) == qp_cols(q) / heads * kv_heads,
              "%s: q %s with %lld heads and k %s with %lld: a head must have one size in both", op,
              qp_str(q), (long long)heads, qp_str(k), (long long)kv_heads);
    QP_ASSERT(qp_cols(v) == qp_cols(k) && qp_rows(v) == qp_rows(k),
              "%s: k %s and v %s: they must have the same rows and columns", op, qp_str(k),
              qp_str(v));
}

/* own_span: what backward gives back, or NULL. */
static qp_tensor *attention(qp_ctx *c, qp_tensor *q, qp_tensor *k, qp_tensor *v, qp_span span,
                            int32_t *own_span, int64_t heads, int64_t kv_heads)
{
    k = qp_apart(c, k, q);
    v = qp_apart(c, qp_apart(c, v, q), k);
    const int64_t n = qp_rows(q), m = qp_rows(k), e = qp_cols(q) / heads;
    qp_tensor *y = qp_like(c, q);
    attention_node *a =
        qp_record(c, sizeof *a, &attention_op, y, QP_IN([Q] = q, [KEYS] = k, [V] = v));
    if (a) {
        a->span = span;
        a->own_span = own_span;
        a->heads = heads;
        a->kv_heads = kv_heads;
        a->lse = qp_arena_alloc(&c->arena, qp_sum_bytes(q, n * heads));
    }
    count_work(c, false, span, q, k);
    const size_t bytes = qp_attn_fwd_work(q->storage, n, m, heads, kv_heads, e);
    void *work = qp_arena_alloc(&c->arena, bytes);
    if (n > 0 && e > 0)
        qp_k(c, q)->attn_fwd(y->data, a ? a->lse : NULL, work, q->data, k->data, v->data,
                             span.first, span.last, n, m, heads, kv_heads, e);
    qp_arena_recycle(&c->arena, work, bytes);
    if (!a) qp_arena_recycle(&c->arena, own_span, span_bytes(q));
    return y;
}

qp_tensor *qp_attention(qp_ctx *c, qp_tensor *q, qp_tensor *k, qp_tensor *v, qp_span span,
                        int64_t heads, int64_t kv_heads)
{
    QP_TIMED(c, &attention_op);
    check("attention", q, k, v, heads, kv_heads);
    return attention(c, q, k, v, span, NULL, heads, kv_heads);
}

qp_tensor *qp_causal_attention(qp_ctx *c, qp_tensor *q, qp_tensor *k, qp_tensor *v, int64_t heads,
                               int64_t kv_heads)
{
    QP_TIMED(c, &attention_op);
    const char *op = "causal_attention";
    QP_ASSERT((q->ndim == 2 || q->ndim == 3) && k->ndim == q->ndim && v->ndim == q->ndim,
              "%s: q %s, k %s, v %s: all must have rank 2 or all 3", op, qp_str(q), qp_str(k),
              qp_str(v));
    const int64_t batch = q->ndim == 3 ? q->shape[0] : 1, t = q->shape[q->ndim - 2],
                  s = k->shape[k->ndim - 2];
    QP_ASSERT(s >= t && (q->ndim == 2 || k->shape[0] == batch) && batch * s <= INT32_MAX,
              "%s: q %s and k %s: the batches must be equal, and keys at least as many as queries",
              op, qp_str(q), qp_str(k));
    QP_ASSERT(v->shape[v->ndim - 2] == s,
              "%s: k %s and v %s: they must have the same rows and columns", op, qp_str(k),
              qp_str(v));
    check(op, q, k, v, heads, kv_heads);
    int32_t *first = qp_arena_alloc(&c->arena, span_bytes(q)), *last = first + batch * t;
    for (int64_t i = 0; i < batch * t; i++) {
        first[i] = (int32_t)(i / t * s);
        last[i] = (int32_t)(i / t * s + s - t + i % t);
    }
    return attention(c, q, k, v, (qp_span){ first, last }, first, heads, kv_heads);
}
