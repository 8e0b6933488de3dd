#include "model/source.h"
#include "base/zio.h"
#include "model/names.h"

qp_status qp_source_open(qp_source *s, const char *path, qp_err *err)
{
    *s = (qp_source){ .is_gguf = !qp_path_is_dir(path) };
    s->interleaved = s->is_gguf;
    qp_status rc = s->is_gguf ? qp_gguf_open(&s->gguf, path, err)
                              : qp_safetensors_open(&s->st, path, NULL, err);
    if (rc) qp_source_release(s);
    return rc;
}

const qp_file_tensor *qp_source_find(const qp_source *s, const char *hf_name)
{
    char name[128];
    if (!s->is_gguf) return qp_safetensors_find(&s->st, hf_name);
    return qp_name_gguf(hf_name, name, sizeof name) ? qp_gguf_tensor(&s->gguf, name) : NULL;
}

const qp_file_tensor *qp_source_list(const qp_source *s, int64_t *count)
{
    *count = s->is_gguf ? s->gguf.n_tensors : s->st.count;
    return s->is_gguf ? s->gguf.tensor : s->st.tensor;
}

const char *qp_source_file(const qp_source *s, const qp_file_tensor *t)
{
    return s->is_gguf ? s->gguf.path : s->st.file_path[t->file];
}

void qp_source_release(qp_source *s)
{
    qp_safetensors_release(&s->st);
    qp_gguf_release(&s->gguf);
    *s = (qp_source){ 0 };
}
