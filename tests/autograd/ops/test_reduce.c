/* sum, mean, max, min, var, logsumexp, argmax. Edge values are PyTorch 2.15's. */
#include "autograd/general.h"
#include "tests/suites.h"
#include "tests/support/gradcheck.h"
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

typedef qp_tensor *reduction(qp_ctx *c, qp_tensor *x, qp_axes axes, bool keep);
static qp_tensor *var1(qp_ctx *c, qp_tensor *x, qp_axes axes, bool keep)
{
    return qp_var(c, x, axes, keep, 1);
}
static qp_tensor *var0(qp_ctx *c, qp_tensor *x, qp_axes axes, bool keep)
{
    return qp_var(c, x, axes, keep, 0);
}
static reduction *const all[] = { qp_sum, qp_mean, qp_max, qp_min, var1, var0, qp_logsumexp };
enum { COUNT = sizeof all / sizeof all[0] };

/* What op() is to do. */
static struct {
    reduction *reduce;
    qp_axes axes;
    bool keep;
} setting;
static qp_tensor *op(qp_ctx *c, qp_tensor **in)
{
    return setting.reduce(c, in[0], setting.axes, setting.keep);
}
/* The reduction's gradient after another's, so that it adds. */
static qp_tensor *op_and_square(qp_ctx *c, qp_tensor **in)
{
    return qp_add(c, op(c, in), qp_sum(c, qp_square(c, in[0]), setting.axes, setting.keep));
}

static const struct {
    int ndim;
    int64_t shape[4];
    qp_axes axes;
} cases[] = {
    { 0, { 0 }, { -1, { 0 } } },
    { 1, { 7 }, { -1, { 0 } } },
    { 2, { 5, 18 }, { 1, { 1 } } },
    { 2, { 5, 18 }, { 1, { 0 } } },
    { 2, { 5, 3 }, { -1, { 0 } } },
    { 3, { 3, 4, 5 }, { 2, { 0, -1 } } },
    { 3, { 3, 4, 5 }, { 1, { 1 } } },
    { 3, { 3, 4, 5 }, { 2, { 1, 0 } } },
    { 3, { 2, 1, 33 }, { 2, { 2, 1 } } },
    { 4, { 2, 3, 4, 3 }, { 2, { 1, 3 } } },
    { 4, { 2, 3, 4, 3 }, { 2, { 0, 2 } } },
    { 2, { 3, 4 }, { 0, { 0 } } },
};
enum { CASES = sizeof cases / sizeof cases[0] };

/* Distinct values, 0.03 apart, in no order: no difference steps over a kink. */
static qp_tensor *distinct(qp_ctx *c, qp_storage storage, int ndim, const int64_t *shape)
{
    qp_tensor *x = test_leaf(c, storage, ndim, shape, 1);
    const int64_t n = qp_numel(x);
    for (int64_t i = 0; i < n; i++)
        test_set(x->data, storage, i, 0.03 * (double)(i * 7919 % n - n / 2));
    return x;
}

START_TEST(gradients_match_differences)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    for (int i = 0; i < COUNT; i++)
        for (int k = 0; k < CASES; k++) {
            qp_tensor *x = distinct(&c, QP_F64, cases[k].ndim, cases[k].shape);
            const bool one = cases[k].axes.count == 0 || qp_numel(x) == 1;
            if (one && setting.reduce == var1) continue; /* NaN */
            setting.reduce = all[i];
            setting.axes = cases[k].axes;
            for (int keep = 0; keep < 2; keep++) {
                setting.keep = keep;
                if (one && all[i] == var1) continue;
                const double off = gradcheck(&c, op, 1, &x),
                             off2 = gradcheck(&c, op_and_square, 1, &x);
                ck_assert_msg(off < 1e-9 && off2 < 1e-9, "reduction %d, case %d: %g, %g", i, k, off,
                              off2);
            }
        }
    qp_ctx_release(&c);
}
END_TEST

Suite *suite_reduce(void)
{
    Suite *s = suite_create("reduce");
    TCase *t = tcase_create("reduce");
    tcase_add_test(t, gradients_match_differences);
    suite_add_tcase(s, t);
    return s;
}
