/* Every op of the Llama path. Shapes: N token rows, D model, F feed-forward, H heads, G key heads,
   E head size, V vocabulary, R rank. An op returns a new tensor of the step unless it says
   otherwise, and never NULL: a wrong shape stops the program (70). Weights w may have any storage;
   x decides the compute type. */
#ifndef QP_AUTOGRAD_OPS_H
#define QP_AUTOGRAD_OPS_H
#include "autograd/tape.h"
QP_C_BEGIN

/* y = a + b, broadcast as in general.h. Gradients: both. */
qp_tensor *qp_add(qp_ctx *c, qp_tensor *a, qp_tensor *b);

/* y[i,:] = w[ids[i],:], w (V, D), ids (n) in 0..V-1; y (n, D) of type `out`. ids must live until
   backward. Gradient: w, of a compute type; rows repeated in ids add up in row order. */
qp_tensor *qp_embedding(qp_ctx *c, qp_tensor *w, const int32_t *ids, int64_t n, qp_storage out);

/* y[i,:] = x[i,:] / sqrt(mean(x[i,:]^2) + eps) * w        Zhang & Sennrich 2019, arXiv:1910.07467
   x (N, D), w (D); sums in f32 (f64 for f64). Gradients: both. eps > 0 unless no row is zero.
   */
qp_tensor *qp_rmsnorm(qp_ctx *c, qp_tensor *x, qp_tensor *w, double eps);

/* Rotary position embedding, pairs (i, i + E/2).           Su et al. 2021, arXiv:2104.09864
   x (N, heads*E); cos, sin (positions, E/2) in f32 (f64 for f64) and pos (N) must live until
   backward. */
qp_tensor *qp_rope(qp_ctx *c, qp_tensor *x, const void *cos, const void *sin, const int32_t *pos,
                   int64_t heads);

/* Which key rows each query sees: first[i] .. last[i]. Never empty. */
typedef struct {
    const int32_t *first, *last; /* (N) */
} qp_span;
/* softmax(q k^T / sqrt(E)) v with grouped queries; the N x M matrix is never held.
   q (N, H*E); k, v (M, G*E); y like q.                       Dao et al. 2022, arXiv:2205.14135
   span's arrays must live until backward. A row's bits depend on its own query and the keys it
   sees, counted from first[i], and on nothing else. */
qp_tensor *qp_attention(qp_ctx *c, qp_tensor *q, qp_tensor *k, qp_tensor *v, qp_span span,
                        int64_t heads, int64_t kv_heads);

/* y = silu(g) * u, same shapes.                              Shazeer 2020, arXiv:2002.05202 */
qp_tensor *qp_swiglu(qp_ctx *c, qp_tensor *g, qp_tensor *u);

/* y = x w^T, x (N, K), w (M, K); y (N, M): leading dimensions stay, so x may be (.., K). Gradients:
   x, and w, in f32 when w is a parameter, in w's type otherwise. */
qp_tensor *qp_linear(qp_ctx *c, qp_tensor *x, qp_tensor *w);
/* y[i] = qp_linear(c, x, w[i]) for up to 8 weights, bit for bit; a row or a few, as in decoding,
   meet all weights in one parallel region. */
void qp_linears(qp_ctx *c, qp_tensor *x, int count, qp_tensor *const *w, qp_tensor **y);

/* y += scale * (dropout_p(x) a^T) b^T; returns y itself.     Hu et al. 2021, arXiv:2106.09685
   y (N, M) must be a fresh output that nothing has read yet; x (N, K), a (R, K), b (M, R)
   of x's type. Keeps only x a^T. Gradients: x, a, b; y's passes through untouched.
   Dropout acts while recording is on. */
qp_tensor *qp_lora(qp_ctx *c, qp_tensor *y, qp_tensor *x, qp_tensor *a, qp_tensor *b, double scale,
                   double dropout);

/* The same on y = x w^T, w (M, K), in one product with it: y is rounded once. Gradient of w, too.
 */
qp_tensor *qp_linear_lora(qp_ctx *c, qp_tensor *x, qp_tensor *w, qp_tensor *a, qp_tensor *b,
                          double scale, double dropout);

/* y = x / (1-p) where the counter-based coin says keep, else 0; x itself if p is 0 or recording is
   off. */
qp_tensor *qp_dropout(qp_ctx *c, qp_tensor *x, double p);

/* y = x in another compute type. Gradient: cast back. */
qp_tensor *qp_cast(qp_ctx *c, qp_tensor *x, qp_storage to);

/* Head and loss: the sum over rows with targets[i] >= 0 of -log softmax(x w^T)[targets[i]]; rank 0,
   f32 (f64 for f64). x (N, D), w (V, D). Works through vocabulary chunks over blocks of the rows
   that have a target; logits are never whole. nll (N) may be NULL; else each row's loss, 0 where
   there is no target. targets must live until backward. */
qp_tensor *qp_linear_xent(qp_ctx *c, qp_tensor *x, qp_tensor *w, const int32_t *targets,
                          double *nll);
/* The same with nothing to be read before qp_backward has run, where a gradient is wanted: then
   loss (NaN before) and nll are written with the gradient, from logits made once, not twice. The
   loss must be what qp_backward starts from, nll live as long, and no segment hold it. */
qp_tensor *qp_linear_xent_late(qp_ctx *c, qp_tensor *x, qp_tensor *w, const int32_t *targets,
                               double *nll);
/* The first with `chunk` rows of w at a time. */
qp_tensor *qp_linear_xent_in_chunks(qp_ctx *c, qp_tensor *x, qp_tensor *w, const int32_t *targets,
                                    double *nll, int64_t chunk);

/* Whole logits x w^T in f32 (f64 for f64), for sampling, comparison and losses of your own.
   Gradients: as qp_linear, whose products take them rounded to x's type. */
qp_tensor *qp_logits(qp_ctx *c, qp_tensor *x, qp_tensor *w);
QP_C_END
#endif
