#include "tests/model/tiny.h"
#include "base/rng.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

qp_config tiny_config(void)
{
    return (qp_config){ .architecture = "LlamaForCausalLM",
                        .vocab_size = 97,
                        .hidden_size = 32,
                        .intermediate_size = 80,
                        .layers = 2,
                        .heads = 4,
                        .kv_heads = 2,
                        .head_dim = 12,
                        .max_positions = 512,
                        .rope_theta = 10000,
                        .norm_eps = 1e-5,
                        .initializer_range = 0.2,
                        .rope_scaled = true,
                        .rope_factor = 8,
                        .rope_low_freq = 1,
                        .rope_high_freq = 4,
                        .rope_original_positions = 64,
                        .bos_id = 1,
                        .eos_id = { 2 },
                        .n_eos = 1 };
}

qp_model *tiny_model(const qp_config *cfg, qp_storage compute, bool train_base)
{
    qp_model *m;
    qp_err err = { 0 };
    qp_model_options o = {
        .compute = compute, .load_in = compute, .train_base = train_base, .seed = 7
    };
    ck_assert_msg(!qp_model_create(&m, cfg, &o, &err), "%s", err.msg);
    return m;
}

void tiny_seal(qp_model *m)
{
    qp_err err = { 0 };
    ck_assert_msg(!qp_model_seal(m, &err), "%s", err.msg);
}

qp_model *tiny_sealed(const qp_config *cfg, qp_storage compute, bool train_base)
{
    qp_model *m = tiny_model(cfg, compute, train_base);
    tiny_seal(m);
    return m;
}

void tiny_add_lora(qp_model *m, double dropout)
{
    static const char *const all[] = { "q_proj",    "k_proj",  "v_proj",   "o_proj",
                                       "gate_proj", "up_proj", "down_proj" };
    qp_err err = { 0 };
    qp_lora_options o = { .r = 4, .alpha = 8, .dropout = dropout, .targets = all, .n_targets = 7 };
    ck_assert_msg(!qp_model_add_lora(m, &o, &err), "%s", err.msg);
}

void tiny_randomise(qp_model *m, const char *name_part, double scale)
{
    qp_params *p = qp_model_params(m);
    for (int64_t i = 0; i < p->count; i++) {
        if (!strstr(p->item[i].name, name_part)) continue;
        int64_t n = qp_numel(p->item[i].t);
        double *v = qp_xmalloc((size_t)n * sizeof *v);
        for (int64_t j = 0; j < n; j++) v[j] = scale * qp_rng_normal(99, (uint64_t)i, (uint64_t)j);
        qp_params_set(p, &p->item[i], QP_F64, v);
        free(v);
    }
    qp_params_publish(p);
}

void tiny_ctx(qp_ctx *c)
{
    qp_err err = { 0 };
    ck_assert_msg(!qp_ctx_init(c, qp_cpu_backend(), (size_t)1 << 30, &err), "%s", err.msg);
}

void tiny_document(qp_batch *b, const qp_config *cfg, int64_t n, uint64_t seed)
{
    int32_t *ids = qp_xmalloc((size_t)n * sizeof *ids);
    for (int64_t i = 0; i < n; i++)
        ids[i] = (int32_t)qp_rng_below(seed, 0, (uint64_t)i, (uint64_t)cfg->vocab_size);
    qp_batch_add(b, ids, NULL, n);
    free(ids);
}

double tiny_step(qp_ctx *c, qp_model *m, const qp_batch *b)
{
    qp_params_begin_step(qp_model_params(m));
    qp_scope s;
    qp_scope_open(&c->arena, &s);
    qp_tensor *loss = qp_model_loss(c, m, b, NULL);
    qp_backward(c, loss, 1.0 / (double)b->targets_n);
    double sum = loss->storage == QP_F64 ? *(double *)loss->data : (double)*(float *)loss->data;
    qp_scope_close(&c->arena, &s);
    qp_params_end_grads(qp_model_params(m));
    return sum;
}

static void *copy(const void *data, size_t bytes) { return memcpy(qp_xmalloc(bytes), data, bytes); }

void *tiny_hidden(qp_ctx *c, qp_model *m, const qp_batch *b, qp_kv *kv, size_t *row_bytes)
{
    qp_scope s;
    bool was = c->recording;
    c->recording = false;
    qp_scope_open(&c->arena, &s);
    qp_tensor *h = qp_model_hidden(c, m, b, kv);
    void *out = copy(h->data, qp_value_bytes(h));
    *row_bytes = qp_storage_bytes(h->storage, qp_cols(h));
    qp_scope_close(&c->arena, &s);
    c->recording = was;
    return out;
}

float *tiny_logits(qp_ctx *c, qp_model *m, const qp_batch *b)
{
    qp_scope s;
    bool was = c->recording;
    c->recording = false;
    qp_scope_open(&c->arena, &s);
    qp_tensor *y = qp_model_logits(c, m, qp_model_hidden(c, m, b, NULL));
    float *out = copy(y->data, qp_value_bytes(y));
    qp_scope_close(&c->arena, &s);
    c->recording = was;
    return out;
}

const char *shared_path(const char *name)
{
    static char path[512];
    const char *shared = getenv("QP_SHARED");
    snprintf(path, sizeof path, "%s/golden/%s", shared ? shared : "../shared", name);
    if (!access(path, R_OK)) return path;
    fprintf(stderr, "NOT TESTED: %s is absent (QP_SHARED says where shared data is)\n", path);
    return NULL;
}
