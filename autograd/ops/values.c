/* Where values come from and where they are read. */
#include "autograd/cpu/quant.h"
#include "autograd/general.h"
#include <math.h>

static void assert_storage(const char *op, qp_storage storage)
{
    QP_ASSERT(storage < QP_NCOMPUTE, "%s: the type must be f64, f32 or bf16, not %s", op,
              qp_storages[storage].name);
}

qp_tensor *qp_full(qp_ctx *c, qp_storage storage, int ndim, const int64_t *shape, double value)
{
    assert_storage("full", storage);
    double one; /* of any type */
    qp_tensor *y = qp_new(c, storage, ndim, shape);
    qp_loops l = qp_loops_over(ndim, shape);
    qp_loops_operand(&l, 0, ndim, shape);
    qp_loops_merge(&l);
    qp_k(c, y)->cast_in(&one, 0, &value, QP_F64, 1);
    qp_k(c, y)->copy(y->data, 0, 1, &one, &l);
    return y;
}

qp_tensor *qp_scalar(qp_ctx *c, qp_storage storage, double value)
{
    return qp_full(c, storage, 0, NULL, value);
}

qp_tensor *qp_values(qp_ctx *c, qp_storage storage, int ndim, const int64_t *shape,
                     const double *values)
{
    assert_storage("values", storage);
    qp_tensor *y = qp_new(c, storage, ndim, shape);
    qp_k(c, y)->cast_in(y->data, 0, values, QP_F64, qp_numel(y));
    return y;
}

qp_tensor *qp_arange(qp_ctx *c, qp_storage storage, int64_t n)
{
    assert_storage("arange", storage);
    qp_tensor *y = qp_new(c, storage, 1, &n);
    const size_t bytes = qp_storage_bytes(QP_F64, n);
    double *count = qp_arena_alloc(&c->arena, bytes);
    for (int64_t i = 0; i < n; i++) count[i] = (double)i;
    qp_k(c, y)->cast_in(y->data, 0, count, QP_F64, n);
    qp_arena_recycle(&c->arena, count, bytes);
    return y;
}

qp_tensor *qp_normal(qp_ctx *c, qp_storage storage, int ndim, const int64_t *shape, double std)
{
    assert_storage("normal", storage);
    QP_ASSERT(std >= 0, "normal: a standard deviation of %g: it must be at least 0", std);
    qp_tensor *y = qp_new(c, storage, ndim, shape);
    const uint64_t stream = qp_rng_stream(&c->rng);
    qp_k(c, y)->normal(y->data, std, c->rng.key, stream, qp_numel(y));
    return y;
}

qp_tensor *qp_uniform(qp_ctx *c, qp_storage storage, int ndim, const int64_t *shape, double low,
                      double high)
{
    assert_storage("uniform", storage);
    QP_ASSERT(low <= high && isfinite(high - low),
              "uniform: from %g to %g: the first must be "
              "the lower",
              low, high);
    qp_tensor *y = qp_new(c, storage, ndim, shape);
    const uint64_t stream = qp_rng_stream(&c->rng);
    qp_k(c, y)->uniform(y->data, low, high, c->rng.key, stream, qp_numel(y));
    return y;
}

qp_tensor *qp_index(qp_ctx *c, int ndim, const int64_t *shape, const int32_t *index)
{
    return qp_wrap_data(c, QP_I32, ndim, shape, (void *)index);
}

qp_tensor *qp_detach(qp_ctx *c, qp_tensor *x)
{
    qp_tensor *y = qp_wrap_data(c, x->storage, x->ndim, x->shape, x->data);
    y->aux = x->aux;
    return y;
}

qp_tensor *qp_want_grad(qp_tensor *x)
{
    qp_assert_compute("want_grad", x);
    x->needs_grad = true;
    return x;
}

double qp_at(const qp_tensor *x, int64_t i)
{
    QP_ASSERT(i >= 0 && i < qp_numel(x), "at: element %lld of %s, which has %lld", (long long)i,
              qp_str(x), (long long)qp_numel(x));
    QP_ASSERT(x->data, "at: the value of %s is gone: backward has passed it", qp_str(x));
    switch (x->storage) {
    case QP_F64:
        return ((const double *)x->data)[i];
    case QP_F32:
        return (double)((const float *)x->data)[i];
    case QP_BF16:
        return (double)qp_from_bf16(((const uint16_t *)x->data)[i]);
    case QP_I32:
        return (double)((const int32_t *)x->data)[i];
    default:
        qp_assert_compute("at", x);
        return NAN;
    }
}

double qp_item(const qp_tensor *x)
{
    QP_ASSERT(qp_numel(x) == 1, "item: %s has %lld elements: it must have one", qp_str(x),
              (long long)qp_numel(x));
    return qp_at(x, 0);
}
