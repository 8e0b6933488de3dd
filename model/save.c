/* What other programs load: PEFT adapter folders, Hugging Face model folders. */
#include "base/json.h"
#include "base/zio.h"
#include "model/adapter.h"
#include "model/arch.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int64_t count;
    qp_save_tensor *tensor;
    void **owned;
    char **name;
} tensor_list;

static qp_status add(tensor_list *l, const qp_model *m, const qp_weight *w, const char *prefix,
                     qp_storage to, qp_err *err)
{
    int64_t i = l->count++;
    l->name[i] = qp_xformat("%s%s", prefix, w->name);
    l->tensor[i] = (qp_save_tensor){ .name = l->name[i], .storage = to, .ndim = w->t->ndim };
    memcpy(l->tensor[i].shape, w->t->shape, (size_t)w->t->ndim * sizeof *w->t->shape);
    return qp_weight_values(m, w, to, &l->tensor[i].data, &l->owned[i], err);
}

/* Every weight of the base, or of the adapter. */
static qp_status write_weights(const qp_model *m, bool adapter, const char *prefix, qp_storage to,
                               const char *dir, const char *file, qp_err *err)
{
    tensor_list l = { 0, qp_xcalloc((size_t)m->count, sizeof *l.tensor),
                      qp_xcalloc((size_t)m->count, sizeof *l.owned),
                      qp_xcalloc((size_t)m->count, sizeof *l.name) };
    qp_status rc = QP_OK;
    for (int64_t i = 0; i < m->count && !rc; i++)
        if (m->weight[i]->adapter == adapter) rc = add(&l, m, m->weight[i], prefix, to, err);
    char *path = qp_path_join(dir, file);
    if (!rc) rc = qp_safetensors_write(path, l.tensor, l.count, err);
    for (int64_t i = 0; i < l.count; i++) {
        free(l.owned[i]);
        free(l.name[i]);
    }
    free(path);
    free(l.tensor);
    free(l.owned);
    free(l.name);
    return rc;
}

static qp_status write_text(const char *dir, const char *file, const qp_buf *text, qp_err *err)
{
    char *path = qp_path_join(dir, file);
    qp_status rc = qp_file_write(path, text->data, text->len, err);
    free(path);
    return rc;
}

qp_status qp_model_save(qp_model *m, const char *dir, qp_storage dtype, qp_err *err)
{
    QP_ASSERT(!m->adapter.count, "saving a whole model whose adapter was not merged");
    qp_status rc = write_weights(m, false, "", dtype, dir, "model.safetensors", err);
    if (rc) return rc;
    qp_buf text = { 0 };
    qp_config_json(&m->config, dtype, &text);
    rc = write_text(dir, "config.json", &text, err);
    qp_buf_release(&text);
    return rc;
}

/* PEFT's target_modules: a kind such as q_proj where every layer has it, else each linear by its
 * whole name. */

typedef struct {
    const char *kind;
    int64_t count;
} kind_count;

static void count_kind(void *u, const char *name, qp_proj **slot)
{
    kind_count *k = u;
    (void)slot;
    k->count += !strcmp(qp_linear_kind(name), k->kind);
}

static void write_targets(qp_json_writer *w, qp_model *m)
{
    const qp_adapter *ad = &m->adapter;
    qp_json_key(w, "target_modules");
    qp_json_open_array(w);
    for (int64_t i = 0; i < ad->count; i++) {
        kind_count all = { qp_linear_kind(ad->linear[i].name), 0 };
        int64_t adapted = 0, before = 0;
        m->arch->each_linear(m, count_kind, &all);
        for (int64_t j = 0; j < ad->count; j++) {
            bool same = !strcmp(qp_linear_kind(ad->linear[j].name), all.kind);
            adapted += same;
            before += same && j < i;
        }
        if (adapted < all.count)
            qp_json_cstring(w, ad->linear[i].name);
        else if (!before)
            qp_json_cstring(w, all.kind);
    }
    qp_json_close_array(w);
}

static void write_alpha(qp_json_writer *w, double alpha) /* PEFT has whole numbers as such */
{
    if (alpha == floor(alpha) && alpha < 1e9)
        qp_json_int(w, (int64_t)alpha);
    else
        qp_json_double(w, alpha);
}

/* Linears that differ from the first one, whose values stand as r and lora_alpha. */
static void write_patterns(qp_json_writer *w, const qp_adapter *ad)
{
    qp_json_key(w, "rank_pattern"), qp_json_open_object(w);
    for (int64_t i = 1; i < ad->count; i++)
        if (ad->linear[i].r != ad->linear[0].r)
            qp_json_key(w, ad->linear[i].name), qp_json_int(w, ad->linear[i].r);
    qp_json_close_object(w);
    qp_json_key(w, "alpha_pattern"), qp_json_open_object(w);
    for (int64_t i = 1; i < ad->count; i++)
        if (ad->linear[i].alpha != ad->linear[0].alpha)
            qp_json_key(w, ad->linear[i].name), write_alpha(w, ad->linear[i].alpha);
    qp_json_close_object(w);
}

static void adapter_json(qp_model *m, const char *base_path, qp_buf *out)
{
    const qp_adapter *ad = &m->adapter;
    qp_json_writer w = { .out = out, .indent = 2 };
    qp_json_open_object(&w);
    qp_json_key(&w, "peft_type"), qp_json_cstring(&w, "LORA");
    qp_json_key(&w, "task_type"), qp_json_cstring(&w, "CAUSAL_LM");
    qp_json_key(&w, "base_model_name_or_path"), qp_json_cstring(&w, base_path);
    qp_json_key(&w, "r"), qp_json_int(&w, ad->linear[0].r);
    qp_json_key(&w, "lora_alpha"), write_alpha(&w, ad->linear[0].alpha);
    qp_json_key(&w, "lora_dropout"), qp_json_double(&w, ad->dropout);
    qp_json_key(&w, "use_rslora"), qp_json_bool(&w, ad->rslora);
    qp_json_key(&w, "use_dora"), qp_json_bool(&w, false);
    write_targets(&w, m);
    write_patterns(&w, ad);
    qp_json_key(&w, "bias"), qp_json_cstring(&w, "none");
    qp_json_key(&w, "fan_in_fan_out"), qp_json_bool(&w, false);
    qp_json_key(&w, "init_lora_weights"), qp_json_bool(&w, true);
    qp_json_key(&w, "modules_to_save"), qp_json_null(&w);
    qp_json_key(&w, "layers_to_transform"), qp_json_null(&w);
    qp_json_key(&w, "inference_mode"), qp_json_bool(&w, true);
    qp_json_close_object(&w);
    qp_buf_char(out, '\n');
}

qp_status qp_model_save_adapter(qp_model *m, const char *dir, const char *base_path, qp_err *err)
{
    QP_ASSERT(m->adapter.count, "saving the adapter of a model that has none");
    qp_status rc =
        write_weights(m, true, "base_model.model.", QP_F32, dir, "adapter_model.safetensors", err);
    if (rc) return rc;
    qp_buf text = { 0 };
    adapter_json(m, base_path, &text);
    rc = write_text(dir, "adapter_config.json", &text, err);
    qp_buf_release(&text);
    return rc;
}
