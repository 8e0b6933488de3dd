/* config.json to sizes. Keys and defaults as in Hugging Face's LlamaConfig, but what would
   change the computation and is not built is refused by name. */
#include "model/config.h"
#include "base/json.h"
#include "base/zio.h"
#include "model/arch.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* NULL: absent, or null */
static const qp_value *get(const qp_value *object, const char *key)
{
    const qp_value *v = qp_json_get(object, key);
    return v && v->kind != QP_JSON_NULL ? v : NULL;
}

/* A positive integer below 2^31; *to is left alone when the key is absent and not required. */
static qp_status get_size(const qp_value *o, const char *key, bool required, int64_t *to,
                          qp_err *err)
{
    const qp_value *v = get(o, key);
    if (!v) return required ? qp_fail(err, QP_BADFILE, "%s is missing", key) : QP_OK;
    if (v->kind != QP_JSON_NUMBER || !v->is_integer || v->integer < 1 || v->integer > INT32_MAX)
        return qp_fail(err, QP_BADFILE, "%s: must be an integer from 1 to 2147483647", key);
    *to = v->integer;
    return QP_OK;
}

static qp_status get_number(const qp_value *o, const char *key, bool required, double *to,
                            qp_err *err)
{
    const qp_value *v = get(o, key);
    if (!v) return required ? qp_fail(err, QP_BADFILE, "%s is missing", key) : QP_OK;
    if (v->kind != QP_JSON_NUMBER || !(v->number > 0) || isinf(v->number))
        return qp_fail(err, QP_BADFILE, "%s: must be a positive number", key);
    *to = v->number;
    return QP_OK;
}

static qp_status get_id(const qp_value *v, const char *key, int32_t *to, qp_err *err)
{
    if (v->kind != QP_JSON_NUMBER || !v->is_integer || v->integer < 0 || v->integer > INT32_MAX)
        return qp_fail(err, QP_BADFILE, "%s: must be a token id", key);
    *to = (int32_t)v->integer;
    return QP_OK;
}

static qp_status get_eos(qp_config *cfg, const qp_value *o, qp_err *err)
{
    const qp_value *v = get(o, "eos_token_id");
    enum { MOST = sizeof cfg->eos_id / sizeof *cfg->eos_id };
    if (!v) return QP_OK;
    if (v->kind != QP_JSON_ARRAY) {
        cfg->n_eos = 1;
        return get_id(v, "eos_token_id", &cfg->eos_id[0], err);
    }
    if (v->count > MOST)
        return qp_fail(err, QP_BADFILE, "eos_token_id: %lld ids, at most %d", (long long)v->count,
                       MOST);
    for (const qp_value *e = v->child; e; e = e->next) {
        qp_status rc = get_id(e, "eos_token_id", &cfg->eos_id[cfg->n_eos++], err);
        if (rc) return rc;
    }
    return QP_OK;
}

/* transformers 4 has rope_theta at the top and rope_scaling beside it, 5 has both in
   rope_parameters; very old files say "type" instead of "rope_type". */
static qp_status get_rope(qp_config *cfg, const qp_value *o, qp_err *err)
{
    const qp_value *r = get(o, "rope_parameters");
    const char *where = r ? "rope_parameters" : "rope_scaling";
    if (!r) r = get(o, "rope_scaling");
    qp_status rc = get_number(o, "rope_theta", false, &cfg->rope_theta, err);
    if (rc || !r) return rc;
    if (r->kind != QP_JSON_OBJECT) return qp_fail(err, QP_BADFILE, "%s: must be an object", where);
    const qp_value *type = get(r, "rope_type");
    if (!type) type = get(r, "type");
    if (type && type->kind != QP_JSON_STRING)
        return qp_fail(err, QP_BADFILE, "%s: rope_type must be a string", where);
    if ((rc = get_number(r, "rope_theta", false, &cfg->rope_theta, err)))
        return qp_wrap(err, "%s", where);
    if (!type || !strcmp(type->str, "default")) return QP_OK;
    if (strcmp(type->str, "llama3"))
        return qp_fail(err, QP_BADFILE, "%s: rope_type %s is not supported (default, llama3)",
                       where, type->str);
    cfg->rope_scaled = true;
    if ((rc = get_number(r, "factor", true, &cfg->rope_factor, err)) ||
        (rc = get_number(r, "low_freq_factor", true, &cfg->rope_low_freq, err)) ||
        (rc = get_number(r, "high_freq_factor", true, &cfg->rope_high_freq, err)) ||
        (rc = get_size(r, "original_max_position_embeddings", true, &cfg->rope_original_positions,
                       err)))
        return qp_wrap(err, "%s", where);
    return QP_OK;
}

/* What a Llama of ours always is; any other value would be another model. */
static const struct {
    const char *key;
    enum { NOT_TRUE, NOT_PRESENT, NOT_NONZERO } rule;
} refused[] = {
    { "attention_bias", NOT_TRUE },
    { "mlp_bias", NOT_TRUE },
    { "attention_dropout", NOT_NONZERO },
    { "quantization_config", NOT_PRESENT },
};

static qp_status refuse_others(const qp_value *o, qp_err *err)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const qp_value *v = get(o, refused[i].key);
        if (!v) continue;
        bool plain = refused[i].rule == NOT_TRUE      ? v->kind == QP_JSON_FALSE
                     : refused[i].rule == NOT_NONZERO ? v->kind == QP_JSON_NUMBER && v->number == 0
                                                      : false;
        if (!plain)
            return qp_fail(err, QP_BADFILE, "%s: not supported in a Llama here", refused[i].key);
    }
    const qp_value *act = get(o, "hidden_act");
    if (act && (act->kind != QP_JSON_STRING || strcmp(act->str, "silu")))
        return qp_fail(err, QP_BADFILE, "hidden_act: %s is not supported, only silu",
                       act->kind == QP_JSON_STRING ? act->str : "a value that is no string");
    return QP_OK;
}

static qp_status get_architecture(qp_config *cfg, const qp_value *o, qp_err *err)
{
    const qp_value *list = get(o, "architectures"), *type = get(o, "model_type");
    const qp_value *a = list && list->kind == QP_JSON_ARRAY ? list->child : NULL;
    const char *name = a && a->kind == QP_JSON_STRING ? a->str : "LlamaForCausalLM";
    if (!a && type && (type->kind != QP_JSON_STRING || strcmp(type->str, "llama")))
        return qp_fail(err, QP_BADFILE, "model_type: %s is not supported, only llama",
                       type->kind == QP_JSON_STRING ? type->str : "a value that is no string");
    snprintf(cfg->architecture, sizeof cfg->architecture, "%s", name);
    return QP_OK;
}

static qp_status get_all(qp_config *cfg, const qp_value *o, qp_err *err)
{
    qp_status rc;
    const qp_value *v;
    *cfg = (qp_config){ .max_positions = 2048,
                        .rope_theta = 10000,
                        .norm_eps = 1e-6,
                        .initializer_range = 0.02,
                        .bos_id = -1 };
    if (o->kind != QP_JSON_OBJECT) return qp_fail(err, QP_BADFILE, "must be a JSON object");
    if ((rc = get_architecture(cfg, o, err)) || (rc = refuse_others(o, err)) ||
        (rc = get_size(o, "hidden_size", true, &cfg->hidden_size, err)) ||
        (rc = get_size(o, "intermediate_size", true, &cfg->intermediate_size, err)) ||
        (rc = get_size(o, "num_hidden_layers", true, &cfg->layers, err)) ||
        (rc = get_size(o, "num_attention_heads", true, &cfg->heads, err)) ||
        (rc = get_size(o, "vocab_size", false, &cfg->vocab_size, err)))
        return rc;
    cfg->kv_heads = cfg->heads;
    if ((rc = get_size(o, "num_key_value_heads", false, &cfg->kv_heads, err)) ||
        (rc = get_size(o, "head_dim", false, &cfg->head_dim, err)) ||
        (rc = get_size(o, "max_position_embeddings", false, &cfg->max_positions, err)) ||
        (rc = get_number(o, "rms_norm_eps", false, &cfg->norm_eps, err)) ||
        (rc = get_number(o, "initializer_range", false, &cfg->initializer_range, err)) ||
        (rc = get_rope(cfg, o, err)) || (rc = get_eos(cfg, o, err)))
        return rc;
    if ((v = get(o, "bos_token_id")) && (rc = get_id(v, "bos_token_id", &cfg->bos_id, err)))
        return rc;
    v = get(o, "tie_word_embeddings");
    if (v && v->kind != QP_JSON_TRUE && v->kind != QP_JSON_FALSE)
        return qp_fail(err, QP_BADFILE, "tie_word_embeddings: must be true or false");
    cfg->tied = v && v->kind == QP_JSON_TRUE;
    if (!cfg->head_dim) {
        if (cfg->hidden_size % cfg->heads)
            return qp_fail(err, QP_BADFILE,
                           "hidden_size %lld is no multiple of num_attention_heads %lld and "
                           "head_dim is missing",
                           (long long)cfg->hidden_size, (long long)cfg->heads);
        cfg->head_dim = cfg->hidden_size / cfg->heads;
    }
    return QP_OK;
}

qp_status qp_config_check(const qp_config *cfg, qp_err *err)
{
    const struct {
        const char *name;
        int64_t value, most;
    } size[] = {
        { "vocab_size", cfg->vocab_size, INT32_MAX },
        { "hidden_size", cfg->hidden_size, 1 << 20 },
        { "intermediate_size", cfg->intermediate_size, 1 << 22 },
        { "num_hidden_layers", cfg->layers, 1 << 10 },
        { "num_attention_heads", cfg->heads, 1 << 14 },
        { "num_key_value_heads", cfg->kv_heads, 1 << 14 },
        { "head_dim", cfg->head_dim, 1 << 14 },
    };
    if (!qp_arch_find(cfg->architecture))
        return qp_fail(err, QP_BADFILE, "architecture %s is not supported, only %s",
                       cfg->architecture, qp_arch_known());
    for (size_t i = 0; i < sizeof size / sizeof *size; i++)
        if (size[i].value < 1 || size[i].value > size[i].most)
            return qp_fail(err, QP_BADFILE, "%s %lld: must be from 1 to %lld", size[i].name,
                           (long long)size[i].value, (long long)size[i].most);
    if (cfg->heads % cfg->kv_heads)
        return qp_fail(err, QP_BADFILE,
                       "num_attention_heads %lld is no multiple of num_key_value_heads %lld",
                       (long long)cfg->heads, (long long)cfg->kv_heads);
    if (cfg->head_dim % 2)
        return qp_fail(err, QP_BADFILE, "head_dim %lld: must be even, positions rotate pairs",
                       (long long)cfg->head_dim);
    if (cfg->rope_scaled && !(cfg->rope_high_freq > cfg->rope_low_freq))
        return qp_fail(err, QP_BADFILE,
                       "rope: high_freq_factor %g must be above low_freq_factor %g",
                       cfg->rope_high_freq, cfg->rope_low_freq);
    return QP_OK;
}

qp_status qp_config_parse(qp_config *cfg, const char *json, size_t len, qp_err *err)
{
    qp_value *root = NULL;
    qp_status rc = qp_json_parse(&root, json, len, err);
    if (!rc) rc = get_all(cfg, root, err);
    qp_json_free(root);
    if (rc) return rc;
    qp_config sizes = *cfg;
    if (!sizes.vocab_size) sizes.vocab_size = 1; /* from scratch it comes from the tokenizer */
    return qp_config_check(&sizes, err);
}

static qp_status load_json(qp_config *cfg, const char *dir, qp_err *err)
{
    char *path = qp_path_join(dir, "config.json");
    qp_buf text = { 0 };
    qp_status rc = qp_file_read(path, &text, err);
    if (!rc) {
        rc = qp_config_parse(cfg, text.data, text.len, err);
        if (!rc && !cfg->vocab_size) rc = qp_fail(err, QP_BADFILE, "vocab_size is missing");
        if (rc) qp_wrap(err, "%s", path);
    }
    qp_buf_release(&text);
    free(path);
    return rc;
}

/* A file out of a model's folder, which people name instead of the folder. */
static bool is_part(const char *path)
{
    static const char *const part[] = { ".safetensors", ".json", ".bin", ".pth", ".pt" };
    size_t n = strlen(path);
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        size_t k = strlen(part[i]);
        if (n > k && !strcmp(path + n - k, part[i])) return true;
    }
    return false;
}

qp_status qp_config_load(qp_config *cfg, const char *path, qp_err *err)
{
    if (qp_path_is_dir(path)) return load_json(cfg, path, err);
    if (is_part(path))
        return qp_fail(err, QP_USAGE,
                       "%s: a file of a model, wanted its folder (with config.json) or a .gguf",
                       path);
    qp_gguf g = { 0 };
    qp_status rc = qp_gguf_open(&g, path, err);
    if (!rc && (rc = qp_config_gguf(cfg, &g, err))) qp_wrap(err, "%s", path);
    qp_gguf_release(&g);
    return rc;
}

/* Llama 3.1: wavelengths below original/high stay, above original/low are stretched by factor,
   between them the two are blended. */
void qp_config_frequencies(const qp_config *cfg, double *inv_freq)
{
    for (int64_t i = 0; i < cfg->head_dim / 2; i++) {
        double f = pow(cfg->rope_theta, -2.0 * (double)i / (double)cfg->head_dim);
        if (cfg->rope_scaled) {
            double turns = (double)cfg->rope_original_positions * f / (2 * M_PI);
            double keep = (turns - cfg->rope_low_freq) / (cfg->rope_high_freq - cfg->rope_low_freq);
            keep = fmin(1, fmax(0, keep));
            f *= keep + (1 - keep) / cfg->rope_factor;
        }
        inv_freq[i] = f;
    }
}
