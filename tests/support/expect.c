#include "tests/support/expect.h"
#include "base/buf.h"
#include <check.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

static qp_tensor *input(qp_ctx *c, qp_storage storage, int ndim, const int64_t *shape)
{
    qp_tensor *t = qp_want_grad(qp_new(c, storage, ndim, shape));
    const size_t bytes = qp_value_bytes(t); /* of NaN: to be overwritten */
    t->grad_home = memset(qp_arena_alloc(&c->arena, bytes), 0xff, bytes);
    return t;
}

qp_tensor *test_input(qp_ctx *c, qp_storage storage, int ndim, const int64_t *shape,
                      const double *values)
{
    qp_tensor *t = input(c, storage, ndim, shape);
    for (int64_t i = 0; i < qp_numel(t); i++) test_set(t->data, storage, i, values[i]);
    return t;
}

qp_tensor *test_distinct(qp_ctx *c, qp_storage storage, int ndim, const int64_t *shape, double gap)
{
    qp_tensor *t = input(c, storage, ndim, shape);
    const int64_t n = qp_numel(t); /* 7919 is a prime: i -> 7919 i mod n meets every number once */
    for (int64_t i = 0; i < n; i++)
        test_set(t->data, storage, i, gap * (double)(i * 7919 % n - n / 2));
    return t;
}

void test_expect(const char *what, const qp_tensor *t, const void *data, const double *want,
                 double rounding)
{
    ck_assert_msg(data != NULL, "no %s of %s", what, qp_str(t));
    for (int64_t i = 0; i < qp_numel(t); i++) {
        const double v = test_get(data, t->storage, i), w = want[i];
        const bool same = isnan(w) ? isnan(v) : v == w || fabs(v - w) <= rounding * fabs(w);
        ck_assert_msg(same, "%s %lld of %s is %.17g, not %.17g", what, (long long)i, qp_str(t), v,
                      w);
    }
}

void test_expect_shape(const qp_tensor *t, int ndim, const int64_t *shape)
{
    bool same = t->ndim == ndim;
    for (int d = 0; same && d < ndim; d++) same = t->shape[d] == shape[d];
    ck_assert_msg(same, "the shape is that of %s", qp_str(t));
}

enum { MOST = 4 };
void test_threads_change_no_bit(qp_ctx *c, test_op op, int count, qp_tensor **in)
{
    static const int threads[] = { 1, 2, 3, 7 };
    void *first[MOST + 1] = { 0 };
    ck_assert_int_le(count, MOST);
    for (size_t k = 0; k < sizeof threads / sizeof *threads; k++) {
        qp_scope scope;
        omp_set_num_threads(threads[k]);
        qp_scope_open(&c->arena, &scope);
        const qp_tensor *y = test_run(c, op, count, in);
        for (int i = 0; i <= count; i++) {
            const void *now = i < count ? in[i]->grad : y->data;
            const size_t bytes = qp_value_bytes(i < count ? in[i] : y);
            if (!now) continue;
            if (k == 0)
                first[i] = memcpy(qp_xmalloc(bytes), now, bytes);
            else
                ck_assert_msg(!memcmp(first[i], now, bytes), "%d threads change bits of %s",
                              threads[k], i < count ? "a gradient" : "the result");
        }
        qp_scope_close(&c->arena, &scope);
    }
    for (int i = 0; i <= count; i++) free(first[i]);
}
