/* LoRA round a linear layer of your own.                Hu et al. 2021, arXiv:2106.09685

   A net of two layers is frozen; the task is a net whose matrices are those moved by matrices of
   rank 2. Adapters of rank 4 learn that from examples. The frozen weights keep every bit, and
   W + s B A in their place gives the same outputs without an adapter.

   Shows: frozen weights in your own memory, qp_lora on a fresh product, merging with general ops.

   Prints:
       512 weights are trained beside 1536 frozen ones; loss 0.2640, then 3.5e-14
       frozen weights: every bit as before
       merged: outputs up to 4.1 differ by 1e-06 at most
       learned
*/
#include <math.h>
#include <quipu.h>
#include <stdio.h>
#include <string.h>

enum { N = 512, IN = 24, HIDDEN = 48, OUT = 8, R = 4, STEPS = 800 };
static const double scale = 2; /* alpha / R */

/* ---- A linear of your own -------------------------------------------------------------------- */

typedef struct {
    qp_tensor *w;     /* (M, K): frozen, in the caller's memory */
    qp_tensor *a, *b; /* (R, K), (M, R): trained; NULL where no adapter is */
} linear;

static qp_tensor *forward(qp_ctx *c, const linear *l, qp_tensor *x)
{
    qp_tensor *y = qp_linear(c, x, l->w);
    return l->a ? qp_lora(c, y, x, l->a, l->b, scale, 0) : y; /* adds to y, which is fresh */
}

/* W + s B A, as a linear without an adapter. */
static linear merged(qp_ctx *c, const linear *l)
{
    qp_tensor *change = qp_matmul(c, l->b, l->a, false, false);
    return (linear){ .w = qp_add(c, l->w, qp_affine(c, change, scale, 0)) };
}

static qp_tensor *net(qp_ctx *c, const linear l[2], qp_tensor *x)
{
    return forward(c, &l[1], qp_gelu(c, forward(c, &l[0], x)));
}

/* ---- The task -------------------------------------------------------------------------------- */

/* l's matrix moved by one of rank 2: what the adapters have to find. */
static linear moved(qp_ctx *c, const linear *l)
{
    const int64_t m = l->w->shape[0], k = l->w->shape[1];
    qp_tensor *u = qp_normal(c, QP_F32, QP_SHAPE(m, 2), 0.3);
    qp_tensor *v = qp_normal(c, QP_F32, QP_SHAPE(2, k), 0.3);
    return (linear){ .w = qp_add(c, l->w, qp_matmul(c, u, v, false, false)) };
}

static void add_adapter(linear *l, qp_params *p, const char *a, const char *b)
{
    l->a = qp_params_add(p, a, QP_SHAPE(R, l->w->shape[1]));
    l->b = qp_params_add(p, b, QP_SHAPE(l->w->shape[0], R));
}

int main(void)
{
    qp_err err = { 0 };
    qp_ctx c;
    qp_must(qp_ctx_init(&c, qp_cpu_backend(), 0, &err), &err);
    c.rng = (qp_rng){ .key = 8 };

    /* What this scope makes, the whole program uses. */
    linear l[2] = { { .w = qp_normal(&c, QP_F32, QP_SHAPE(HIDDEN, IN), 1 / sqrt(IN)) },
                    { .w = qp_normal(&c, QP_F32, QP_SHAPE(OUT, HIDDEN), 1 / sqrt(HIDDEN)) } };
    const linear target[2] = { moved(&c, &l[0]), moved(&c, &l[1]) };
    qp_tensor *x = qp_normal(&c, QP_F32, QP_SHAPE(N, IN), 1), *y = net(&c, target, x);
    float before[2][HIDDEN * IN];
    for (int i = 0; i < 2; i++) memcpy(before[i], l[i].w->data, qp_value_bytes(l[i].w));

    qp_params *p = qp_params_new(QP_F32);
    add_adapter(&l[0], p, "a0", "b0");
    add_adapter(&l[1], p, "a1", "b1");
    qp_must(qp_params_seal(p, &err), &err);
    /* B stays zero, so that the adapted net begins as the frozen one. */
    for (int i = 0; i < 2; i++) qp_params_fill(p, l[i].a, qp_init_kaiming_uniform(l[i].a, 1), 1);

    qp_optim adamw;
    const qp_optim_settings settings = { .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8 };
    const qp_schedule cosine = { .kind = QP_SCHEDULE_COSINE, .total = STEPS };
    qp_must(qp_optim_init(&adamw, "adamw", &settings, p, &err), &err);
    double first = 0, last = 0;
    for (int step = 1; step <= STEPS; step++) {
        qp_scope scope;
        qp_scope_open(&c.arena, &scope);
        qp_tensor *loss = qp_mse(&c, net(&c, l, x), y, QP_MEAN);
        last = qp_item(loss);
        if (step == 1) first = last;
        qp_optim_minimize(&adamw, &c, loss, 0.02 * qp_schedule_factor(&cosine, step), 1, step);
        qp_scope_close(&c.arena, &scope);
    }

    bool frozen = true;
    for (int i = 0; i < 2; i++) frozen &= !memcmp(before[i], l[i].w->data, qp_value_bytes(l[i].w));
    c.recording = false;
    const linear one[2] = { merged(&c, &l[0]), merged(&c, &l[1]) };
    qp_tensor *apart = net(&c, l, x), *together = net(&c, one, x);
    const double off = qp_item(qp_max(&c, qp_abs(&c, qp_sub(&c, apart, together)), QP_ALL, false));
    const double size = qp_item(qp_max(&c, qp_abs(&c, apart), QP_ALL, false));

    printf("%lld weights are trained beside %d frozen ones; loss %.4f, then %.1e\n",
           (long long)p->n, HIDDEN * (IN + OUT), first, last);
    printf("frozen weights: %s\n", frozen ? "every bit as before" : "CHANGED");
    printf("merged: outputs up to %.1f differ by %.0e at most\n", size, off);
    /* Sums of 24 and 48 products in f32, whose last bit is 6e-8 of a value: some dozen roundings.
     */
    const bool ok = frozen && last < 0.01 * first && off < 2e-6 * size;
    puts(ok ? "learned" : "FAILED");
    qp_optim_release(&adamw);
    qp_params_free(p);
    qp_ctx_release(&c);
    return ok ? 0 : 1;
}
