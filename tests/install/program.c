/* The line 2x + 1, found. */
#include <quipu.h>
#include <stdio.h>

int main(void)
{
    enum { N = 8 };
    double x[N], y[N];
    for (int i = 0; i < N; i++) y[i] = 2 * (x[i] = i / 4. - 1) + 1;
    qp_err err = { 0 };
    qp_ctx c;
    qp_must(qp_ctx_init(&c, qp_cpu_backend(), 1 << 24, &err), &err);
    qp_params *p = qp_params_new(QP_F64);
    qp_tensor *w = qp_params_add(p, "w", QP_SHAPE(1, 1)), *b = qp_params_add(p, "b", QP_SHAPE(1));
    qp_must(qp_params_seal(p, &err), &err);
    qp_optim adamw;
    const qp_optim_settings settings = { 0.9, 0.99, 1e-8, 0 };
    qp_must(qp_optim_init(&adamw, "adamw", &settings, p, &err), &err);
    for (int step = 1; step <= 500; step++) {
        qp_scope scope;
        qp_scope_open(&c.arena, &scope);
        qp_tensor *in = qp_wrap_data(&c, QP_F64, QP_SHAPE(N, 1), x);
        qp_tensor *wanted = qp_wrap_data(&c, QP_F64, QP_SHAPE(N, 1), y);
        qp_tensor *loss = qp_mse(&c, qp_add(&c, qp_linear(&c, in, w), b), wanted, QP_MEAN);
        qp_optim_minimize(&adamw, &c, loss, 0.05, 0, step);
        qp_scope_close(&c.arena, &scope);
    }
    printf("%.3f x + %.3f\n", qp_item(w), qp_item(b));
    const double off_w = qp_item(w) - 2, off_b = qp_item(b) - 1;
    qp_optim_release(&adamw);
    qp_params_free(p);
    qp_ctx_release(&c);
    return off_w * off_w + off_b * off_b < 1e-6 ? 0 : 1;
}
