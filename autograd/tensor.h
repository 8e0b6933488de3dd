/* A tensor: always contiguous, row-major; the last dimension is the row, the leading ones only
   count rows. Rank 0 is one value, size 0 is legal. Activations are f64, f32 or bf16; weights may
   have any storage, read through weight.c's panels. */
#ifndef QP_AUTOGRAD_TENSOR_H
#define QP_AUTOGRAD_TENSOR_H
#include "base/dtype.h"
#include <stdbool.h>
QP_C_BEGIN

enum { QP_MAX_DIMS = 8 };

typedef struct qp_tensor {
    qp_storage storage;
    int ndim;
    int64_t shape[QP_MAX_DIMS];
    void *data;
    void *grad;      /* NULL until first written in this step; qp_grad_storage is its type */
    void *grad_home; /* parameters: where grad will be; NULL otherwise */
    const void *aux; /* scales, packed copies: weight.c's business */
    bool needs_grad, is_param;
} qp_tensor;

/* A rank and a shape, for the two arguments that functions take: qp_reshape(c, x, QP_SHAPE(n, -1)).
 */
#define QP_SHAPE(...) QP_COUNT(int64_t, __VA_ARGS__), QP_LIST(int64_t, __VA_ARGS__)

static inline int64_t qp_numel(const qp_tensor *t)
{
    int64_t n = 1;
    for (int i = 0; i < t->ndim; i++) n *= t->shape[i];
    return n;
}
static inline int64_t qp_cols(const qp_tensor *t) { return t->ndim ? t->shape[t->ndim - 1] : 1; }
static inline int64_t qp_rows(const qp_tensor *t)
{
    int64_t n = 1;
    for (int i = 0; i + 1 < t->ndim; i++) n *= t->shape[i];
    return n;
}
static inline size_t qp_value_bytes(const qp_tensor *t)
{
    return qp_storage_bytes(t->storage, qp_numel(t));
}
/* The type sums are made in: f64 for f64, else f32. Gradients of parameters have it too. */
static inline qp_storage qp_sum_storage(qp_storage s) { return s == QP_F64 ? QP_F64 : QP_F32; }
/* n such sums. */
static inline size_t qp_sum_bytes(const qp_tensor *t, int64_t n)
{
    return qp_storage_bytes(qp_sum_storage(t->storage), n);
}
/* Activations' gradients have their own type. */
static inline qp_storage qp_grad_storage(const qp_tensor *t)
{
    return t->is_param ? qp_sum_storage(t->storage) : t->storage;
}
/* "f32(5, 7)", for messages; good for the next three calls in this thread. */
const char *qp_str(const qp_tensor *t);
QP_C_END
#endif
