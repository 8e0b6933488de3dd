#include "tests/support/opcheck.h"
#include "autograd/segment.h"
#include "base/buf.h"
#include "tests/support/gradcheck.h"
#include <check.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Messages ---- */

static const char *shapes(const op_case *k)
{
    static char text[400];
    size_t at = 0;
    for (int i = 0; i < k->count; i++) {
        qp_tensor t = { .storage = QP_F64, .ndim = k->in[i].ndim };
        memcpy(t.shape, k->in[i].shape, sizeof t.shape);
        at += (size_t)snprintf(text + at, sizeof text - at, " %s", qp_str(&t) + strlen("f64"));
    }
    if (k->p != 0 || k->q != 0)
        at += (size_t)snprintf(text + at, sizeof text - at, ", p %g, q %g", k->p, k->q);
    if (k->axis) at += (size_t)snprintf(text + at, sizeof text - at, ", axis %d", k->axis);
    if (k->flag[0] || k->flag[1])
        at +=
            (size_t)snprintf(text + at, sizeof text - at, ", flags %d %d", k->flag[0], k->flag[1]);
    for (int i = 0; i < 4 && k->n[i]; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, ", n%d %lld", i, (long long)k->n[i]);
    return text;
}

/* "exp, case 7: (3, 4), ...: " and what is wrong with it. */
#define FAIL(k, format, ...)                                                                       \
    ck_abort_msg("%s, case %d:%s: " format, (k)->op->name, (k)->turn, shapes(k), __VA_ARGS__)
#define HOLDS(k, condition, ...)                                                                   \
    do {                                                                                           \
        if (!(condition)) FAIL(k, __VA_ARGS__);                                                    \
    } while (0)

/* ---- Running a case ---- */

static double get(const void *data, qp_storage s, int64_t i)
{
    return s == QP_I32 ? (double)((const int32_t *)data)[i] : test_get(data, s, i);
}

typedef struct {
    unsigned wanted, params; /* inputs, as bits: get gradients, are parameters */
    bool preset, off;        /* gradients hold values before; recording is off */
    int segment;             /* 1 + the input that a recomputed segment begins with; 0: none */
} manner;

typedef struct {
    qp_tensor *y, *in[OP_INPUTS]; /* y's value and the inputs' gradients are kept */
    bool recorded;
} result;

static unsigned differentiable(const op_case *k)
{
    unsigned bits = 0;
    for (int i = 0; i < k->count; i++) bits |= !k->constant[i] ? 1u << i : 0;
    return bits;
}

static double before(int input, int64_t i)
{
    return qp_rng_normal(77, (uint64_t)input, (uint64_t)i);
}

/* NaN everywhere in the memory that the next blocks will come from. */
static void poison(qp_ctx *c, const op_case *k)
{
    const size_t bytes = k->size == OP_SMALL ? 1 << 15 : 1 << 20;
    qp_scope scope;
    qp_scope_open(&c->arena, &scope);
    memset(qp_arena_alloc(&c->arena, bytes), 0xff, bytes);
    qp_scope_close(&c->arena, &scope);
}

static qp_tensor *input(qp_ctx *c, const op_case *k, int i, qp_storage type, manner how)
{
    qp_tensor *t = qp_new(c, type, k->in[i].ndim, k->in[i].shape);
    const int64_t n = qp_numel(t);
    for (int64_t j = 0; j < n; j++) test_set(t->data, type, j, k->in[i].v[j]);
    t->needs_grad = how.wanted >> i & 1;
    t->is_param = t->needs_grad && (how.params >> i & 1);
    const size_t bytes = qp_storage_bytes(qp_grad_storage(t), n);
    t->grad_home = memset(qp_arena_alloc(&c->arena, bytes), 0xff, bytes);
    if (!how.preset || !t->needs_grad) return t;
    t->grad = t->grad_home;
    for (int64_t j = 0; j < n; j++) test_set(t->grad, qp_grad_storage(t), j, before(i, j));
    return t;
}

typedef struct {
    const op_case *k;
    qp_tensor **in;
    int x;
} inside;

static qp_tensor *in_segment(qp_ctx *c, void *module, const void *env, qp_tensor *x)
{
    const inside *s = env;
    qp_tensor *in[OP_INPUTS];
    (void)module;
    memcpy(in, s->in, sizeof in);
    in[s->x] = x;
    return s->k->op->run(c, in, s->k);
}

static void backward(qp_ctx *c, qp_tensor *y)
{
    if (!y->needs_grad) return;
    void *dy = qp_arena_alloc(&c->arena, qp_value_bytes(y));
    const int64_t n = qp_numel(y);
    for (int64_t i = 0; i < n && i < OP_PERIOD; i++)
        test_set(dy, y->storage, i, op_rounded(qp_rng_normal(99, 0, (uint64_t)i)));
    for (int64_t i = OP_PERIOD; i < n; i++)
        test_set(dy, y->storage, i, test_get(dy, y->storage, i - OP_PERIOD));
    qp_backward_from(c, y, dy);
}

/* `like`, for a segment: a result of this case, whose shape is known. */
static result run(qp_ctx *c, const op_case *k, qp_storage type, manner how, const result *like)
{
    result r = { 0 };
    inside s; /* backward reads it too */
    const int threads = omp_get_max_threads();
    for (int i = 0; i < k->count; i++) r.in[i] = input(c, k, i, type, how);
    c->rng = (qp_rng){ .key = 7, .next = 0 };
    c->recording = !how.off;
    c->recompute = how.segment;
    poison(c, k);
    if (how.segment) {
        s = (inside){ k, r.in, how.segment - 1 };
        r.y = qp_segment(c, in_segment, NULL, &s, r.in[s.x], like->y->ndim, like->y->shape);
    } else {
        r.y = k->op->run(c, r.in, k);
    }
    r.recorded = r.y->needs_grad;
    backward(c, r.y);
    c->recording = true;
    HOLDS(k, !c->tape, "%s", "something is left on the tape");
    HOLDS(k, omp_get_max_threads() == threads, "%d threads became %d", threads,
          omp_get_max_threads());
    return r;
}

/* ---- Comparing ---- */

static void same_bits(const op_case *k, const char *what, int input, const void *got,
                      const void *wanted, qp_storage s, int64_t n)
{
    if (!n || !memcmp(got, wanted, qp_storage_bytes(s, n))) return;
    for (int64_t i = 0; i < n; i++)
        if (memcmp((const char *)got + qp_storage_bytes(s, i),
                   (const char *)wanted + qp_storage_bytes(s, i), qp_storage_bytes(s, 1)))
            FAIL(k, "%s, %s, %s %d, element %lld: %.9g, not %.9g", qp_storages[s].name, what,
                 input < 0 ? "value" : "gradient", input, (long long)i, get(got, s, i),
                 get(wanted, s, i));
}

static void same_gradients(const op_case *k, const char *what, const result *a, const result *b)
{
    for (int i = 0; i < k->count; i++) {
        if (!a->in[i]->needs_grad || !(a->in[i]->grad || b->in[i]->grad)) continue;
        const bool both = a->in[i]->grad && b->in[i]->grad;
        HOLDS(k, both, "%s: input %d got no gradient", what, i);
        same_bits(k, what, i, a->in[i]->grad, b->in[i]->grad, qp_grad_storage(a->in[i]),
                  qp_numel(a->in[i]));
    }
}

static void same(const op_case *k, const char *what, const result *a, const result *b)
{
    same_bits(k, what, -1, a->y->data, b->y->data, a->y->storage, qp_numel(a->y));
    same_gradients(k, what, a, b);
}

/* Relative to the largest, or to `most`. */
static void near(const op_case *k, const char *what, int input, const void *got, qp_storage gs,
                 const void *wanted, qp_storage ws, int64_t n, double most, double tolerance)
{
    for (int64_t i = 0; i < n; i++) {
        const double w = fabs(get(wanted, ws, i));
        if (isfinite(w)) most = fmax(most, w);
    }
    for (int64_t i = 0; i < n; i++) {
        const double a = get(got, gs, i), b = get(wanted, ws, i);
        if (fabs(a - b) <= tolerance * most || a == b || (isnan(a) && isnan(b))) continue;
        FAIL(
            k,
            "%s, %s, %s %d, element %lld: %.9g, not %.9g: off by %.3g of the largest, at most %.3g",
            qp_storages[gs].name, what, input < 0 ? "value" : "gradient", input, (long long)i, a, b,
            fabs(a - b) / most, tolerance);
    }
}

/* ---- f64 against formulas and differences ---- */

static qp_tensor *run_row(qp_ctx *c, qp_tensor **in, void *k)
{
    return ((const op_case *)k)->op->run(c, in, k);
}

/* Sums in another order than the op's: some roundings of numbers up to 10 times the result. */
static void check_value(const op_case *k, const qp_tensor *y)
{
    op_array expected = k->op->value(k, k->in);
    bool right = expected.ndim == y->ndim;
    for (int d = 0; right && d < y->ndim; d++) right = expected.shape[d] == y->shape[d];
    qp_tensor t = { .storage = y->storage, .ndim = expected.ndim };
    memcpy(t.shape, expected.shape, sizeof t.shape);
    HOLDS(k, right, "the result is %s, not %s", qp_str(y), qp_str(&t));
    if (expected.v)
        near(k, "formula", -1, y->data, y->storage, expected.v, QP_F64, qp_numel(y), 1e-3, 1e-13);
    free(expected.v);
}

static void check_differences(qp_ctx *c, op_case *k, qp_tensor **in, const char *what)
{
    qp_err err = { 0 };
    qp_gradcheck_report r;
    c->rng = (qp_rng){ .key = 7, .next = 0 };
    const qp_status rc = qp_gradcheck(c, run_row, k, k->count, in, 1e-9, &r, &err);
    HOLDS(k, !rc, "%s%s", what, err.msg);
    HOLDS(k, r.worst_5_point < 1e-7, "%s5-point differences are off by %g", what, r.worst_5_point);
}

/* One tensor in two places, where both may want a gradient. Ties and kinks are where x meets
   itself: only those of the row's own making. */
static void check_twice(qp_ctx *c, op_case *k, qp_tensor **in)
{
    for (int i = 0; i < k->count; i++)
        for (int j = i + 1; j < k->count; j++) {
            const op_array *a = &k->in[i], *b = &k->in[j];
            const bool alike = a->ndim == b->ndim &&
                               !memcmp(a->shape, b->shape, (size_t)a->ndim * sizeof *a->shape);
            if (!alike || k->constant[i] || k->constant[j]) continue;
            qp_tensor *twice[OP_INPUTS];
            memcpy(twice, in, sizeof twice);
            twice[i] = in[j]; /* the second's values may stand where a kink or pole is not */
            check_differences(c, k, twice, "one tensor twice: ");
        }
}

/* What the cases of an op had, all together. */
typedef struct {
    int cases;
    bool empty, rank_0, repeated;
} seen;

static void look(const op_case *k, const qp_tensor *y, seen *s)
{
    s->cases++;
    s->empty |= qp_numel(y) == 0;
    for (int i = 0; i < k->count; i++) {
        s->empty |= op_array_size(&k->in[i]) == 0;
        s->rank_0 |= k->in[i].ndim == 0;
        s->repeated |= i > 0 && op_array_size(&k->in[i]) != op_array_size(&k->in[0]);
    }
}

static manner everything(const op_case *k) { return (manner){ .wanted = differentiable(k) }; }

void op_check_gradients(const op_row *op)
{
    seen s = { 0 };
    qp_scope scope;
    qp_ctx c;
    test_ctx(&c, NULL);
    for (int turn = 0; turn < OP_CASES; turn++) {
        op_case k = op_case_draw(op, turn);
        qp_scope_open(&c.arena, &scope);
        const result r = run(&c, &k, QP_F64, everything(&k), NULL);
        if (op->value) check_value(&k, r.y);
        if (k.size == OP_SMALL) {
            look(&k, r.y, &s);
            result fresh = { 0 };
            for (int i = 0; i < k.count; i++)
                fresh.in[i] = input(&c, &k, i, QP_F64, everything(&k));
            if (!(op->flags & (OP_NO_GRADIENT | OP_NO_DIFFERENCES))) {
                check_differences(&c, &k, fresh.in, "");
                check_twice(&c, &k, fresh.in);
            }
        }
        qp_scope_close(&c.arena, &scope);
        op_case_free(&k);
    }
    qp_ctx_release(&c);
    ck_assert_int_ge(s.cases, 30);
    ck_assert_msg(s.empty || op->flags & OP_NO_EMPTY, "%s: no case of size 0", op->name);
    ck_assert_msg(s.rank_0 || op->flags & OP_NO_RANK_0, "%s: no case of rank 0", op->name);
    ck_assert_msg(s.repeated || op->flags & OP_NO_REPEAT, "%s: no broadcasting", op->name);
}

/* ---- What holds in every type ---- */

static const double epsilon[] = { 0x1p-52, 0x1p-23, 0x1p-7 };

/* f32 rounds results of sums to a few 1e-7 of the largest term; bf16 rounds to 1/256: results,
   and what backward reads of them. */
static double tolerance(const op_row *op, qp_storage type)
{
    const double f32 = op->f32 != 0 ? op->f32 : 1, bf16 = op->bf16 != 0 ? op->bf16 : 1;
    return type == QP_F64 ? 1e-13 : type == QP_F32 ? 3e-6 * f32 : 8e-3 * bf16;
}

/* What numbers of the size of a gradient's terms come to. Of a few numbers the largest says little:
   1 - y^2 may be small beside y's rounding. An input smaller than the result gets sums of so many
   terms, rounded each, which may cancel. */
static double least(const op_case *k, const result *r, int input)
{
    const double n = (double)qp_numel(r->y), m = (double)qp_numel(r->in[input]);
    return m < n && m > 0 ? sqrt(n / m) : k->size == OP_SMALL ? 1 : 0;
}

/* A gradient that is there is added to: up to the roundings of the sum, and of a gradient alone. */
static void check_adding(qp_ctx *c, const op_case *k, qp_storage type, manner how)
{
    const result alone = run(c, k, type, how, NULL), *full = &alone;
    how.preset = true;
    const result r = run(c, k, type, how, NULL);
    for (int i = 0; i < k->count; i++) {
        if (!(how.wanted >> i & 1)) continue;
        const qp_storage s = qp_grad_storage(r.in[i]);
        const int64_t n = qp_numel(r.in[i]);
        double most = 1;
        for (int64_t j = 0; j < n; j++) most = fmax(most, fabs(get(full->in[i]->grad, s, j)));
        for (int64_t j = 0; j < n; j++) {
            char one[8];
            test_set(one, s, 0, before(i, j));
            const double sum = get(one, s, 0) + get(full->in[i]->grad, s, j),
                         got = get(r.in[i]->grad, s, j);
            HOLDS(k, fabs(got - sum) <= 8 * epsilon[s] * most,
                  "%s: gradient %d, element %lld: %.9g was to be added, %.9g came of it, not %.9g",
                  qp_storages[type].name, i, (long long)j, get(full->in[i]->grad, s, j), got, sum);
        }
    }
}

/* Those left out get nothing, and the others do not notice. */
static void check_subsets(qp_ctx *c, const op_case *k, qp_storage type, const result *full)
{
    const unsigned all = differentiable(k);
    for (unsigned some = 0; some < all; some++) {
        if (some & ~all) continue;
        manner how = everything(k);
        how.wanted = some;
        const result r = run(c, k, type, how, NULL);
        HOLDS(k, r.recorded == (some != 0), "%s", "recorded for nothing, or not at all");
        same(k, "some inputs need no gradient", &r, full);
        for (int i = 0; i < k->count; i++)
            HOLDS(k, (some >> i & 1) || !r.in[i]->grad, "input %d got a gradient unasked", i);
        if (some) check_adding(c, k, type, how);
    }
}

static void check_off(qp_ctx *c, const op_case *k, qp_storage type, const result *full)
{
    manner how = everything(k);
    how.off = true;
    const result r = run(c, k, type, how, NULL);
    HOLDS(k, !r.recorded || k->op->flags & OP_RANDOM, "%s", "recorded with recording off");
    if (k->op->flags & OP_RANDOM) return;
    same_bits(k, "recording off", -1, r.y->data, full->y->data, r.y->storage, qp_numel(r.y));
}

/* Gradients of parameters have the type of sums. */
static void check_parameters(qp_ctx *c, const op_case *k, qp_storage type, const result *exact)
{
    manner how = everything(k);
    how.params = differentiable(k);
    const result r = run(c, k, type, how, NULL);
    for (int i = 0; i < k->count; i++)
        if (how.params >> i & 1)
            near(k, "a parameter", i, r.in[i]->grad, qp_sum_storage(type), exact->in[i]->grad,
                 qp_grad_storage(exact->in[i]), qp_numel(r.in[i]), least(k, &r, i),
                 tolerance(k->op, type));
}

/* A segment that begins with any input; the others are parameters or frozen. */
static void check_segment(qp_ctx *c, const op_case *k, qp_storage type)
{
    for (int x = 0; x < k->count; x++) {
        const unsigned bit = 1u << x, params = differentiable(k) & ~bit;
        if (k->constant[x]) continue;
        manner how = { .wanted = params | bit, .params = params };
        const result plain = run(c, k, type, how, NULL);
        if (plain.y->storage != type) continue;
        how.segment = 1 + x;
        const result again = run(c, k, type, how, &plain);
        same(k, "recomputed", &again, &plain);
    }
}

void op_check_rules(const op_row *op, int type_)
{
    const qp_storage type = (qp_storage)type_;
    qp_scope scope;
    qp_ctx c;
    test_ctx(&c, NULL);
    for (int turn = 0; turn < OP_CASES; turn++) {
        op_case k = op_case_draw(op, turn);
        if (k.size == OP_SMALL) {
            qp_scope_open(&c.arena, &scope);
            const result exact = run(&c, &k, QP_F64, everything(&k), NULL);
            const result full = run(&c, &k, type, everything(&k), NULL);
            check_off(&c, &k, type, &full);
            HOLDS(&k, full.recorded == !(op->flags & OP_NO_GRADIENT), "%s",
                  full.recorded ? "recorded, though there is no gradient" : "not recorded");
            if (full.recorded) {
                check_subsets(&c, &k, type, &full);
                manner params = everything(&k);
                params.params = differentiable(&k);
                check_adding(&c, &k, type, everything(&k));
                check_adding(&c, &k, type, params);
                check_parameters(&c, &k, type, &exact);
                check_segment(&c, &k, type);
            }
            qp_scope_close(&c.arena, &scope);
        }
        if (k.size == OP_TAILS && !(op->flags & OP_NO_GRADIENT)) { /* across blocks of the work */
            qp_scope_open(&c.arena, &scope);
            check_adding(&c, &k, type, everything(&k));
            qp_scope_close(&c.arena, &scope);
        }
        op_case_free(&k);
    }
    qp_ctx_release(&c);
}

/* ---- Every build ---- */

/* A second run in the same scope lives on the blocks of the first. New are y and dy, which stay,
   and the structs of tensors and nodes; with recording off, y alone. */
static void check_memory(qp_ctx *c, const op_case *k, qp_storage type)
{
    for (int off = 0; off < 2; off++) {
        manner how = everything(k);
        how.off = off;
        result r = { 0 };
        for (int i = 0; i < k->count; i++) r.in[i] = input(c, k, i, type, how);
        qp_scope scope;
        qp_scope_open(&c->arena, &scope);
        size_t before_second = 0;
        for (int round = 0; round < 2; round++) {
            before_second = c->arena.used;
            for (int i = 0; i < k->count; i++) r.in[i]->grad = NULL;
            c->rng = (qp_rng){ .key = 7, .next = 0 };
            c->recording = !off;
            r.y = k->op->run(c, r.in, k);
            r.recorded = r.y->needs_grad;
            c->recording = true;
            backward(c, r.y);
        }
        const size_t took = c->arena.used - before_second,
                     structs = k->op->flags & OP_COMPOSITE ? 2048 : 512;
        const size_t kept = (size_t)(r.recorded ? 2 : 1) * (qp_value_bytes(r.y) + 64) + structs;
        HOLDS(k, took <= kept, "%s, recording %s: keeps %zu bytes, not %zu", qp_storages[type].name,
              off ? "off" : "on", took, kept);
        qp_scope_close(&c->arena, &scope);
    }
}

static void check_threads(qp_ctx *c, const op_case *k, qp_storage type, const result *r)
{
    const int usual = omp_get_max_threads();
    for (int threads = 1; threads <= 3; threads++) {
        if (threads == usual) continue;
        omp_set_num_threads(threads);
        const result s = run(c, k, type, everything(k), NULL);
        same(k, "another number of threads", &s, r);
    }
    omp_set_num_threads(usual);
}

/* The loops add in the same order and never fuse a product with a sum: the plain build's bits. */
static void check_plain(qp_ctx *c, const op_case *k, qp_storage type, const result *r)
{
    extern const qp_kernels qp_kernels_f64_base, qp_kernels_f32_base, qp_kernels_bf16_base;
    const qp_backend plain = { "plain",
                               { &qp_kernels_f64_base, &qp_kernels_f32_base,
                                 &qp_kernels_bf16_base } },
                     *const build = c->be;
    c->be = &plain;
    const result s = run(c, k, type, everything(k), NULL);
    c->be = build;
    same(k, "the plain build", r, &s);
}

void op_check_build(const op_row *op, int build)
{
    qp_storage type;
    qp_scope scope;
    qp_ctx c;
    if (!test_build_here(build, &type)) return;
    test_ctx(&c, NULL);
    for (int turn = 0; turn < OP_CASES; turn++) {
        op_case k = op_case_draw(op, turn);
        qp_scope_open(&c.arena, &scope);
        const result exact = run(&c, &k, QP_F64, everything(&k), NULL),
                     r = run(&c, &k, type, everything(&k), NULL);
        near(&k, "value", -1, r.y->data, r.y->storage, exact.y->data, exact.y->storage,
             qp_numel(r.y), k.size == OP_SMALL ? 1 : 0, tolerance(op, type));
        for (int i = 0; i < k.count; i++) {
            const bool got = r.in[i]->grad, wanted = exact.in[i]->grad;
            HOLDS(&k, got == wanted, "input %d: a gradient in one type only", i);
            if (got)
                near(&k, "gradient", i, r.in[i]->grad, qp_grad_storage(r.in[i]), exact.in[i]->grad,
                     QP_F64, qp_numel(r.in[i]), least(&k, &r, i), tolerance(op, type));
        }
        if (!(op->flags & OP_PRODUCT) && type != QP_F64) check_plain(&c, &k, type, &r);
        if (k.size == OP_PARALLEL) check_threads(&c, &k, type, &r);
        if (k.size == OP_TAILS) check_memory(&c, &k, type);
        qp_scope_close(&c.arena, &scope);
        op_case_free(&k);
    }
    qp_ctx_release(&c);
}
