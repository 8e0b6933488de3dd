/* An op of your own: snake, a periodic activation with a slope to learn for each column.

       y = x + sin^2(a x) / a                       Ziyin, Hartwig & Ueda 2020, arXiv:2006.08195
       dy/dx = 1 + sin(2 a x)
       dy/da = (x sin(2 a x) - sin^2(a x) / a) / a

   A net of snakes carries a wave on where no data are; one of ReLUs goes on in straight lines.

   Shows: what an op is (a qp_op, a forward, a backward), qp_gradcheck, and the op in use.

   Prints:
       snake's gradient is within 5e-13 of difference quotients
       step  250  loss 6.86e-04
       step  500  loss 1.20e-05
       step  750  loss 1.11e-06
       step 1000  loss 2.71e-07
       mean squared error on 3 .. 5, where no data were: 4e-05: the wave goes on
*/
#include <math.h>
#include <quipu.h>
#include <stdio.h>

/* ---- The op ---------------------------------------------------------------------------------- */

enum { X, A }; /* its inputs: x (.., D) and a (D) */

/* Writes a gradient as every backward must: over what is there when beta is 0, which may be
   anything, and added to it when another op wrote before. */
static void put(const qp_grad_part *g, int64_t i, double value)
{
    double *to = g->to;
    to[i] = g->beta != 0 ? to[i] + value : value;
}

/* f64 alone, for plainness. A part that nobody wants has nowhere to write. */
static void snake_backward(qp_ctx *c, qp_node *node)
{
    const double *x = node->in[X]->data, *a = node->in[A]->data, *dy = node->out->grad;
    const int64_t n = qp_numel(node->out), d = qp_cols(node->out);

    qp_grad_part dx = qp_grad_open(c, node->in[X], node->out);
    for (int64_t i = 0; dx.to && i < n; i++) put(&dx, i, dy[i] * (1 + sin(2 * a[i % d] * x[i])));
    qp_grad_close(c, &dx);

    /* a was broadcast over the rows: write in y's shape, and closing sums the rows. */
    qp_grad_part da = qp_grad_open(c, node->in[A], node->out);
    for (int64_t i = 0; da.to && i < n; i++) {
        const double k = a[i % d], s = sin(k * x[i]);
        put(&da, i, dy[i] * (x[i] * sin(2 * k * x[i]) - s * s / k) / k);
    }
    qp_grad_close(c, &da);
}

static const qp_op snake_op = { "snake", snake_backward };

static qp_tensor *snake(qp_ctx *c, qp_tensor *x, qp_tensor *a)
{
    QP_ASSERT(
        x->storage == QP_F64 && a->storage == QP_F64 && a->ndim == 1 && qp_cols(a) == qp_cols(x),
        "snake: x %s, a %s: f64, and a value of a for each column of x", qp_str(x), qp_str(a));
    qp_tensor *y = qp_like(c, x);
    qp_record(c, sizeof(qp_node), &snake_op, y, QP_IN([X] = x, [A] = a));
    const double *xs = x->data, *as = a->data;
    double *ys = y->data;
    for (int64_t i = 0; i < qp_numel(y); i++) {
        const double k = as[i % qp_cols(x)], s = sin(k * xs[i]);
        ys[i] = xs[i] + s * s / k;
    }
    return y;
}

/* ---- Its gradient against differences -------------------------------------------------------- */

static qp_tensor *checked(qp_ctx *c, qp_tensor **in, void *arg)
{
    (void)arg;
    return snake(c, in[X], in[A]);
}

static double check_gradient(qp_ctx *c)
{
    qp_err err = { 0 };
    qp_gradcheck_report report;
    qp_tensor *in[] = { [X] = qp_normal(c, QP_F64, QP_SHAPE(2, 3, 5), 1),
                        [A] = qp_uniform(c, QP_F64, QP_SHAPE(5), 0.5, 2) };
    qp_want_grad(in[X]);
    qp_want_grad(in[A]);
    qp_must(qp_gradcheck(c, checked, NULL, 2, in, 1e-7, &report, &err), &err);
    return report.worst;
}

/* ---- A net of it ----------------------------------------------------------------------------- */

enum { N = 200, WIDTH = 32, STEPS = 1000 };
typedef struct {
    qp_params *params;
    qp_tensor *w1, *b1, *a, *w2, *b2;
} net;

static double wave(double x) { return sin(3 * x) + 0.3 * x; }

/* x (N, 1), evenly from low to high, and the wave there. */
static qp_tensor *points(qp_ctx *c, double low, double high, qp_tensor **y)
{
    double at[N], value[N];
    for (int i = 0; i < N; i++) value[i] = wave(at[i] = low + (high - low) * i / (N - 1));
    *y = qp_values(c, QP_F64, QP_SHAPE(N, 1), value);
    return qp_values(c, QP_F64, QP_SHAPE(N, 1), at);
}

static void net_init(net *m)
{
    qp_err err = { 0 };
    qp_params *p = m->params = qp_params_new(QP_F64);
    m->w1 = qp_params_add(p, "w1", QP_SHAPE(WIDTH, 1));
    m->b1 = qp_params_add(p, "b1", QP_SHAPE(WIDTH));
    m->a = qp_params_add(p, "a", QP_SHAPE(WIDTH));
    m->w2 = qp_params_add(p, "w2", QP_SHAPE(1, WIDTH));
    m->b2 = qp_params_add(p, "b2", QP_SHAPE(1));
    qp_must(qp_params_seal(p, &err), &err);
    qp_params_fill(p, m->w1, qp_init_kaiming_normal(m->w1, 1), 1);
    qp_params_fill(p, m->w2, qp_init_kaiming_normal(m->w2, 1), 1);
    qp_params_fill(p, m->a, qp_init_constant(1), 1);
}

static qp_tensor *loss(qp_ctx *c, const net *m, qp_tensor *x, qp_tensor *y)
{
    qp_tensor *h = snake(c, qp_add(c, qp_linear(c, x, m->w1), m->b1), m->a);
    return qp_mse(c, qp_add(c, qp_linear(c, h, m->w2), m->b2), y, QP_MEAN);
}

int main(void)
{
    qp_err err = { 0 };
    qp_ctx c;
    qp_must(qp_ctx_init(&c, qp_cpu_backend(), 0, &err), &err);
    printf("snake's gradient is within %.0e of difference quotients\n", check_gradient(&c));

    net m;
    net_init(&m);
    qp_optim adamw;
    const qp_optim_settings settings = {
        .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .weight_decay = 0.1
    };
    const qp_schedule cosine = { .kind = QP_SCHEDULE_COSINE, .total = STEPS };
    qp_must(qp_optim_init(&adamw, "adamw", &settings, m.params, &err), &err);

    qp_tensor *y, *beyond_y;
    qp_tensor *x = points(&c, -3, 3, &y), *beyond_x = points(&c, 3, 5, &beyond_y);
    for (int step = 1; step <= STEPS; step++) {
        qp_scope scope;
        qp_scope_open(&c.arena, &scope);
        qp_tensor *l = loss(&c, &m, x, y);
        qp_optim_minimize(&adamw, &c, l, 0.02 * qp_schedule_factor(&cosine, step), 1, step);
        if (step % 250 == 0) printf("step %4d  loss %.2e\n", step, qp_item(l));
        qp_scope_close(&c.arena, &scope);
    }

    c.recording = false; /* only the value is wanted */
    const double beyond = qp_item(loss(&c, &m, beyond_x, beyond_y));
    const bool ok = beyond < 0.01;
    printf("mean squared error on 3 .. 5, where no data were: %.0e: %s\n", beyond,
           ok ? "the wave goes on" : "FAILED");
    qp_optim_release(&adamw);
    qp_params_free(m.params);
    qp_ctx_release(&c);
    return ok ? 0 : 1;
}
