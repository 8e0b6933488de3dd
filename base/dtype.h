/* How numbers are stored, in files and in memory. */
#ifndef QP_BASE_DTYPE_H
#define QP_BASE_DTYPE_H
#include "base/c.h"
#include <stddef.h>
#include <stdint.h>
QP_C_BEGIN

typedef enum {
    QP_F64, /* the first three are compute types: activations have them, kernels exist for them */
    QP_F32,
    QP_BF16,
    QP_NCOMPUTE,
    QP_F16 = QP_NCOMPUTE,
    QP_Q4_0, /* GGUF blocks of 32 along the row: f16 scale, 16 bytes of nibbles */
    QP_Q4_1, /* f16 scale, f16 minimum, nibbles */
    QP_Q8_0, /* f16 scale, 32 int8 */
    QP_I64,  /* in files only */
    QP_I32,
    QP_U8,
    QP_BOOL,
    QP_OTHER, /* in files only, and not readable here: qp_file_tensor's `type` names it */
    QP_NSTORAGE
} qp_storage;

typedef struct {
    const char *name;        /* "f32", "q4_0" */
    const char *safetensors; /* "F32"; NULL when that format has none */
    int block;               /* elements a block; 1 for plain types */
    int bytes;               /* bytes a block */
} qp_storage_info;
extern const qp_storage_info qp_storages[QP_NSTORAGE];

/* Bytes of n elements; n must be a multiple of the block. */
static inline size_t qp_storage_bytes(qp_storage s, int64_t n)
{
    return (size_t)(n / qp_storages[s].block) * (size_t)qp_storages[s].bytes;
}
QP_C_END
#endif
