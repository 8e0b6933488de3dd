#include "autograd/op_work.h"
#include <string.h>

typedef struct {
    bool backward;
    const qp_tensor *out;
    int count;
    qp_tensor *const *in;
} call;

static double numel(const qp_tensor *t) { return (double)qp_numel(t); }
static double bytes(const qp_tensor *t) { return (double)qp_value_bytes(t); }
static double grad_bytes(const qp_tensor *t)
{
    return (double)qp_storage_bytes(qp_grad_storage(t), qp_numel(t));
}
static bool wanted(const qp_tensor *t) { return t && t->needs_grad; }

/* Backward: dy is read; for every gradient that is wanted a product of the same size, which reads
   the other operand. */
static qp_op_work product(const call *c, double flop, const qp_tensor *a, const qp_tensor *b)
{
    if (!c->backward) return (qp_op_work){ flop, bytes(a) + bytes(b) + bytes(c->out) };
    qp_op_work w = { 0, bytes(c->out) };
    if (wanted(a)) w.flop += flop, w.bytes += bytes(b) + grad_bytes(a);
    if (wanted(b)) w.flop += flop, w.bytes += bytes(a) + grad_bytes(b);
    return w;
}

/* y (N, M) = x (N, K) w^T; and a . b, of which the first has the row length. */
static qp_op_work linear(const call *c)
{
    return product(c, 2 * numel(c->out) * (double)qp_cols(c->in[0]), c->in[0], c->in[1]);
}

/* y (N, M) += s (x a^T) b^T. Backward: dh = s dy b, then db, da and dx. */
static qp_op_work lora(const call *c)
{
    const qp_tensor *x = c->in[0], *a = c->in[1], *b = c->in[2];
    const double n = (double)qp_rows(x), r = (double)qp_rows(a);
    const double narrow = 2 * n * r * (double)qp_cols(x), wide = 2 * n * r * (double)qp_rows(b);
    const double h = (double)qp_storage_bytes(x->storage, (int64_t)(n * r));
    if (!c->backward)
        return (qp_op_work){ narrow + wide,
                             bytes(x) + bytes(a) + bytes(b) + 2 * bytes(c->out) + h };
    qp_op_work w = { wide, bytes(c->out) + bytes(b) + h };
    if (wanted(b)) w.flop += wide, w.bytes += h + grad_bytes(b);
    if (wanted(a)) w.flop += narrow, w.bytes += bytes(x) + grad_bytes(a);
    if (wanted(x)) w.flop += narrow, w.bytes += bytes(a) + 2 * grad_bytes(x); /* added to */
    return w;
}

/* y = x w^T + s (x a^T) b^T, the last of in being w; y and dx are written once. */
static qp_op_work linear_lora(const call *c)
{
    call base = *c;
    base.in = (qp_tensor *const[]){ c->in[0], c->in[3] };
    qp_op_work w = linear(&base), added = lora(c);
    added.bytes -= c->backward ? bytes(c->out) : 2 * bytes(c->out);
    if (c->backward && wanted(c->in[0])) added.bytes -= 2 * grad_bytes(c->in[0]);
    return (qp_op_work){ w.flop + added.flop, w.bytes + added.bytes };
}

/* Only the rows that are looked up, forward; backward adds to as many. */
static qp_op_work embedding(const call *c)
{
    if (!c->backward) return (qp_op_work){ 0, 2 * bytes(c->out) };
    const double sums = (double)qp_sum_bytes(c->out, qp_numel(c->out));
    return (qp_op_work){ numel(c->out), bytes(c->out) + 2 * sums };
}

enum { NOTHING, INPUTS = 1, OUTPUT = 2 };
typedef struct {
    const char *name;
    double forward, backward; /* operations an element of the largest operand */
    int reads;                /* what backward reads besides dy */
    qp_op_work (*work)(const call *c);
} row;

static const row table[] = {
    { "linear", .work = linear },
    { "logits", .work = linear },
    { "matmul", .work = linear },
    { "lora", .work = lora },
    { "linear_lora", .work = linear_lora },
    { "embedding", .work = embedding },
    { "attention", .forward = -1 }, /* say it themselves */
    { "linear_xent", .forward = -1 },
    { "segment", 0, 0, NOTHING, NULL }, /* its copy of the result; the rest is its ops' */
    { "rmsnorm", 4, 9, INPUTS, NULL },
    { "layernorm", 7, 12, INPUTS, NULL },
    { "softmax", 4, 4, OUTPUT, NULL },
    { "log_softmax", 4, 4, OUTPUT, NULL },
    { "logsumexp", 3, 3, INPUTS, NULL },
    { "cross_entropy", 4, 4, INPUTS, NULL },
    { "swiglu", 6, 12, INPUTS, NULL },
    { "rope", 3, 3, NOTHING, NULL },
    { "add", 1, 0, NOTHING, NULL },
    { "sub", 1, 0, NOTHING, NULL },
    { "sum", 1, 0, NOTHING, NULL },
    { "mean", 1, 1, NOTHING, NULL },
    { "cast", 0, 0, NOTHING, NULL },
    { "reshape", 0, 0, NOTHING, NULL },
    { "permute", 0, 0, NOTHING, NULL },
    { "expand", 0, 1, NOTHING, NULL },
    { "slice", 0, 0, NOTHING, NULL },
    { "concat", 0, 0, NOTHING, NULL },
    { "stack", 0, 0, NOTHING, NULL },
    { "gather", 0, 1, NOTHING, NULL },
    { "dropout", 1, 1, NOTHING, NULL },
};
static const row elementwise = { "", 1, 2, INPUTS, NULL };

static const row *find(const char *name)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i].name, name)) return &table[i];
    return &elementwise;
}

static qp_op_work by_element(const row *r, const call *c)
{
    double elements = numel(c->out);
    for (int i = 0; i < c->count; i++)
        if (c->in[i] && numel(c->in[i]) > elements) elements = numel(c->in[i]);
    qp_op_work w = { (c->backward ? r->backward : r->forward) * elements, bytes(c->out) };
    if (c->backward && r->reads & OUTPUT) w.bytes += bytes(c->out);
    for (int i = 0; i < c->count; i++) {
        const qp_tensor *t = c->in[i];
        if (!t) continue;
        if (!c->backward || r->reads & INPUTS) w.bytes += bytes(t);
        if (c->backward && wanted(t)) w.bytes += grad_bytes(t);
    }
    return w;
}

bool qp_op_work_of(const qp_op *op, bool backward, const qp_tensor *out, int count,
                   qp_tensor *const *in, qp_op_work *work)
{
    const row *r = find(op->name);
    const call c = { backward, out, count, in };
    if (r->forward < 0) return false;
    *work = r->work ? r->work(&c) : by_element(r, &c);
    return true;
}
