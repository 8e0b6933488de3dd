/* GGUF versions 2 and 3, little-endian: metadata and named tensors, mapped, every count, length and
   offset checked against the file first. Format: docs/gguf.md of ggml. Shapes are given outermost
   first (the file's order reversed), so a matrix is [out, in] as everywhere here. K-quants and
   other types that are not read have storage QP_OTHER. */
#ifndef QP_BASE_GGUF_H
#define QP_BASE_GGUF_H
#include "base/file_tensor.h"
#include "base/zio.h"

typedef enum {
    QP_GGUF_U8,
    QP_GGUF_I8,
    QP_GGUF_U16,
    QP_GGUF_I16,
    QP_GGUF_U32,
    QP_GGUF_I32,
    QP_GGUF_F32,
    QP_GGUF_BOOL,
    QP_GGUF_STRING,
    QP_GGUF_ARRAY,
    QP_GGUF_U64,
    QP_GGUF_I64,
    QP_GGUF_F64
} qp_gguf_type;

typedef struct {
    char *key;
    qp_gguf_type type; /* never ARRAY: see is_array */
    bool is_array;
    uint64_t count;      /* 1 unless an array */
    const uint8_t *data; /* in the file, packed, unaligned; of strings the first's length field */
    struct qp_gguf_text *text; /* strings only: one a value */
} qp_gguf_value;

typedef struct qp_gguf_text {
    const char *s; /* not NUL-terminated */
    uint64_t len;
} qp_gguf_text;

typedef struct {
    char *path;
    qp_map map;
    uint32_t version;
    int64_t n_values, n_tensors;
    qp_gguf_value *value;   /* in the file's order */
    qp_file_tensor *tensor; /* sorted by name */
} qp_gguf;

qp_status qp_gguf_open(qp_gguf *g, const char *path, qp_err *err) QP_MUST_CHECK;
void qp_gguf_release(qp_gguf *g);
const qp_file_tensor *qp_gguf_tensor(const qp_gguf *g, const char *name); /* or NULL */
const qp_gguf_value *qp_gguf_find(const qp_gguf *g, const char *key);     /* or NULL */
/* Any integer or bool type; false when absent, of another type or out of range. */
bool qp_gguf_int(const qp_gguf *g, const char *key, int64_t *v);
bool qp_gguf_double(const qp_gguf *g, const char *key, double *v); /* any number */
bool qp_gguf_string(const qp_gguf *g, const char *key, qp_gguf_text *v);
int64_t qp_gguf_array_int(const qp_gguf_value *v, uint64_t i); /* element of an integer array */
double qp_gguf_array_double(const qp_gguf_value *v, uint64_t i);
#endif
