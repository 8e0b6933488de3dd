#include "autograd/gradcheck.h"
#include <math.h>
#include <string.h>

typedef struct {
    qp_ctx *c;
    qp_function f;
    void *arg;
    int count;
    qp_tensor **in;
    qp_rng rng; /* as it was before the first call */
} check;

/* r: the weights of f's elements. Any stream far from those an op draws from. */
static double weight(int64_t i) { return qp_rng_normal(0x67726164, UINT64_MAX, (uint64_t)i); }

static qp_tensor *call(check *k)
{
    k->c->rng = k->rng;
    return k->f(k->c, k->in, k->arg);
}

/* sum(r * f(in)), leaving nothing behind. */
static double weighted(check *k)
{
    qp_node *const mark = k->c->tape;
    qp_scope scope;
    qp_scope_open(&k->c->arena, &scope);
    const qp_tensor *y = call(k);
    const double *v = y->data;
    double sum = 0;
    for (int64_t i = 0; i < qp_numel(y); i++) sum += weight(i) * v[i];
    k->c->tape = mark;
    qp_scope_close(&k->c->arena, &scope);
    return sum;
}

/* Central differences, with fk = f(x + kh):
     fourth order, five points:  (8 (f1 - f-1) - (f2 - f-2)) / 12h
     sixth order, seven points:  (45 (f1 - f-1) - 9 (f2 - f-2) + (f3 - f-3)) / 60h
   Their errors fall with h^4 and h^6, rounding grows with 1/h: with h = 1e-3 the first leaves 4e-9
   on nets of several ops, the second less than 1e-10. */
static double slope(check *k, double *x, double *five_point)
{
    const double at = *x, h = 1e-3;
    double d[4];
    for (int n = 1; n <= 3; n++) {
        *x = at + n * h;
        const double above = weighted(k);
        *x = at - n * h;
        d[n] = above - weighted(k);
    }
    *x = at;
    *five_point = (8 * d[1] - d[2]) / (12 * h);
    return (45 * d[1] - 9 * d[2] + d[3]) / (60 * h);
}

static double or_infinity(double d) { return isnan(d) ? INFINITY : d; }

static void compare(check *k, int input, qp_gradcheck_report *r)
{
    const qp_tensor *t = k->in[input];
    const double *got = t->grad;
    const int64_t n = qp_numel(t);
    double *expected = qp_arena_alloc(&k->c->arena, (size_t)n * sizeof *expected);
    double *five_point = qp_arena_alloc(&k->c->arena, (size_t)n * sizeof *five_point);
    double most = 1e-3;
    for (int64_t i = 0; i < n; i++) {
        expected[i] = slope(k, (double *)t->data + i, five_point + i);
        most = fmax(most, fabs(expected[i]));
    }
    for (int64_t i = 0; i < n; i++) {
        const double g = got ? got[i] : 0; /* nothing was written: no share in f */
        const double d = or_infinity(fabs(expected[i] - g) / most);
        r->worst_5_point = fmax(r->worst_5_point, or_infinity(fabs(five_point[i] - g) / most));
        if (r->checked++ && !(d > r->worst)) continue;
        r->worst = d;
        r->input = input;
        r->element = i;
        r->expected = expected[i];
        r->got = g;
    }
}

static bool wanted(const qp_tensor *t) { return t && t->needs_grad; }

/* Once forward and back; false where f is not fit to be compared. */
static bool gradients(check *k, qp_err *err)
{
    qp_node *const mark = k->c->tape;
    qp_tensor *y = call(k);
    double beta;
    if (y->storage != QP_F64) {
        k->c->tape = mark;
        qp_fail(err, QP_USAGE, "gradcheck: the result is %s; it must be f64", qp_str(y));
        return false;
    }
    double sum = 0;
    for (int64_t i = 0; i < qp_numel(y); i++) sum += weight(i) * ((double *)y->data)[i];
    double *dy = y->needs_grad ? qp_grad(k->c, y, &beta) : NULL;
    for (int64_t i = 0; dy && i < qp_numel(y); i++) dy[i] = weight(i);
    qp_backward_to(k->c, mark);
    const double again = weighted(k);
    if (again != sum && !(isnan(again) && isnan(sum)))
        return qp_fail(err, QP_USAGE, "gradcheck: the same inputs gave %.17g, then %.17g", sum,
                       again),
               false;
    return true;
}

/* Inputs get a place of their own for gradients, NaN to begin with, so that the first write must
   overwrite; saved[i] is how they were. */
static void lend_homes(check *k, qp_tensor *saved)
{
    for (int i = 0; i < k->count; i++) {
        qp_tensor *t = k->in[i];
        if (!wanted(t)) continue;
        saved[i] = *t;
        t->grad = NULL;
        t->grad_home =
            memset(qp_arena_alloc(&k->c->arena, qp_value_bytes(t)), 0xff, qp_value_bytes(t));
    }
}

static void give_back(check *k, const qp_tensor *saved)
{
    for (int i = k->count - 1; i >= 0; i--) /* backwards: one tensor may stand in several places */
        if (wanted(k->in[i])) *k->in[i] = saved[i];
}

qp_status qp_gradcheck(qp_ctx *c, qp_function f, void *arg, int count, qp_tensor **in,
                       double tolerance, qp_gradcheck_report *report, qp_err *err)
{
    check k = { c, f, arg, count, in, c->rng };
    qp_gradcheck_report r = { 0 };
    for (int i = 0; i < count; i++)
        if (wanted(in[i]) && in[i]->storage != QP_F64)
            return qp_fail(err, QP_USAGE, "gradcheck: input %d is %s; it must be f64", i,
                           qp_str(in[i]));
    qp_scope scope;
    qp_scope_open(&c->arena, &scope);
    qp_tensor *saved = qp_arena_alloc(&c->arena, (size_t)count * sizeof *saved);
    lend_homes(&k, saved);
    const bool fit = gradients(&k, err);
    for (int i = 0; fit && i < count; i++)
        if (wanted(in[i])) compare(&k, i, &r);
    give_back(&k, saved);
    c->rng = k.rng;
    qp_scope_close(&c->arena, &scope);
    if (report) *report = r;
    if (!fit) return QP_USAGE;
    if (r.worst <= tolerance) return QP_OK;
    return qp_fail(err, QP_FAIL,
                   "gradcheck: input %d, %s, element %lld: gradient %.10g, differences give %.10g: "
                   "off by %.3g, at most %.3g is allowed",
                   r.input, qp_str(in[r.input]), (long long)r.element, r.got, r.expected, r.worst,
                   tolerance);
}
