#include "autograd/general.h"
#include "tests/suites.h"
#include "tests/support/rows.h"
#include <math.h>
#include <string.h>

static const int32_t targets[] = { 2, -100, 1, 0, 3, -1, 2, 1 };
static const double half = 0.5; /* exact */
static qp_tensor *mean(qp_ctx *c, qp_tensor **in)
{
    return qp_cross_entropy(c, in[0], targets, 0.1, QP_MEAN);
}
static qp_tensor *total(qp_ctx *c, qp_tensor **in)
{
    return qp_cross_entropy(c, in[0], targets, 0, QP_SUM);
}
static qp_tensor *none(qp_ctx *c, qp_tensor **in)
{
    return qp_cross_entropy(c, in[0], targets, half, QP_NONE);
}
static qp_tensor *twice(qp_ctx *c, qp_tensor **in) { return qp_add(c, mean(c, in), total(c, in)); }
static qp_tensor *row_of_3(qp_ctx *c, qp_tensor **in)
{
    static int32_t threes[150];
    for (int i = 0; i < 150; i++) threes[i] = 3;
    return qp_cross_entropy(c, in[0], threes, 0.1, QP_NONE);
}

static const double z_of[] = { 1, 2, 4, -3, 0.5, -0.25, 8, 1, 100, -100, 3, 99 };
typedef struct {
    double smoothing;
    qp_how how;
    double loss[3], dz[12]; /* dy 1, and 2, 3, -1 for QP_NONE */
} pytorch;
static const pytorch cases[] = {
    { 0,
      QP_MEAN,
      { 100.2419384262037 },
      { 0.020988883355416318, 0.057053700224674687, -0.078427008388306574, 0.00038442480821556865,
        0, 0, 0, 0, 0.36552928931500245, -0.5, 2.7312247382503464e-43, 0.13447071068499755 } },
    { 0,
      QP_NONE,
      { 0.17061516488916714, 0, 200.31326168751824 },
      { 0.083955533421665271, 0.22821480089869875, -0.3137080335532263, 0.0015376992328622746, 0, 0,
        0, 0, -0.7310585786300049, 1, -5.4624494765006929e-43, -0.2689414213699951 } },
    { 0.1,
      QP_MEAN,
      { 94.116938426203703 },
      { 0.0084888833554163171, 0.044553700224674683, -0.040927008388306596, -0.012115575191784432,
        0, 0, 0, 0, 0.35302928931500244, -0.4625, -0.0125, 0.12197071068499755 } },
    { 0.1,
      QP_SUM,
      { 188.23387685240741 },
      { 0.016977766710832634, 0.089107400449349367, -0.081854016776613192, -0.024231150383568864, 0,
        0, 0, 0, 0.70605857863000487, -0.925, -0.025, 0.24394142136999511 } },
    { 1,
      QP_NONE,
      { 3.1706151648891669, 0, 74.813261687518221 },
      { -0.41604446657833472, -0.27178519910130128, 1.1862919664467737, -0.49846230076713771, 0, 0,
        0, 0, -0.4810585786300049, 0.25, 0.25, -0.018941421369995104 } },
};

START_TEST(loss_and_gradient_are_pytorchs)
{
    static const double bound[] = { 1e-14, 1e-6, 1. / 200 }, dy_of[] = { 2, 3, -1 };
    for (int b = 0; b < TEST_BUILDS; b++) {
        qp_storage type;
        qp_ctx c;
        if (!test_build(b, &type)) continue;
        const qp_storage sums = qp_sum_storage(type);
        test_ctx(&c, NULL);
        const pytorch *p = &cases[_i];
        qp_tensor *z = test_leaf(&c, type, 2, (int64_t[]){ 3, 4 }, 1);
        for (int i = 0; i < 12; i++) test_set(z->data, type, i, z_of[i]);
        qp_tensor *y = qp_cross_entropy(&c, z, targets, p->smoothing, p->how);
        const bool each = p->how == QP_NONE;
        ck_assert_int_eq(y->storage, sums); /* also where the logits are bf16 */
        ck_assert_int_eq(y->ndim, each);
        for (int i = 0; i < (each ? 3 : 1); i++)
            ck_assert_double_le(fabs(test_get(y->data, sums, i) - p->loss[i]),
                                bound[sums] * fabs(p->loss[i]));
        qp_tensor *dy = test_leaf(&c, sums, 1, (int64_t[]){ 3 }, 1);
        for (int i = 0; i < 3; i++) test_set(dy->data, sums, i, each ? dy_of[i] : 1);
        qp_backward_from(&c, y, dy->data);
        ck_assert_double_lt(test_difference(z->grad, type, p->dz, QP_F64, 12), bound[type]);
        for (int i = 4; i < 8; i++) ck_assert_double_eq(test_get(z->grad, type, i), 0);
        qp_ctx_release(&c);
    }
}
END_TEST

START_TEST(gradient_matches_differences)
{
    static const struct {
        int ndim;
        int64_t shape[3];
    } at[] = { { 1, { 5 } },     { 2, { 1, 4 } },    { 2, { 8, 7 } },
               { 2, { 3, 20 } }, { 3, { 2, 4, 4 } }, { 2, { 0, 4 } } };
    static const test_op ops[] = { total, none, mean, twice };
    qp_ctx c;
    test_ctx(&c, NULL);
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
        qp_tensor *in[] = { test_leaf(&c, QP_F64, at[i].ndim, at[i].shape, 1) };
        for (size_t k = 0; k < (qp_numel(in[0]) ? 4 : 2); k++) /* a mean of nothing is NaN */
            ck_assert_double_lt(gradcheck(&c, ops[k], 1, in), 1e-9);
    }
    qp_ctx_release(&c);
}
END_TEST

START_TEST(a_loss_for_each_row_has_the_leading_shape)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[] = { test_leaf(&c, QP_F32, 3, (int64_t[]){ 2, 3, 4 }, 1) };
    const qp_tensor *y = none(&c, in);
    ck_assert(y->ndim == 2 && y->shape[0] == 2 && y->shape[1] == 3);
    in[0] = test_leaf(&c, QP_F32, 1, (int64_t[]){ 4 }, 1);
    ck_assert_int_eq(none(&c, in)->ndim, 0);
    c.tape = NULL;
    qp_ctx_release(&c);
}
END_TEST

/* The mean of nothing is NaN, its gradient zero; the sum is 0. */
START_TEST(ignored_alone_give_no_gradient)
{
    static const int32_t ignored[] = { -1, -100 };
    for (int how = QP_MEAN; how <= QP_SUM; how++) {
        qp_ctx c;
        test_ctx(&c, NULL);
        qp_tensor *z = test_leaf(&c, QP_F32, 2, (int64_t[]){ 2, 3 }, 1);
        qp_tensor *y = qp_cross_entropy(&c, z, ignored, 0.1, (qp_how)how);
        const float loss = *(float *)y->data;
        ck_assert(how == QP_MEAN ? isnan(loss) : loss == 0);
        qp_backward(&c, y, 1);
        for (int i = 0; i < 6; i++) ck_assert_double_eq(test_get(z->grad, QP_F32, i), 0);
        qp_ctx_release(&c);
    }
}
END_TEST

START_TEST(masked_and_huge_logits_are_pytorchs)
{
    static const float i = INFINITY, n = NAN;
    /* logits; loss of target 1, and of target 0 with smoothing 0.1 */
    const float at[][4] = { { -i, -i, n, n },
                            { i, 1, n, n },
                            { n, 1, n, n },
                            { -i, 1, 0, i },
                            { 1e4f, -1e4f, 2e4f, 1000 } };
    static const int32_t one = 1, zero = 0;
    qp_ctx c;
    test_ctx(&c, NULL);
    for (size_t k = 0; k < sizeof at / sizeof at[0]; k++) {
        qp_tensor *z = test_leaf(&c, QP_F32, 1, (int64_t[]){ 2 }, 1);
        memcpy(z->data, at[k], 2 * sizeof(float));
        const float plain = *(float *)qp_cross_entropy(&c, z, &one, 0, QP_MEAN)->data,
                    smooth = *(float *)qp_cross_entropy(&c, z, &zero, 0.1, QP_MEAN)->data;
        ck_assert(isnan(at[k][2]) ? isnan(plain) : plain == at[k][2]);
        ck_assert(isnan(at[k][3]) ? isnan(smooth) : smooth == at[k][3]);
    }
    c.tape = NULL;
    qp_ctx_release(&c);
}
END_TEST

START_TEST(bits_do_not_depend_on_threads_or_neighbours) { test_row_bits(row_of_3, 150, 301, 0); }
END_TEST

START_TEST(wrong_input_exits_70)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *z = test_leaf(&c, QP_F32, _i == 2 ? 0 : 2, (int64_t[]){ 3, _i ? 4 : 2 }, 1);
    qp_cross_entropy(&c, z, targets, _i == 1 ? 1.5 : 0, QP_MEAN); /* 0: target 2 of 2 */
}
END_TEST

Suite *suite_cross_entropy(void)
{
    Suite *s = suite_create("cross_entropy");
    TCase *t = tcase_create("cross_entropy");
    tcase_add_loop_test(t, loss_and_gradient_are_pytorchs, 0, sizeof cases / sizeof cases[0]);
    tcase_add_test(t, gradient_matches_differences);
    tcase_add_test(t, a_loss_for_each_row_has_the_leading_shape);
    tcase_add_test(t, ignored_alone_give_no_gradient);
    tcase_add_test(t, masked_and_huge_logits_are_pytorchs);
    tcase_add_test(t, bits_do_not_depend_on_threads_or_neighbours);
    tcase_add_loop_exit_test(t, wrong_input_exits_70, 70, 0, 3);
    suite_add_tcase(s, t);
    return s;
}
