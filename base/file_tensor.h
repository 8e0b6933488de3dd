/* A named tensor in a mapped file: what every container format is reduced to. */
#ifndef QP_BASE_FILE_TENSOR_H
#define QP_BASE_FILE_TENSOR_H
#include "base/dtype.h"
#include "base/err.h"
#include <stdbool.h>
QP_C_BEGIN

enum { QP_FILE_DIMS = 8 };
typedef struct {
    char *name;
    qp_storage
        storage;      /* QP_OTHER: listed and checked like the others, its values are for nobody */
    const char *type; /* the format's own word: "F32", "Q4_K" */
    int ndim;
    int64_t shape[QP_FILE_DIMS];
    int64_t numel;
    const void *data; /* into the map, or `owned`; aligned for its type */
    size_t bytes;
    int file;    /* which file of a sharded set, for messages */
    void *owned; /* a copy, where the file's own place is not aligned; else NULL */
} qp_file_tensor;

/* numel and bytes from the shape, for a type of so many bytes a block of elements; false when they
   overflow or a row is not whole blocks. */
bool qp_file_tensor_size(qp_file_tensor *t, int block, int bytes);
/* Sorts by name; a name that occurs twice is QP_BADFILE. */
qp_status qp_file_tensors_sort(qp_file_tensor *t, int64_t count, qp_err *err) QP_MUST_CHECK;
const qp_file_tensor *qp_file_tensors_find(const qp_file_tensor *t, int64_t count,
                                           const char *name);
void qp_file_tensors_free(qp_file_tensor *t, int64_t count);
QP_C_END
#endif
