/* unary.def and binary.def: each row there needs a formula here, in f64 and as one would write it
   down. */
#include "tests/support/opcheck.h"
#include <math.h>

/* Settings of those that have them. clamp's ends are off OP_GRID's points; some stay open. */
static void draw_pow(op_case *k)
{
    static const double powers[] = { 3, 0.5, -1.5, 2, 0, 1, -2 };
    op_draw_one(k);
    k->p = powers[op_below(k, 7)];
}
static void draw_clamp(op_case *k)
{
    op_draw_one(k);
    k->p = op_below(k, 4) ? (double)op_below(k, 3) / 4 - 3.03 : -INFINITY;
    k->q = op_below(k, 4) ? (double)op_below(k, 3) / 4 + 2.03 : INFINITY;
}
static void draw_affine(op_case *k)
{
    op_draw_one(k);
    k->p = (double)op_below(k, 9) / 4 - 1;
    k->q = (double)op_below(k, 9) / 4 - 1;
}
static qp_tensor *run_pow(qp_ctx *c, qp_tensor **in, const op_case *k)
{
    return qp_pow(c, in[0], k->p);
}
static qp_tensor *run_clamp(qp_ctx *c, qp_tensor **in, const op_case *k)
{
    return qp_clamp(c, in[0], k->p, k->q);
}
static qp_tensor *run_affine(qp_ctx *c, qp_tensor **in, const op_case *k)
{
    return qp_affine(c, in[0], k->p, k->q);
}

#define UNARY(name, value, slope)                                                                  \
    static qp_tensor *run_##name(qp_ctx *c, qp_tensor **in, const op_case *k)                      \
    {                                                                                              \
        (void)k;                                                                                   \
        return qp_##name(c, in[0]);                                                                \
    }                                                                                              \
    static void draw_##name(op_case *k) { op_draw_one(k); }
#define UNARY_PQ(name, value, slope)
#include "autograd/unary.def"
#undef UNARY
#undef UNARY_PQ

#define FORMULA(name, kind, formula) ROUGH(name, kind, 1, formula)
#define ROUGH(name, kind, times_bf16, formula)                                                     \
    static double of_##name(double x, double p, double q)                                          \
    {                                                                                              \
        (void)p, (void)q;                                                                          \
        return formula;                                                                            \
    }                                                                                              \
    static const op_row row_##name = { #name,                                                      \
                                       .flags = OP_NO_REPEAT,                                      \
                                       .values = { kind },                                         \
                                       .bf16 = times_bf16,                                         \
                                       .draw = draw_##name,                                        \
                                       .run = run_##name,                                          \
                                       .value = op_value_of_one,                                   \
                                       .of_one = of_##name };
FORMULA(neg, OP_NORMAL, -x)
FORMULA(exp, OP_NORMAL, exp(x))
FORMULA(log, OP_POSITIVE, log(x))
FORMULA(sqrt, OP_POSITIVE, sqrt(x))
/* The gradient has y^3: three times y's rounding, and its own. */
ROUGH(rsqrt, OP_POSITIVE, 2, pow(x, -0.5))
FORMULA(reciprocal, OP_AWAY, pow(x, -1))
FORMULA(abs, OP_AWAY, fabs(x))
FORMULA(square, OP_NORMAL, pow(x, 2))
FORMULA(sin, OP_NORMAL, sin(x))
FORMULA(cos, OP_NORMAL, cos(x))
FORMULA(tanh, OP_NORMAL, (exp(x) - exp(-x)) / (exp(x) + exp(-x)))
FORMULA(sigmoid, OP_NORMAL, exp(x) / (exp(x) + 1))
FORMULA(silu, OP_NORMAL, x *exp(x) / (exp(x) + 1))
FORMULA(softplus, OP_NORMAL, log(1 + exp(x)))
FORMULA(relu, OP_AWAY, fmax(x, 0))
FORMULA(gelu, OP_NORMAL, x / 2 * erfc(-x / sqrt(2)))
FORMULA(gelu_tanh, OP_NORMAL, x / (1 + exp(-2 * sqrt(2 / M_PI) * (x + 0.044715 * pow(x, 3)))))
FORMULA(erf, OP_NORMAL, 1 - erfc(x))
FORMULA(pow, OP_POSITIVE, exp(p *log(x)))
FORMULA(clamp, OP_GRID, fmin(fmax(x, p), q))
FORMULA(affine, OP_NORMAL, p *x + q)

#define PAIR(symbol, left, right, formula, flags_)                                                 \
    static double pair_##symbol(double a, double b) { return formula; }                            \
    static qp_tensor *run_##symbol(qp_ctx *c, qp_tensor **in, const op_case *k)                    \
    {                                                                                              \
        (void)k;                                                                                   \
        return qp_##symbol(c, in[0], in[1]);                                                       \
    }                                                                                              \
    static const op_row row_##symbol = { #symbol,                                                  \
                                         .flags = flags_,                                          \
                                         .values = { left, right },                                \
                                         .draw = op_draw_two,                                      \
                                         .run = run_##symbol,                                      \
                                         .value = op_value_of_two,                                 \
                                         .of_two = pair_##symbol };
PAIR(add, OP_NORMAL, OP_NORMAL, a + b, 0)
PAIR(sub, OP_NORMAL, OP_NORMAL, a - b, 0)
PAIR(mul, OP_NORMAL, OP_NORMAL, a *b, 0)
PAIR(div, OP_NORMAL, OP_AWAY, a / b, 0)
PAIR(squared_difference, OP_NORMAL, OP_NORMAL, pow(a - b, 2), 0)
PAIR(maximum, OP_GRID, OP_BETWEEN, fmax(a, b), 0)
PAIR(minimum, OP_GRID, OP_BETWEEN, fmin(a, b), 0)
/* Equal ones among them: steps have no gradient to spoil. */
PAIR(equal, OP_MASK, OP_MASK, a == b, OP_NO_GRADIENT)
PAIR(less, OP_MASK, OP_MASK, a < b, OP_NO_GRADIENT)
PAIR(less_equal, OP_MASK, OP_MASK, a <= b, OP_NO_GRADIENT)
PAIR(greater, OP_MASK, OP_MASK, a > b, OP_NO_GRADIENT)
PAIR(greater_equal, OP_MASK, OP_MASK, a >= b, OP_NO_GRADIENT)

const op_row *const op_elementwise[] = {
#define UNARY(name, value, slope) &row_##name,
#define UNARY_PQ UNARY
#include "autograd/unary.def"
    &row_add, &row_sub,
#define BINARY(name, value, da, db) &row_##name,
#define COMPARE(name, condition) &row_##name,
#include "autograd/binary.def"
    NULL
};
