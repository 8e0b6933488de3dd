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

bool test_build_here(int index, qp_storage *type)
{
    const char *isa = qp_cpu_build(index / QP_NCOMPUTE);
    *type = (qp_storage)(index % QP_NCOMPUTE);
    if (!isa || (*type == QP_F64 && index >= QP_NCOMPUTE)) return false;
    setenv("QP_ISA", isa, 1);
    return true;
}

bool test_build(int index, qp_storage *type)
{
    const bool here = test_build_here(index, type);
    if (!here && *type == QP_F32)
        fprintf(stderr, "kernel build %d is not here: not tested\n", index);
    return here;
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

static qp_tensor *run_op(qp_ctx *c, qp_tensor **in, void *op) { return (*(test_op *)op)(c, in); }

double gradcheck(qp_ctx *c, test_op op, int count, qp_tensor **in)
{
    qp_gradcheck_report r = { 0 };
    qp_err err = { 0 };
    c->rng = start;
    const qp_status rc = qp_gradcheck(c, run_op, &op, count, in, 1e-7, &r, &err);
    ck_assert_msg(!rc && r.worst_5_point < 1e-7, "%s (5-point: %g)", err.msg, r.worst_5_point);
    return r.worst;
}
