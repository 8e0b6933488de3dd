#include "tests/support/gradcheck.h"
#include "autograd/cpu/dispatch.h"
#include "autograd/cpu/quant.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUDGET = 1 << 30 };
static const qp_rng start = { .key = 7, .next = 0 };

void test_ctx(qp_ctx *c, const qp_backend *be)
{
    qp_err err = { 0 };
    ck_assert_msg(!qp_ctx_init(c, be ? be : qp_cpu_backend(), BUDGET, &err), "%s", err.msg);
    c->rng = start;
}

double test_get(const void *data, qp_storage storage, int64_t i)
{
    if (storage == QP_F64) return ((const double *)data)[i];
    if (storage == QP_F32) return (double)((const float *)data)[i];
    return (double)qp_from_bf16(((const uint16_t *)data)[i]);
}

void test_set(void *data, qp_storage storage, int64_t i, double v)
{
    if (storage == QP_F64)
        ((double *)data)[i] = v;
    else if (storage == QP_F32)
        ((float *)data)[i] = (float)v;
    else
        ((uint16_t *)data)[i] = qp_to_bf16((float)v);
}

bool test_build(int index, qp_storage *type)
{
    const char *isa = qp_cpu_build(index / QP_NCOMPUTE);
    *type = (qp_storage)(index % QP_NCOMPUTE);
    if (*type == QP_F64 && index >= QP_NCOMPUTE) return false;
    if (!isa) {
        if (*type == QP_F32) fprintf(stderr, "kernel build %d is not here: not tested\n", index);
        return false;
    }
    setenv("QP_ISA", isa, 1);
    return true;
}

static double normal(uint64_t seed, int64_t i)
{
    return (double)qp_from_bf16(qp_to_bf16((float)qp_rng_normal(seed, 0, (uint64_t)i)));
}

static qp_tensor *input(qp_ctx *c, qp_storage storage, int ndim, const int64_t *shape,
                        uint64_t seed, bool is_param)
{
    qp_tensor *t = qp_new(c, storage, ndim, shape);
    for (int64_t i = 0; i < qp_numel(t); i++) test_set(t->data, storage, i, normal(seed, i));
    t->needs_grad = true;
    t->is_param = is_param;
    const size_t bytes = qp_storage_bytes(qp_grad_storage(t), qp_numel(t));
    t->grad_home =
        memset(qp_arena_alloc(&c->arena, bytes), 0xff, bytes); /* NaN: to be overwritten */
    return t;
}

qp_tensor *test_leaf(qp_ctx *c, qp_storage storage, int ndim, const int64_t *shape, uint64_t seed)
{
    return input(c, storage, ndim, shape, seed, false);
}

qp_tensor *test_param(qp_ctx *c, qp_storage storage, int ndim, const int64_t *shape, uint64_t seed)
{
    return input(c, storage, ndim, shape, seed, true);
}

double test_difference(const void *a, qp_storage as, const void *b, qp_storage bs, int64_t n)
{
    double most = 1e-3, worst = 0;
    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs(test_get(b, bs, i)));
    for (int64_t i = 0; i < n; i++) {
        double d = fabs(test_get(a, as, i) - test_get(b, bs, i));
        if (!(d <= worst)) worst = isnan(d) ? INFINITY : d;
    }
    return worst / most;
}

qp_tensor *test_run(qp_ctx *c, test_op op, int count, qp_tensor **in)
{
    for (int i = 0; i < count; i++) in[i]->grad = NULL;
    c->rng = start;
    qp_tensor *y = op(c, in);
    if (!y->needs_grad) return y;
    void *dy = qp_arena_alloc(&c->arena, qp_value_bytes(y));
    for (int64_t i = 0; i < qp_numel(y); i++) test_set(dy, y->storage, i, normal(99, i));
    qp_backward_from(c, y, dy);
    return y;
}

/* sum(dy * op(in)), leaving nothing behind. */
static double weighted(qp_ctx *c, test_op op, qp_tensor **in)
{
    double sum = 0;
    qp_scope scope;
    qp_scope_open(&c->arena, &scope);
    c->rng = start;
    qp_tensor *y = op(c, in);
    for (int64_t i = 0; i < qp_numel(y); i++)
        sum += normal(99, i) * test_get(y->data, y->storage, i);
    c->tape = NULL;
    qp_scope_close(&c->arena, &scope);
    return sum;
}

/* Sixth order: (45 (f1 - f-1) - 9 (f2 - f-2) + (f3 - f-3)) / 60h with fk = f(x + kh). The error
   falls with h^6 and rounding grows with 1/h; a fourth-order formula left 4e-9 on nets of several
   ops. */
static double slope(qp_ctx *c, test_op op, qp_tensor **in, double *x)
{
    static const double weight[] = { 45, -9, 1 };
    const double at = *x, h = 1e-3;
    double sum = 0;
    for (int k = 1; k <= 3; k++) {
        *x = at + k * h;
        const double above = weighted(c, op, in);
        *x = at - k * h;
        sum += weight[k - 1] * (above - weighted(c, op, in));
    }
    *x = at;
    return sum / (60 * h);
}

double gradcheck(qp_ctx *c, test_op op, int count, qp_tensor **in)
{
    double worst = 0;
    test_run(c, op, count, in);
    for (int i = 0; i < count; i++) {
        if (!in[i]->needs_grad) continue;
        const int64_t n = qp_numel(in[i]);
        ck_assert_int_eq(in[i]->storage, QP_F64);
        ck_assert_msg(in[i]->grad != NULL, "input %d got no gradient", i);
        double *expected = qp_arena_alloc(&c->arena, (size_t)n * sizeof *expected);
        for (int64_t j = 0; j < n; j++) expected[j] = slope(c, op, in, (double *)in[i]->data + j);
        worst = fmax(worst, test_difference(in[i]->grad, QP_F64, expected, QP_F64, n));
    }
    return worst;
}
