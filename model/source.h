/* Where weights come from: a container opened and looked up by Hugging Face's names. */
#ifndef QP_MODEL_SOURCE_H
#define QP_MODEL_SOURCE_H
#include "base/gguf.h"
#include "base/safetensors.h"

/* GGUF and Meta rotate adjacent rows (2i, 2i + 1) of a head in q_proj and k_proj, Hugging Face rows
   i and i + E/2: `interleaved` says which order the file has. */
typedef struct {
    qp_safetensors st;
    qp_gguf gguf;
    bool is_gguf, interleaved;
} qp_source;

/* path: a folder with safetensors, or a .gguf file. */
qp_status qp_source_open(qp_source *s, const char *path, qp_err *err) QP_MUST_CHECK;
const qp_file_tensor *qp_source_find(const qp_source *s, const char *hf_name); /* or NULL */
const qp_file_tensor *qp_source_list(const qp_source *s, int64_t *count);
const char *qp_source_file(const qp_source *s, const qp_file_tensor *t); /* for messages */
void qp_source_release(qp_source *s);
#endif
