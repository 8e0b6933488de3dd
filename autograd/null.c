/* Computes nothing. A step run on it takes the memory that the real one takes and touches almost
   none of it. Where a caller decides by a result, the result is made harmless: no norm, no loss. */
#include "autograd/backend.h"
#include <string.h>
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Woverride-init"

#define QP_KERNEL(name, args)                                                                      \
    static void null_##name args {}
#include "autograd/kernels.def"
#undef QP_KERNEL

static void no_norm(double *out, void *work, const void *g, int64_t n) { *out = 0; }

/* Nothing but the target: every row's loss is 0. */
#define NO_LOSS(name, type)                                                                        \
    static void name(void *top, void *sum, void *hit, void *p, void *dx, void *logits,             \
                     const int32_t *targets, int64_t v0, int64_t n, int64_t c, int64_t d)          \
    {                                                                                              \
        memset(top, 0, (size_t)n * sizeof(type));                                                  \
        memset(sum, 0, (size_t)n * sizeof(type));                                                  \
        memset(hit, 0, (size_t)n * sizeof(type));                                                  \
    }
NO_LOSS(no_loss_f64, double)
NO_LOSS(no_loss_f32, float)

/* Indices must lie within what they are for. */
static void no_argmax(int32_t *index, const void *x, const qp_reduction *r)
{
    memset(index, 0, (size_t)qp_loops_count(&r->kept) * sizeof *index);
}

#define QP_KERNEL(name, args) .name = null_##name,
static const qp_kernels nothing_f64 = {
#include "autograd/kernels.def"
    .sumsq = no_norm,
    .argmax = no_argmax,
    .xent_chunk = no_loss_f64,
};
static const qp_kernels nothing_f32 = {
#include "autograd/kernels.def"
    .sumsq = no_norm,
    .argmax = no_argmax,
    .xent_chunk = no_loss_f32,
};
#undef QP_KERNEL

const qp_backend *qp_null_backend(void)
{
    static const qp_backend b = { "null", { &nothing_f64, &nothing_f32, &nothing_f32 } };
    return &b;
}
