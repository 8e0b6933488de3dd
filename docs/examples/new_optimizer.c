/* An optimiser of your own: Lion, which steps by the sign of a momentum.

       update = sign(beta1 m + (1 - beta1) g),   w -= lr (update + decay w),
       m      = beta2 m + (1 - beta2) g          Chen et al. 2023, arXiv:2302.06675

   It keeps one state array where AdamW keeps two. The library gives an optimiser memory for its
   state, and ranges of the flat store with their rate and decay; from then on it is one of ours:
   schedules, clipping, saving.

   Shows: a qp_optim_type from outside, used beside the library's own.

   Prints:
       adamw  state arrays: 2  mean squared error on new points: 0.0004
       lion   state arrays: 1  mean squared error on new points: 0.0011
       lion learns
*/
#include <math.h>
#include <quipu.h>
#include <stdio.h>

/* ---- The optimiser --------------------------------------------------------------------------- */

static void lion_update(qp_optim *o, qp_ctx *c, const qp_optim_range *r)
{
    (void)c; /* plain loops need no kernels */
    float *w = o->params->master, *m = o->state[0];
    const float *grad = o->params->grad;
    const float beta1 = (float)o->s.beta1, beta2 = (float)o->s.beta2;
    const float lr = (float)r->lr, decay = (float)r->weight_decay;
    for (int64_t i = r->lo; i < r->hi; i++) {
        const float g = (float)r->grad_scale * grad[i];
        const float direction = beta1 * m[i] + (1 - beta1) * g;
        w[i] -= lr * ((float)((direction > 0) - (direction < 0)) + decay * w[i]);
        m[i] = beta2 * m[i] + (1 - beta2) * g;
    }
}

static const qp_optim_type lion = { "lion", 1, { "m" }, lion_update, .writes_values = false };

/* ---- A task: two waves multiplied ------------------------------------------------------------ */

enum { N = 512, WIDTH = 32, STEPS = 1000 };
typedef struct {
    qp_params *params;
    qp_tensor *w1, *b1, *w2, *b2, *w3, *b3;
} net;

static void net_init(net *m)
{
    qp_err err = { 0 };
    qp_params *p = m->params = qp_params_new(QP_F32);
    m->w1 = qp_params_add(p, "w1", QP_SHAPE(WIDTH, 2));
    m->b1 = qp_params_add(p, "b1", QP_SHAPE(WIDTH));
    m->w2 = qp_params_add(p, "w2", QP_SHAPE(WIDTH, WIDTH));
    m->b2 = qp_params_add(p, "b2", QP_SHAPE(WIDTH));
    m->w3 = qp_params_add(p, "w3", QP_SHAPE(1, WIDTH));
    m->b3 = qp_params_add(p, "b3", QP_SHAPE(1));
    qp_must(qp_params_seal(p, &err), &err);
    qp_tensor *const w[] = { m->w1, m->w2, m->w3 };
    for (int i = 0; i < 3; i++) qp_params_fill(p, w[i], qp_init_kaiming_normal(w[i], 1), 1);
}

/* x (N, 2), uniform in a square, and y = sin(3 x0) cos(2 x1). */
static qp_tensor *points(qp_ctx *c, qp_tensor **y)
{
    qp_tensor *x = qp_uniform(c, QP_F32, QP_SHAPE(N, 2), -1.5, 1.5);
    qp_tensor *a = qp_slice(c, x, 1, 0, 1), *b = qp_slice(c, x, 1, 1, 2);
    *y = qp_mul(c, qp_sin(c, qp_affine(c, a, 3, 0)), qp_cos(c, qp_affine(c, b, 2, 0)));
    return x;
}

static qp_tensor *loss(qp_ctx *c, const net *m, qp_tensor *x, qp_tensor *y)
{
    qp_tensor *h = qp_tanh(c, qp_add(c, qp_linear(c, x, m->w1), m->b1));
    h = qp_tanh(c, qp_add(c, qp_linear(c, h, m->w2), m->b2));
    return qp_mse(c, qp_add(c, qp_linear(c, h, m->w3), m->b3), y, QP_MEAN);
}

/* The error on new points after STEPS steps of an optimiser. */
static double trained(qp_ctx *c, const qp_optim_type *type, qp_optim_settings s, double lr)
{
    qp_err err = { 0 };
    qp_optim o;
    net m;
    net_init(&m);
    qp_must(qp_optim_init_type(&o, type, &s, m.params, &err), &err);
    const qp_schedule cosine = { .kind = QP_SCHEDULE_COSINE, .warmup = 20, .total = STEPS };
    qp_scope all;
    qp_scope_open(&c->arena, &all);
    c->rng = (qp_rng){ .key = 5 };
    qp_tensor *y, *new_y, *x = points(c, &y), *new_x = points(c, &new_y);
    for (int step = 1; step <= STEPS; step++) {
        qp_scope scope;
        qp_scope_open(&c->arena, &scope);
        qp_tensor *l = loss(c, &m, x, y);
        qp_optim_minimize(&o, c, l, lr * qp_schedule_factor(&cosine, step), 1, step);
        qp_scope_close(&c->arena, &scope);
    }
    c->recording = false; /* only the value is wanted */
    const double error = qp_item(loss(c, &m, new_x, new_y));
    c->recording = true;
    printf("%-5s  state arrays: %d  mean squared error on new points: %.4f\n", type->name,
           type->states, error);
    qp_scope_close(&c->arena, &all);
    qp_optim_release(&o);
    qp_params_free(m.params);
    return error;
}

int main(void)
{
    qp_err err = { 0 };
    qp_ctx c;
    qp_must(qp_ctx_init(&c, qp_cpu_backend(), 0, &err), &err);
    trained(&c, &qp_adamw, (qp_optim_settings){ 0.9, 0.99, 1e-8, .weight_decay = 0.01 }, 1e-2);
    /* The paper's advice: a rate some times smaller, a decay as many times larger. */
    const double error =
        trained(&c, &lion, (qp_optim_settings){ 0.9, 0.99, .weight_decay = 0.03 }, 3e-3);
    const bool ok = error < 0.005; /* the task's own spread is 0.25 */
    puts(ok ? "lion learns" : "FAILED");
    qp_ctx_release(&c);
    return ok ? 0 : 1;
}
