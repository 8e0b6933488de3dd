/* Products over the last two dimensions. Only b's transposition reaches the kernel: a is transposed
   first, by an op of its own, so that a row's bits depend on nothing beside it. */
#include "autograd/general.h"
#include "autograd/grad.h"
#include "autograd/profile.h"
#include "autograd/work.h"

enum { A, B };
enum { OUT, LEFT, RIGHT }; /* operands of a batch's loops */
typedef struct {
    int64_t m, n, k; /* every product is (m, n), over a depth of k */
    bool tb;         /* b is stored (n, k), else (k, n) */
    qp_tensor lead;  /* the dimensions before, broadcast: a shape only */
    qp_loops batch;  /* how y, a and b move from one product to the next, in elements */
} layout;
typedef struct {
    qp_node node;
    layout of;
} matmul_node;

/* The dimensions before a matrix. */
static qp_tensor leading(const qp_tensor *t)
{
    qp_tensor lead = *t;
    lead.ndim = t->ndim > 2 ? t->ndim - 2 : 0;
    return lead;
}

static void check(const qp_tensor *a, const qp_tensor *b, bool ta, bool tb)
{
    qp_assert_same_type("matmul", a, b);
    QP_ASSERT(a->ndim >= 1 + ta && b->ndim >= 1 + tb,
              "matmul: %s%s and %s%s: rank 0 has no product and rank 1 no transpose", qp_str(a),
              ta ? " transposed" : "", qp_str(b), tb ? " transposed" : "");
    const int64_t of_a = a->shape[a->ndim - 1 - ta],
                  of_b = b->shape[b->ndim == 1 ? 0 : b->ndim - 2 + tb];
    QP_ASSERT(of_a == of_b, "matmul: %s%s and %s%s: columns of a, %lld, must equal rows of b, %lld",
              qp_str(a), ta ? " transposed" : "", qp_str(b), tb ? " transposed" : "",
              (long long)of_a, (long long)of_b);
    for (int d = 3; d <= a->ndim && d <= b->ndim; d++) {
        const int64_t m = a->shape[a->ndim - d], n = b->shape[b->ndim - d];
        QP_ASSERT(m == n || m == 1 || n == 1,
                  "matmul: %s and %s: sizes before the last two dimensions must be equal or 1",
                  qp_str(a), qp_str(b));
    }
}

/* Operand k has a matrix of `size` elements for each index of lead. */
static void operand(qp_loops *l, int k, const qp_tensor *lead, int64_t size)
{
    qp_loops_operand(l, k, lead->ndim, lead->shape);
    for (int d = 0; d < l->ndim; d++) l->stride[k][d] *= size;
}

/* a is not transposed any more. */
static layout layout_of(const qp_tensor *a, const qp_tensor *b, bool tb)
{
    layout of = { .tb = tb || b->ndim == 1, .k = qp_cols(a) };
    of.m = a->ndim > 1 ? a->shape[a->ndim - 2] : 1;
    of.n = b->ndim > 1 ? b->shape[b->ndim - 1 - tb] : 1;
    const qp_tensor lead_a = leading(a), lead_b = leading(b);
    of.lead.storage = a->storage;
    of.lead.ndim = qp_broadcast("matmul", &lead_a, &lead_b, of.lead.shape);
    of.batch = qp_loops_over(of.lead.ndim, of.lead.shape);
    operand(&of.batch, OUT, &of.lead, of.m * of.n);
    operand(&of.batch, LEFT, &lead_a, of.m * of.k);
    operand(&of.batch, RIGHT, &lead_b, of.n * of.k);
    return of;
}

/* Where one b serves all rows of a, they are one product. */
static layout joined(const layout *of, const qp_tensor *a, const qp_tensor *b)
{
    layout one = *of;
    const int64_t count = qp_numel(&of->lead);
    if (qp_numel(b) != of->n * of->k || qp_numel(a) != count * of->m * of->k) return one;
    one.m *= count;
    one.lead.ndim = one.batch.ndim = 0;
    return one;
}

/* lead with rows and cols behind it, each left out when below 0. */
static qp_tensor with(const qp_tensor *lead, int64_t rows, int64_t cols)
{
    qp_tensor t = *lead;
    if (rows >= 0) t.shape[t.ndim++] = rows;
    if (cols >= 0) t.shape[t.ndim++] = cols;
    return t;
}

/* The loops of a gradient with `size` elements for each product, from operands `left` and `right`
   of the forward's. */
static qp_loops gradient_batch(const layout *of, int64_t size, int left, int right)
{
    qp_loops l = qp_loops_over(of->batch.ndim, of->batch.shape);
    operand(&l, OUT, &of->lead, size);
    for (int d = 0; d < l.ndim; d++) {
        l.stride[LEFT][d] = of->batch.stride[left][d];
        l.stride[RIGHT][d] = of->batch.stride[right][d];
    }
    return l;
}

/* da = dy op(b)^T, for every product; then summed over those that share an a. */
static void a_backward(qp_ctx *c, qp_node *node, const layout *full, void *work)
{
    qp_tensor *a = node->in[A], *b = node->in[B];
    const layout of = joined(full, a, b);
    qp_tensor like = with(&full->lead, a->ndim > 1 ? full->m : -1, full->k);
    like.storage = qp_grad_storage(a);
    qp_grad_part g = qp_grad_open(c, a, &like);
    if (!g.to) return;
    const qp_loops batch = gradient_batch(&of, of.m * of.k, OUT, RIGHT);
    qp_k(c, b)->matmul_batch(g.to, like.storage, g.beta, node->out->grad, b->data, false, !of.tb,
                             of.m, of.k, of.n, &batch, work);
    qp_grad_close(c, &g);
}

/* db = a^T dy, or where b is transposed dy^T a. */
static void b_backward(qp_ctx *c, qp_node *node, const layout *full, void *work)
{
    qp_tensor *a = node->in[A], *b = node->in[B];
    const void *dy = node->out->grad;
    const layout of = joined(full, a, b);
    qp_tensor like = b->ndim == 1 ? with(&of.lead, -1, of.k)
                     : of.tb      ? with(&of.lead, of.n, of.k)
                                  : with(&of.lead, of.k, of.n);
    if (!of.lead.ndim) like = *b; /* may have leading ones */
    like.storage = qp_grad_storage(b);
    qp_grad_part g = qp_grad_open(c, b, &like);
    if (!g.to) return;
    const qp_loops batch = of.tb ? gradient_batch(&of, of.n * of.k, OUT, LEFT)
                                 : gradient_batch(&of, of.n * of.k, LEFT, OUT);
    if (of.tb)
        qp_k(c, a)->matmul_batch(g.to, like.storage, g.beta, dy, a->data, true, false, of.n, of.k,
                                 of.m, &batch, work);
    else
        qp_k(c, a)->matmul_batch(g.to, like.storage, g.beta, a->data, dy, true, false, of.k, of.n,
                                 of.m, &batch, work);
    qp_grad_close(c, &g);
}

static void matmul_backward(qp_ctx *c, qp_node *node)
{
    const layout of = ((matmul_node *)node)->of;
    const size_t bytes = qp_matmul_work();
    void *work = qp_arena_alloc(&c->arena, bytes);
    a_backward(c, node, &of, work);
    b_backward(c, node, &of, work);
    qp_arena_recycle(&c->arena, work, bytes);
}

static const qp_op matmul_op = { "matmul", matmul_backward };

qp_tensor *qp_matmul(qp_ctx *c, qp_tensor *a, qp_tensor *b, bool transpose_a, bool transpose_b)
{
    QP_TIMED(c, &matmul_op);
    check(a, b, transpose_a, transpose_b);
    if (transpose_a) a = qp_transpose(c, a, -1, -2);
    const layout of = layout_of(a, b, transpose_b), one = joined(&of, a, b);
    const qp_tensor shape = with(&of.lead, a->ndim > 1 ? of.m : -1, b->ndim > 1 ? of.n : -1);
    qp_tensor *y = qp_new(c, a->storage, shape.ndim, shape.shape);
    matmul_node *n = qp_record(c, sizeof *n, &matmul_op, y, QP_IN([A] = a, [B] = b));
    if (n) n->of = of;
    const size_t bytes = qp_matmul_work();
    void *work = qp_arena_alloc(&c->arena, bytes);
    qp_k(c, a)->matmul_batch(y->data, y->storage, 0, a->data, b->data, false, one.tb, one.m, one.n,
                             one.k, &one.batch, work);
    qp_arena_recycle(&c->arena, work, bytes);
    if (transpose_a && !n) qp_drop(c, a);
    return y;
}
