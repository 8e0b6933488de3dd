// A program of somebody else's, in C++: turns quipu's stops into exceptions and trains all the
// same.
#include <cmath>
#include <cstdio>
#include <quipu.h>
#include <stdexcept>
#include <string>
#include <vector>

static void raise(void *, qp_status, const char *message) { throw std::runtime_error(message); }

struct context {
    qp_ctx c;
    context()
    {
        qp_err err = {};
        if (qp_ctx_init(&c, qp_cpu_backend(), 1 << 26, &err)) throw std::runtime_error(err.msg);
    }
    ~context() { qp_ctx_release(&c); }
};

// The mean square of x w^T + b - y in the last of so many steps.
static double fit(qp_ctx *c, int steps)
{
    enum { N = 64, D = 3 };
    std::vector<float> x(N * D), y(N);
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < D; j++) x[i * D + j] = (float)qp_rng_normal(1, j, i);
        y[i] = 2 * x[i * D] - x[i * D + 1] + 0.5f * x[i * D + 2] + 1;
    }
    qp_err err = {};
    qp_params *p = qp_params_new(QP_F32);
    qp_tensor *w = qp_params_add(p, "w", QP_SHAPE(1, D)), *b = qp_params_add(p, "b", QP_SHAPE(1));
    qp_must(qp_params_seal(p, &err), &err);
    qp_optim adamw;
    const qp_optim_settings settings = { 0.9, 0.99, 1e-8, 0 };
    qp_must(qp_optim_init(&adamw, "adamw", &settings, p, &err), &err);
    double last = INFINITY;
    for (int step = 1; step <= steps; step++) {
        qp_scope scope;
        qp_scope_open(&c->arena, &scope);
        qp_tensor *inputs = qp_wrap_data(c, QP_F32, QP_SHAPE(N, D), x.data());
        qp_tensor *wanted = qp_wrap_data(c, QP_F32, QP_SHAPE(N, 1), y.data());
        qp_tensor *off = qp_sub(c, qp_add(c, qp_linear(c, inputs, w), b), wanted);
        qp_tensor *loss = qp_mean(c, qp_square(c, off), QP_AXES(0, -1), false);
        last = qp_item(loss);
        qp_optim_minimize(&adamw, c, loss, 0.05, 0, step);
        qp_scope_close(&c->arena, &scope);
    }
    qp_optim_release(&adamw);
    qp_params_free(p);
    return last;
}

// What quipu says of a sum that does not broadcast.
static std::string wrong_sum(qp_ctx *c)
{
    std::string said = "nothing";
    qp_on_fatal(raise, nullptr);
    try {
        qp_scope scope;
        qp_scope_open(&c->arena, &scope);
        qp_add(c, qp_full(c, QP_F32, QP_SHAPE(2, 3), 1), qp_full(c, QP_F32, QP_SHAPE(4), 1));
    } catch (const std::runtime_error &e) {
        said = e.what();
    }
    qp_ctx_reset(c);
    return said;
}

int main()
{
    context of;
    const std::string said = wrong_sum(&of.c);
    const double loss = fit(&of.c, 500);
    std::printf("stopped by \"%s\", then fitted to %.1e\n", said.c_str(), loss);
    bool named = true;
    for (const char *part : { "add", "(2, 3)", "(4)" }) named &= said.find(part) != said.npos;
    return named && loss < 1e-6 ? 0 : 1;
}
