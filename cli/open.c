#include "cli/open.h"
#include "autograd/cpu/dispatch.h"
#include <string.h>

static qp_status storage_named(const char *option, const char *name, bool file, qp_storage *s,
                               qp_err *err)
{
    static const qp_storage allowed[] = { QP_BF16, QP_F32 };
    if (!name) return QP_OK;
    for (int i = 0; i < 2; i++) {
        if (strcmp(name, qp_storages[allowed[i]].name)) continue;
        *s = allowed[i];
        return QP_OK;
    }
    *s = QP_AS_FILED;
    if (file && !strcmp(name, "file")) return QP_OK;
    return qp_fail(err, QP_USAGE, "%s %s: wanted %s", option, name,
                   file ? "bf16, f32 or file" : "bf16 or f32");
}

/* A model of 256 tokens without tokenizer files reads bytes: such a tokenizer has no file to lie
 * beside it. */
static qp_status open_tokenizer(qp_opened *m, qp_err *err)
{
    const qp_config *cfg = qp_model_config(m->model);
    const char *path = m->where.tokenizer;
    if (!path && cfg->vocab_size == 256) path = "bytes";
    if (!path)
        return qp_fail(err, QP_USAGE, "%s: no tokenizer beside the model: --tokenizer FILE",
                       m->where.base);
    qp_status rc = qp_tokenizer_open(&m->tokenizer, path, err);
    if (rc) return rc;
    if (qp_tokenizer_vocab(m->tokenizer) > cfg->vocab_size)
        return qp_fail(err, QP_USAGE,
                       "tokenizer %s has %lld tokens, the model %lld: not its tokenizer", path,
                       (long long)qp_tokenizer_vocab(m->tokenizer), (long long)cfg->vocab_size);
    return QP_OK;
}

qp_status qp_open(qp_opened *m, const qp_model_args *a, qp_err *err)
{
    *m = (qp_opened){ 0 };
    if (a->threads < 0 || a->threads > 4096)
        return qp_fail(err, QP_USAGE, "--threads %lld: wanted 1 to 4096, or 0 for all CPUs",
                       (long long)a->threads);
    qp_cpu_threads((int)a->threads);
    qp_model_options o = { .compute = QP_BF16, .load_in = QP_BF16 };
    qp_status rc = storage_named("--dtype", a->dtype, false, &o.compute, err);
    if (!rc) rc = storage_named("--load-in", a->load_in, true, &o.load_in, err);
    if (!rc) rc = qp_model_where(a, &m->where, err);
    if (!rc) rc = qp_model_open(&m->model, m->where.base, &o, err);
    if (!rc) rc = open_tokenizer(m, err);
    if (!rc && m->where.adapter) rc = qp_model_load_adapter(m->model, m->where.adapter, err);
    if (!rc) rc = qp_model_seal(m->model, err);
    if (!rc) rc = qp_ctx_init(&m->ctx, qp_cpu_backend(), 0, err);
    m->has_ctx = !rc;
    m->ctx.recording = false;
    if (rc) qp_opened_release(m);
    return rc;
}

void qp_opened_release(qp_opened *m)
{
    if (m->has_ctx) qp_ctx_release(&m->ctx);
    qp_model_free(m->model);
    qp_tokenizer_free(m->tokenizer);
    qp_where_release(&m->where);
    m->has_ctx = false;
    m->model = NULL;
    m->tokenizer = NULL;
}
