/* Linear regression by gradient descent, held against the closed form.

   y = 3 x0 - 2 x1 + x2 / 2 + 1 + noise. The mean squared error has one minimum, which the normal
   equations give directly; the tape and AdamW have to walk to the same place.

   Shows: parameters, the training step, an optimiser with a schedule.

   Prints:
       step 100  loss 0.011180
       step 200  loss 0.010542
       step 300  loss 0.010542
       step 400  loss 0.010542
       step 500  loss 0.010542
       w +2.996824997  closed form +2.996824997
       w -2.001692012  closed form -2.001692012
       w +0.492854597  closed form +0.492854597
       b +0.999580214  closed form +0.999580214
       largest difference 1.9e-10: the same
*/
#include <math.h>
#include <quipu.h>
#include <stdio.h>

enum { N = 200, D = 3, STEPS = 500 };

static void make_data(double *x, double *y)
{
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < D; j++) x[i * D + j] = qp_rng_normal(1, 0, (uint64_t)(i * D + j));
        y[i] = 3 * x[i * D] - 2 * x[i * D + 1] + 0.5 * x[i * D + 2] + 1;
        y[i] += 0.1 * qp_rng_normal(1, 1, (uint64_t)i);
    }
}

/* Solves (X^T X) w = X^T y, X with a column of ones for the constant. The matrix is positive
   definite, so elimination needs no pivots. */
static void closed_form(const double *x, const double *y, double w[D + 1])
{
    double m[D + 1][D + 2] = { 0 };
    for (int i = 0; i < N; i++) {
        double row[D + 2] = { [D] = 1, [D + 1] = y[i] };
        for (int j = 0; j < D; j++) row[j] = x[i * D + j];
        for (int j = 0; j <= D; j++)
            for (int k = 0; k < D + 2; k++) m[j][k] += row[j] * row[k];
    }
    for (int j = 0; j <= D; j++)
        for (int i = j + 1; i <= D; i++)
            for (int k = D + 1; k >= j; k--) m[i][k] -= m[i][j] / m[j][j] * m[j][k];
    for (int j = D; j >= 0; j--) {
        w[j] = m[j][D + 1];
        for (int k = j + 1; k <= D; k++) w[j] -= m[j][k] * w[k];
        w[j] /= m[j][j];
    }
}

int main(void)
{
    double x_data[N * D], y_data[N], exact[D + 1];
    make_data(x_data, y_data);
    closed_form(x_data, y_data, exact);

    qp_err err = { 0 };
    qp_ctx c; /* the arena that holds tensors, and the tape */
    qp_must(qp_ctx_init(&c, qp_cpu_backend(), 0, &err), &err);

    qp_params *params = qp_params_new(QP_F64); /* declare, seal, use; they begin at zero */
    qp_tensor *w = qp_params_add(params, "w", QP_SHAPE(D));
    qp_tensor *b = qp_params_add(params, "b", 0, NULL);
    qp_must(qp_params_seal(params, &err), &err);

    qp_optim adamw;
    const qp_optim_settings settings = { .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8 };
    const qp_schedule cosine = { .kind = QP_SCHEDULE_COSINE, .total = STEPS };
    qp_must(qp_optim_init(&adamw, "adamw", &settings, params, &err), &err);

    qp_tensor *x = qp_wrap_data(&c, QP_F64, QP_SHAPE(N, D), x_data);
    qp_tensor *y = qp_wrap_data(&c, QP_F64, QP_SHAPE(N), y_data);
    for (int step = 1; step <= STEPS; step++) {
        qp_scope scope; /* what this step makes is gone when it closes */
        qp_scope_open(&c.arena, &scope);
        qp_tensor *prediction = qp_add(&c, qp_matmul(&c, x, w, false, false), b);
        qp_tensor *loss = qp_mse(&c, prediction, y, QP_MEAN);
        if (step % 100 == 0) printf("step %3d  loss %.6f\n", step, qp_item(loss));
        qp_optim_minimize(&adamw, &c, loss, 0.1 * qp_schedule_factor(&cosine, step), 0, step);
        qp_scope_close(&c.arena, &scope);
    }

    double worst = 0;
    for (int j = 0; j <= D; j++) {
        const double found = j < D ? qp_at(w, j) : qp_item(b);
        printf("%s %+.9f  closed form %+.9f\n", j < D ? "w" : "b", found, exact[j]);
        worst = fmax(worst, fabs(found - exact[j]));
    }
    const bool ok = worst < 1e-6;
    printf("largest difference %.1e: %s\n", worst, ok ? "the same" : "FAILED");

    qp_optim_release(&adamw);
    qp_params_free(params);
    qp_ctx_release(&c);
    return ok ? 0 : 1;
}
