#include "autograd/cpu/quant.h"
#include "autograd/general.h"
#include "base/rng.h"
#include "optim/optim.h"
#include "tests/model/tiny.h"
#include "tests/suites.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const qp_optim_settings settings = { 0.9, 0.95, 1e-8, 0.1 };

static qp_params *two_parameters(qp_storage compute)
{
    qp_err err = { 0 };
    qp_params *p = qp_params_new(compute);
    qp_params_add(p, "norm", 1, (int64_t[]){ 7 });
    qp_params_add(p, "matrix", 2, (int64_t[]){ 37, 129 });
    ck_assert_msg(!qp_params_seal(p, &err), "%s", err.msg);
    for (int64_t i = 0; i < p->count; i++) {
        int64_t n = qp_numel(p->item[i].t);
        double *v = malloc((size_t)n * sizeof *v);
        for (int64_t j = 0; j < n; j++) v[j] = qp_rng_normal(1, 0, (uint64_t)(p->item[i].lo + j));
        qp_params_set(p, &p->item[i], QP_F64, v);
        free(v);
    }
    qp_params_publish(p);
    return p;
}

static double get(const qp_params *p, const void *array, int64_t i)
{
    return p->compute == QP_F64 ? ((const double *)array)[i] : (double)((const float *)array)[i];
}

static void put_gradient(qp_params *p, int64_t i, double g)
{
    if (p->compute == QP_F64)
        ((double *)p->grad)[i] = g;
    else
        ((float *)p->grad)[i] = (float)g;
}

/* Torch's rule, element by element in f64. */
static void reference(double *p, double *m, double *v, double g, double lr, double decay, int64_t k)
{
    *p *= 1 - lr * decay;
    *m = settings.beta1 * *m + (1 - settings.beta1) * g;
    *v = settings.beta2 * *v + (1 - settings.beta2) * g * g;
    *p -= lr * (*m / (1 - pow(settings.beta1, (double)k))) /
          (sqrt(*v / (1 - pow(settings.beta2, (double)k))) + settings.eps);
}

START_TEST(ten_steps_of_adamw_follow_its_formula)
{
    static const struct {
        qp_storage compute;
        double tolerance; /* ten roundings of values near 4; the moments' relative errors are as
                             small */
    } k[] = { { QP_F64, 1e-13 }, { QP_F32, 5e-6 }, { QP_BF16, 5e-6 } };
    qp_ctx c;
    qp_err err = { 0 };
    qp_optim o;
    tiny_ctx(&c);
    qp_params *p = two_parameters(k[_i].compute);
    ck_assert_msg(!qp_optim_init(&o, "adamw", &settings, p, &err), "%s", err.msg);
    double *want = calloc((size_t)p->n * 3, sizeof *want);
    for (int64_t i = 0; i < p->n; i++) want[3 * i] = get(p, p->master, i);
    for (int64_t step = 1; step <= 10; step++) {
        double lr = 0.01 / (double)step;
        for (int64_t i = 0; i < p->n; i++) {
            put_gradient(p, i, qp_rng_normal(2, (uint64_t)step, (uint64_t)i));
            bool decayed = i < 37 * 129; /* matrices come first */
            reference(&want[3 * i], &want[3 * i + 1], &want[3 * i + 2], 0.5 * get(p, p->grad, i),
                      lr, decayed ? settings.weight_decay : 0, step);
        }
        qp_optim_step(&o, &c, lr, 0.5, step);
    }
    for (int64_t i = 0; i < p->n; i++) {
        ck_assert_double_eq_tol(get(p, p->master, i), want[3 * i], k[_i].tolerance);
        ck_assert_double_eq_tol(get(p, o.state[0], i), want[3 * i + 1], k[_i].tolerance);
        ck_assert_double_eq_tol(get(p, o.state[1], i), want[3 * i + 2], k[_i].tolerance);
    }
    free(want);
    qp_optim_release(&o);
    qp_params_free(p);
    qp_ctx_release(&c);
}
END_TEST

/* What the model reads is the master, rounded to nearest even. */
START_TEST(the_bf16_copy_follows_the_master)
{
    qp_ctx c;
    qp_err err = { 0 };
    qp_optim o;
    tiny_ctx(&c);
    qp_params *p = two_parameters(QP_BF16);
    ck_assert_msg(!qp_optim_init(&o, "adamw", &settings, p, &err), "%s", err.msg);
    for (int64_t i = 0; i < p->n; i++) put_gradient(p, i, 1);
    qp_optim_step(&o, &c, 0.01, 1, 1);
    for (int64_t i = 0; i < p->n; i++) {
        uint32_t bits;
        memcpy(&bits, (const float *)p->master + i, sizeof bits);
        bits += 0x7fff + (bits >> 16 & 1);
        ck_assert_uint_eq(((const uint16_t *)p->value)[i], bits >> 16);
    }
    qp_optim_release(&o);
    qp_params_free(p);
    qp_ctx_release(&c);
}
END_TEST

/* A rank updates its range; the ranges together are the whole update, bit for bit. */
START_TEST(ranges_add_up_to_one_step)
{
    qp_ctx c;
    qp_err err = { 0 };
    qp_optim o[2];
    qp_params *p[2];
    tiny_ctx(&c);
    for (int k = 0; k < 2; k++) {
        p[k] = two_parameters(QP_F32);
        ck_assert_msg(!qp_optim_init(&o[k], "adamw", &settings, p[k], &err), "%s", err.msg);
        for (int64_t i = 0; i < p[k]->n; i++)
            put_gradient(p[k], i, qp_rng_normal(3, 0, (uint64_t)i));
    }
    int64_t n = p[0]->n, cut[] = { 0, 64, 1000, n - 3, n };
    qp_optim_step(&o[0], &c, 0.01, 1, 1);
    for (int i = 0; i < 4; i++) qp_optim_step_range(&o[1], &c, cut[i], cut[i + 1], 0.01, 1, 1);
    ck_assert_mem_eq(p[0]->master, p[1]->master, (size_t)n * sizeof(float));
    for (int k = 0; k < 2; k++) {
        qp_optim_release(&o[k]);
        qp_params_free(p[k]);
    }
    qp_ctx_release(&c);
}
END_TEST

/* Gradient descent with decoupled decay, as a user would write it. */
static void descend(qp_optim *o, qp_ctx *c, const qp_optim_range *r)
{
    (void)c;
    float *w = o->params->master, *seen = o->state[0];
    const float *g = o->params->grad;
    for (int64_t i = r->lo; i < r->hi; i++) {
        w[i] -= (float)(r->lr * (r->grad_scale * (double)g[i] + r->weight_decay * (double)w[i]));
        seen[i] += 1;
    }
}

/* Groups, decay, states and the bf16 copy are the library's business, not the new type's. */
START_TEST(an_optimizer_from_outside_is_used_like_ours)
{
    static const qp_optim_type descent = { "descent", 1, { "seen" }, descend, false };
    qp_ctx c;
    qp_err err = { 0 };
    qp_optim o;
    tiny_ctx(&c);
    qp_params *p = two_parameters(QP_BF16);
    ck_assert_msg(!qp_optim_init_type(&o, &descent, &settings, p, &err), "%s", err.msg);
    double *before = malloc((size_t)p->n * sizeof *before);
    for (int64_t i = 0; i < p->n; i++) {
        before[i] = get(p, p->master, i);
        put_gradient(p, i, (double)(i % 3));
    }
    qp_optim_step_range(&o, &c, 0, 30, 0.01, 0.5, 1);
    qp_optim_step_range(&o, &c, 30, p->n, 0.01, 0.5, 1);
    for (int64_t i = 0; i < p->n; i++) {
        const double decay = i < 37 * 129 ? settings.weight_decay : 0; /* matrices come first */
        const double want = before[i] - 0.01 * (0.5 * (double)(i % 3) + decay * before[i]);
        ck_assert_double_eq_tol(get(p, p->master, i), want, 3e-7); /* a rounding of values near 4 */
        ck_assert_double_eq(get(p, o.state[0], i), 1);
        const double value = (double)qp_from_bf16(((const uint16_t *)p->value)[i]);
        ck_assert_double_eq_tol(value, want, fabs(want) / 255 + 3e-7); /* half of bf16's last bit */
    }
    free(before);
    qp_optim_release(&o);
    qp_params_free(p);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(an_unknown_optimizer_is_refused_with_the_known_ones)
{
    qp_err err = { 0 };
    qp_optim o;
    qp_params *p = two_parameters(QP_F32);
    ck_assert_int_eq(qp_optim_init(&o, "adamv", &settings, p, &err), QP_USAGE);
    ck_assert_str_eq(err.msg, "optimizer adamv: unknown; known: adamw");
    qp_params_free(p);
}
END_TEST

START_TEST(clipping_is_torchs)
{
    qp_ctx c;
    tiny_ctx(&c);
    qp_params *p = two_parameters(QP_F32);
    double sum = 0;
    for (int64_t i = 0; i < p->n; i++) {
        put_gradient(p, i, qp_rng_normal(4, 0, (uint64_t)i));
        sum += pow(get(p, p->grad, i), 2);
    }
    ck_assert_double_eq_tol(qp_grad_norm(&c, p) / sqrt(sum), 1, 1e-12);
    ck_assert_double_eq(qp_clip_scale(2, 1), 1 / (2 + 1e-6));
    ck_assert_double_eq(qp_clip_scale(0.5, 1), 1);
    ck_assert_double_eq(qp_clip_scale(100, 0), 1);
    ck_assert(isnan(qp_clip_scale(NAN, 1)));
    ck_assert_double_eq(qp_clip_scale(INFINITY, 1), 0);
    qp_params_free(p);
    qp_ctx_release(&c);
}
END_TEST

/* What minimize does is what its parts do, clipped or not; and a NaN leaves the weights alone. */
START_TEST(minimize_is_its_parts)
{
    qp_err err = { 0 };
    qp_ctx c;
    qp_optim a, b;
    tiny_ctx(&c);
    qp_params *p = two_parameters(QP_F32), *q = two_parameters(QP_F32);
    const size_t bytes = (size_t)p->n * sizeof(float);
    ck_assert(!qp_optim_init(&a, "adamw", &settings, p, &err));
    ck_assert(!qp_optim_init(&b, "adamw", &settings, q, &err));
    for (int64_t step = 1; step <= 3; step++) {
        const double max_norm = step == 2 ? 0 : 0.5;
        qp_tensor *w = qp_params_find(p, "matrix")->t, *v = qp_params_find(q, "matrix")->t;
        const double norm = qp_optim_minimize(&a, &c, qp_sum(&c, qp_square(&c, w), QP_ALL, false),
                                              0.1, max_norm, step);
        qp_params_begin_step(q);
        qp_backward(&c, qp_sum(&c, qp_square(&c, v), QP_ALL, false), 1);
        qp_params_end_grads(q);
        ck_assert_double_eq(norm, qp_grad_norm(&c, q));
        ck_assert_double_gt(norm, 1);
        qp_optim_step(&b, &c, 0.1, qp_clip_scale(norm, max_norm), step);
        ck_assert_mem_eq(p->master, q->master, bytes);
    }
    ((float *)p->master)[0] = ((float *)q->master)[0] = NAN;
    qp_tensor *w = qp_params_find(p, "matrix")->t;
    ck_assert(
        isnan(qp_optim_minimize(&a, &c, qp_sum(&c, qp_square(&c, w), QP_ALL, false), 1, 1, 4)));
    ck_assert_mem_eq(p->master, q->master, bytes);
    qp_optim_release(&a);
    qp_optim_release(&b);
    qp_params_free(p);
    qp_params_free(q);
    qp_ctx_release(&c);
}
END_TEST

Suite *suite_optim(void)
{
    Suite *s = suite_create("optim");
    TCase *t = tcase_create("steps");
    tcase_add_loop_test(t, ten_steps_of_adamw_follow_its_formula, 0, 3);
    tcase_add_test(t, the_bf16_copy_follows_the_master);
    tcase_add_test(t, ranges_add_up_to_one_step);
    tcase_add_test(t, an_optimizer_from_outside_is_used_like_ours);
    tcase_add_test(t, an_unknown_optimizer_is_refused_with_the_known_ones);
    tcase_add_test(t, clipping_is_torchs);
    tcase_add_test(t, minimize_is_its_parts);
    suite_add_tcase(s, t);
    return s;
}
