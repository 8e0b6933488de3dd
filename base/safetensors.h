/* safetensors: u64 header length, JSON header, data. Everything in the header is checked against
   the file before a pointer is handed out: length, JSON, duplicate names, dtype, shape x size =
   range, no overlap, no hole, end of file. Tensors whose place is not aligned for their type are
   copied. Format: the safetensors README (huggingface/safetensors). */
#ifndef QP_BASE_SAFETENSORS_H
#define QP_BASE_SAFETENSORS_H
#include "base/file_tensor.h"
#include "base/zio.h"
QP_C_BEGIN

typedef struct {
    char *path;
    int files;
    char **file_path;
    qp_map *map;
    int64_t count;
    qp_file_tensor *tensor; /* sorted by name */
} qp_safetensors;

/* path: a .safetensors file, a model.safetensors.index.json, or a folder holding either (name
   NULL), or the file `name` in the folder `path`. A sharded set must hold exactly what its index
   lists. */
qp_status qp_safetensors_open(qp_safetensors *st, const char *path, const char *name,
                              qp_err *err) QP_MUST_CHECK;
const qp_file_tensor *qp_safetensors_find(const qp_safetensors *st, const char *name); /* or NULL */
void qp_safetensors_release(qp_safetensors *st);

/* Writing: one call; the file appears whole or not at all. Larger element types come first, so that
   every tensor is aligned. */
typedef struct {
    const char *name;
    qp_storage storage;
    int ndim;
    int64_t shape[QP_FILE_DIMS];
    const void *data; /* plain storage, native byte order */
} qp_save_tensor;
qp_status qp_safetensors_write(const char *path, const qp_save_tensor *tensors, int64_t count,
                               qp_err *err) QP_MUST_CHECK; /* metadata {"format":"pt"} */
QP_C_END
#endif
