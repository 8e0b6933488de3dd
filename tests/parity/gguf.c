/* gguf/: stored values of every type that is read, and the logits of a model in a GGUF. */
#include "autograd/cpu/weight.h"
#include "base/gguf.h"
#include "tests/parity/models.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void tensors(parity *p)
{
    qp_gguf g = { 0 };
    qp_safetensors st = { 0 };
    qp_err err = { 0 };
    char *path = parity_path(p, "gguf/tensors.gguf");
    int left = 0;
    if (parity_open(p, &st, "gguf/tensors_expected.safetensors") &&
        parity_ok(p, qp_gguf_open(&g, path, &err), &err))
        for (int64_t i = 0; i < st.count; i++) {
            const qp_file_tensor *want = &st.tensor[i], *t = qp_gguf_tensor(&g, want->name);
            if (!strncmp(want->name, "source.", 7)) continue;
            if (!t || t->storage == QP_OTHER) {
                left++; /* a type that is not read yet */
                continue;
            }
            float *got = qp_xcalloc((size_t)want->numel + 1, sizeof *got);
            qp_weight_convert(got, QP_F32, t->data, t->storage, t->numel);
            double *a = parity_widen(got, QP_F32, want->numel),
                   *b = parity_widen(want->data, want->storage, want->numel);
            parity_compare(p, "Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 F16 BF16 F32", want->name, a, b,
                           want->numel);
            free(a);
            free(b);
            free(got);
        }
    if (left) snprintf(p->note, sizeof p->note, "%d tensor types not built yet", left);
    qp_gguf_release(&g);
    qp_safetensors_release(&st);
    free(path);
}

static void one_model(parity *p, const char *file, void *arg)
{
    (void)arg;
    char relative[300];
    qp_safetensors st = { 0 };
    qp_ctx c;
    snprintf(relative, sizeof relative, "gguf/%.*s_expected.safetensors", (int)(strlen(file) - 5),
             file);
    char *expected = parity_path(p, "%s", relative);
    bool model = strcmp(file, "tensors.gguf") && qp_path_exists(expected);
    free(expected);
    if (!model) return;
    if (!parity_open(p, &st, relative)) return;
    snprintf(relative, sizeof relative, "gguf/%s", file);
    qp_model *m = parity_open_model(p, relative, QP_F32, false);
    parity_context(&c);
    int64_t n;
    int32_t *ids = parity_i32(p, &st, "input_ids", NULL);
    double *want = parity_f64(p, &st, "logits", &n);
    if (m && ids && want) {
        const qp_file_tensor *t = qp_safetensors_find(&st, "input_ids");
        qp_batch b = { 0 };
        parity_add_rows(&b, ids, ids, NULL, t->shape[0], t->shape[1]);
        c.recording = false;
        double *got =
            parity_widen(qp_model_logits(&c, m, qp_model_hidden(&c, m, &b, NULL))->data, QP_F32, n);
        parity_compare(p, "logits", file, got, want, n);
        free(got);
        qp_batch_release(&b);
    }
    free(ids);
    free(want);
    qp_ctx_release(&c);
    qp_model_free(m);
    qp_safetensors_release(&st);
}

void parity_gguf(parity *p, const char *path)
{
    tensors(p);
    parity_each(p, path, ".gguf", one_model, NULL);
}
