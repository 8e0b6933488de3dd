/* General ops, for any network. Tensors are f64, f32 or bf16 (the compute types), of rank 0 to
   QP_MAX_DIMS and any size, 0 included; arguments of one op have one type. Shapes broadcast as
   NumPy's: aligned at the last dimension, sizes equal or 1. An axis counts from 0, or from the end
   when negative: -1 is the last.

   Every op returns a new tensor of the step, with x's type and shape unless it says otherwise, and
   never NULL: a wrong shape stops the program (70, or qp_on_fatal's handler) with one sentence. All
   arguments get gradients unless it says otherwise, parameters in f32 (f64 for f64). NaN and
   infinity come out as PyTorch lets them. Sums are made in f64, results rounded once. Ops fused for
   the Llama path are in ops.h. */
#ifndef QP_AUTOGRAD_GENERAL_H
#define QP_AUTOGRAD_GENERAL_H
#include "autograd/ops.h"
QP_C_BEGIN

/* ---- Values to begin with: no gradient ---------------------------------------------------- */

qp_tensor *qp_full(qp_ctx *c, qp_storage storage, int ndim, const int64_t *shape, double value);
qp_tensor *qp_scalar(qp_ctx *c, qp_storage storage, double value); /* rank 0 */
/* A copy of n = product of shape values, rounded to storage. */
qp_tensor *qp_values(qp_ctx *c, qp_storage storage, int ndim, const int64_t *shape,
                     const double *values);
/* 0, 1, .. n-1, rounded to storage: bf16 has all integers up to 256. */
qp_tensor *qp_arange(qp_ctx *c, qp_storage storage, int64_t n);
/* N(0, std^2) and uniform in [low, high), from the context's generator; a recomputed segment
   repeats them. */
qp_tensor *qp_normal(qp_ctx *c, qp_storage storage, int ndim, const int64_t *shape, double std);
qp_tensor *qp_uniform(qp_ctx *c, qp_storage storage, int ndim, const int64_t *shape, double low,
                      double high);
/* Indices (QP_I32) over the caller's memory, which must live until backward. */
qp_tensor *qp_index(qp_ctx *c, int ndim, const int64_t *shape, const int32_t *index);

/* x's value without its history. It shares x's memory: gone when backward passes x. */
qp_tensor *qp_detach(qp_ctx *c, qp_tensor *x);
/* Asks for the gradient of a tensor that no op made and that is no parameter, before anything used
   it: after backward it is in x->grad, of x's type. An op's output loses its gradient when backward
   passes it, asked for or not. Returns x. */
qp_tensor *qp_want_grad(qp_tensor *x);
/* The value of a tensor of one element; element i of any, counted row-major. */
double qp_item(const qp_tensor *x);
double qp_at(const qp_tensor *x, int64_t i);

/* ---- Element by element: rows of unary.def ------------------------------------------------- */

qp_tensor *qp_neg(qp_ctx *c, qp_tensor *x);
qp_tensor *qp_exp(qp_ctx *c, qp_tensor *x);
qp_tensor *qp_log(qp_ctx *c, qp_tensor *x);
qp_tensor *qp_sqrt(qp_ctx *c, qp_tensor *x);
qp_tensor *qp_rsqrt(qp_ctx *c, qp_tensor *x); /* 1 / sqrt(x) */
qp_tensor *qp_reciprocal(qp_ctx *c, qp_tensor *x);
qp_tensor *qp_abs(qp_ctx *c, qp_tensor *x); /* gradient at 0: 0 */
qp_tensor *qp_square(qp_ctx *c, qp_tensor *x);
qp_tensor *qp_sin(qp_ctx *c, qp_tensor *x);
qp_tensor *qp_cos(qp_ctx *c, qp_tensor *x);
qp_tensor *qp_tanh(qp_ctx *c, qp_tensor *x);
qp_tensor *qp_sigmoid(qp_ctx *c, qp_tensor *x);  /* 1 / (1 + e^-x) */
qp_tensor *qp_silu(qp_ctx *c, qp_tensor *x);     /* x sigmoid(x) */
qp_tensor *qp_softplus(qp_ctx *c, qp_tensor *x); /* log(1 + e^x); log sigmoid(x) is -softplus(-x) */
qp_tensor *qp_relu(qp_ctx *c, qp_tensor *x);     /* gradient at 0: 0 */
qp_tensor *qp_gelu(qp_ctx *c, qp_tensor *x); /* x times the normal distribution's share below x */
qp_tensor *qp_gelu_tanh(qp_ctx *c, qp_tensor *x); /* its tanh form: Hendrycks & Gimpel 2016 */
qp_tensor *qp_erf(qp_ctx *c, qp_tensor *x);
qp_tensor *qp_pow(qp_ctx *c, qp_tensor *x, double power);
/* Gradient where low < x < high; -INFINITY and INFINITY leave a side open. */
qp_tensor *qp_clamp(qp_ctx *c, qp_tensor *x, double low, double high);
qp_tensor *qp_affine(qp_ctx *c, qp_tensor *x, double scale, double shift); /* scale*x + shift */

/* ---- Two tensors, broadcast: rows of binary.def -----------------------------------------------
 */

/* qp_add (ops.h) */
qp_tensor *qp_sub(qp_ctx *c, qp_tensor *a, qp_tensor *b);
qp_tensor *qp_mul(qp_ctx *c, qp_tensor *a, qp_tensor *b);
qp_tensor *qp_div(qp_ctx *c, qp_tensor *a, qp_tensor *b);
qp_tensor *qp_squared_difference(qp_ctx *c, qp_tensor *a, qp_tensor *b); /* (a - b)^2 */
qp_tensor *qp_maximum(qp_ctx *c, qp_tensor *a, qp_tensor *b); /* where equal, half each */
qp_tensor *qp_minimum(qp_ctx *c, qp_tensor *a, qp_tensor *b);
/* Masks: 1 where it holds, else 0, in the arguments' type; no gradient. */
qp_tensor *qp_equal(qp_ctx *c, qp_tensor *a, qp_tensor *b);
qp_tensor *qp_less(qp_ctx *c, qp_tensor *a, qp_tensor *b);
qp_tensor *qp_less_equal(qp_ctx *c, qp_tensor *a, qp_tensor *b);
qp_tensor *qp_greater(qp_ctx *c, qp_tensor *a, qp_tensor *b);
qp_tensor *qp_greater_equal(qp_ctx *c, qp_tensor *a, qp_tensor *b);
/* a where the mask is not 0, else b; all three broadcast. The other side's NaN does not leak into
   value or gradient. No gradient: mask. */
qp_tensor *qp_where(qp_ctx *c, qp_tensor *mask, qp_tensor *a, qp_tensor *b);

/* ---- Reductions -------------------------------------------------------------------------------
 */

/* Which axes go, each once: qp_sum(c, x, QP_AXES(0, -1), false), or QP_ALL. Without keep they
   vanish from the shape, with keep they stay with size 1. */
typedef struct {
    int count; /* -1: all */
    int axis[QP_MAX_DIMS];
} qp_axes;
#define QP_AXES(...) (QP_VALUE(qp_axes){ QP_COUNT(int, __VA_ARGS__), { __VA_ARGS__ } })
#define QP_ALL (QP_VALUE(qp_axes){ -1, { 0 } })

qp_tensor *qp_sum(qp_ctx *c, qp_tensor *x, qp_axes axes, bool keep);  /* of nothing: 0 */
qp_tensor *qp_mean(qp_ctx *c, qp_tensor *x, qp_axes axes, bool keep); /* of nothing: NaN */
/* Largest and smallest; equal ones share the gradient; NaN wins. Of nothing: stops. */
qp_tensor *qp_max(qp_ctx *c, qp_tensor *x, qp_axes axes, bool keep);
qp_tensor *qp_min(qp_ctx *c, qp_tensor *x, qp_axes axes, bool keep);
/* sum (x - mean)^2 / (n - correction): correction 1 is PyTorch's default, 0 NumPy's. */
qp_tensor *qp_var(qp_ctx *c, qp_tensor *x, qp_axes axes, bool keep, int correction);
/* log of the sum of e^x without overflow; of nothing or of -inf alone: -inf. */
qp_tensor *qp_logsumexp(qp_ctx *c, qp_tensor *x, qp_axes axes, bool keep);
/* Index of the first largest along an axis, as QP_I32; no gradient. */
qp_tensor *qp_argmax(qp_ctx *c, qp_tensor *x, int axis);

/* ---- Shapes: values are copied, never shared ----------------------------------------------------
 */

/* One size may be -1: what the others leave; not beside a 0. */
qp_tensor *qp_reshape(qp_ctx *c, qp_tensor *x, int ndim, const int64_t *shape);
/* Dimension i of the result is dimension order[i] of x; order has x's rank. */
qp_tensor *qp_permute(qp_ctx *c, qp_tensor *x, const int *order);
qp_tensor *qp_transpose(qp_ctx *c, qp_tensor *x, int axis, int other);
/* x broadcast to a shape. */
qp_tensor *qp_expand(qp_ctx *c, qp_tensor *x, int ndim, const int64_t *shape);
/* start .. end-1 along an axis; both count from the end when negative and are cut to what there is,
   as Python's. */
qp_tensor *qp_slice(qp_ctx *c, qp_tensor *x, int axis, int64_t start, int64_t end);
/* count >= 1 tensors that differ only in the axis, one behind the other. */
qp_tensor *qp_concat(qp_ctx *c, int count, qp_tensor *const *x, int axis);
/* count >= 1 tensors of one shape along a new axis. */
qp_tensor *qp_stack(qp_ctx *c, int count, qp_tensor *const *x, int axis);
/* y[.., i, ..] = x[.., index[.., i, ..], ..] along the axis: torch.gather. index (QP_I32, qp_index)
   has x's rank and is nowhere larger but along the axis; y has its shape. */
qp_tensor *qp_gather(qp_ctx *c, qp_tensor *x, int axis, qp_tensor *index);
/* x with src[.., i, ..] added at [.., index[.., i, ..], ..]: torch.scatter_add. Equal indices add
   up in order; index and src have one shape. */
qp_tensor *qp_scatter_add(qp_ctx *c, qp_tensor *x, int axis, qp_tensor *index, qp_tensor *src);

/* ---- Products
 * ------------------------------------------------------------------------------------- */

/* a b over the last two dimensions, either side transposed first; the others are batches and
   broadcast. A side of rank 1 is a row (a) or a column (b), and that dimension vanishes from the
   result; it cannot be transposed. */
qp_tensor *qp_matmul(qp_ctx *c, qp_tensor *a, qp_tensor *b, bool transpose_a, bool transpose_b);

/* ---- Networks -----------------------------------------------------------------------------------
 */

/* Along an axis; a slice of -inf alone gives NaN. */
qp_tensor *qp_softmax(qp_ctx *c, qp_tensor *x, int axis);
qp_tensor *qp_log_softmax(qp_ctx *c, qp_tensor *x, int axis);

/* Over the last dimension: (x - mean) / sqrt(var + eps) * w + b.  Ba et al. 2016, arXiv:1607.06450
   w, b (D), either may be NULL. */
qp_tensor *qp_layernorm(qp_ctx *c, qp_tensor *x, qp_tensor *w, qp_tensor *b, double eps);

typedef enum { QP_MEAN, QP_SUM, QP_NONE } qp_how; /* over what has a loss */
/* -log softmax(logits)[target] over the last dimension V, with label smoothing s: the target
   distribution is (1-s) one-hot + s/V (Szegedy et al. 2016, arXiv:1512.00567). targets: one for
   each row, negative ones are ignored; they must live until backward. Rank 0, or QP_NONE: a loss
   for each row, 0 where ignored, with logits' leading shape; in f32 (f64 for f64). Nothing counted:
   the mean is NaN. */
qp_tensor *qp_cross_entropy(qp_ctx *c, qp_tensor *logits, const int32_t *targets, double smoothing,
                            qp_how how);
/* (a - b)^2, broadcast. */
qp_tensor *qp_mse(qp_ctx *c, qp_tensor *a, qp_tensor *b, qp_how how);

/* qp_attention on a batch: q (B, T, H*E), k and v (B, S, G*E), S >= T, B may be missing; query t
   sees keys 0 .. S-T+t. */
qp_tensor *qp_causal_attention(qp_ctx *c, qp_tensor *q, qp_tensor *k, qp_tensor *v, int64_t heads,
                               int64_t kv_heads);
/* qp_embedding, qp_linear, qp_rmsnorm, qp_dropout, qp_cast and others: ops.h */
QP_C_END
#endif
