/* GGUF metadata to our configuration. Keys: docs/gguf.md of ggml. */
#include "model/config.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REQUIRED = -1 };

static qp_status get_size(const qp_gguf *g, const char *key, int64_t otherwise, int64_t *to,
                          qp_err *err)
{
    if (!qp_gguf_find(g, key)) {
        if (otherwise == REQUIRED) return qp_fail(err, QP_BADFILE, "metadata %s is missing", key);
        *to = otherwise;
        return QP_OK;
    }
    if (!qp_gguf_int(g, key, to) || *to < 1 || *to > INT32_MAX)
        return qp_fail(err, QP_BADFILE, "metadata %s: must be an integer from 1 to 2147483647",
                       key);
    return QP_OK;
}

/* GGUF keeps 1e-05 as an f32: the shortest decimal that means the same f32 is what was meant. */
static double as_written(double v)
{
    char text[32];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtof(text, NULL) == (float)v) break;
    }
    return strtod(text, NULL);
}

static qp_status get_number(const qp_gguf *g, const char *key, double *to, qp_err *err)
{
    double v;
    if (!qp_gguf_find(g, key)) return QP_OK;
    if (!qp_gguf_double(g, key, &v) || !(v > 0) || isinf(v))
        return qp_fail(err, QP_BADFILE, "metadata %s: must be a positive number", key);
    *to = as_written(v);
    return QP_OK;
}

static bool is_text(const qp_gguf_text *t, const char *s)
{
    return t->len == strlen(s) && !memcmp(t->s, s, t->len);
}

static qp_status refuse_others(const qp_gguf *g, qp_err *err)
{
    qp_gguf_text t;
    int64_t experts;
    if (!qp_gguf_string(g, "general.architecture", &t))
        return qp_fail(err, QP_BADFILE, "metadata general.architecture is missing");
    if (!is_text(&t, "llama"))
        return qp_fail(err, QP_BADFILE, "general.architecture %.*s is not supported, only llama",
                       (int)(t.len < 64 ? t.len : 64), t.s);
    if (qp_gguf_string(g, "llama.rope.scaling.type", &t) && !is_text(&t, "none"))
        return qp_fail(err, QP_BADFILE, "llama.rope.scaling.type %.*s is not supported",
                       (int)(t.len < 64 ? t.len : 64), t.s);
    if (qp_gguf_int(g, "llama.expert_count", &experts) && experts)
        return qp_fail(err, QP_BADFILE, "llama.expert_count %lld: experts are not supported",
                       (long long)experts);
    return QP_OK;
}

static qp_status get_vocab(qp_config *cfg, const qp_gguf *g, qp_err *err)
{
    const qp_file_tensor *embed = qp_gguf_tensor(g, "token_embd.weight");
    if (!embed || embed->ndim != 2) return qp_fail(err, QP_BADFILE, "no matrix token_embd.weight");
    const qp_gguf_value *tokens = qp_gguf_find(g, "tokenizer.ggml.tokens");
    cfg->vocab_size = embed->shape[0];
    if (tokens && tokens->is_array && tokens->count > (uint64_t)cfg->vocab_size)
        return qp_fail(err, QP_BADFILE,
                       "tokenizer.ggml.tokens has %llu entries, token_embd.weight %lld rows",
                       (unsigned long long)tokens->count, (long long)cfg->vocab_size);
    return QP_OK;
}

static void get_special(qp_config *cfg, const qp_gguf *g)
{
    static const char *const ends[] = { "tokenizer.ggml.eos_token_id",
                                        "tokenizer.ggml.eot_token_id",
                                        "tokenizer.ggml.eom_token_id" };
    int64_t id;
    if (qp_gguf_int(g, "tokenizer.ggml.bos_token_id", &id) && id >= 0 && id < cfg->vocab_size)
        cfg->bos_id = (int32_t)id;
    for (int i = 0; i < 3; i++) {
        if (!qp_gguf_int(g, ends[i], &id) || id < 0 || id >= cfg->vocab_size) continue;
        bool known = false;
        for (int j = 0; j < cfg->n_eos; j++) known |= cfg->eos_id[j] == id;
        if (!known) cfg->eos_id[cfg->n_eos++] = (int32_t)id;
    }
}

/* The divisors say how the frequencies were scaled, not by which setting. */
static void get_scaling(qp_config *cfg, const qp_gguf *g)
{
    const qp_file_tensor *t = qp_gguf_tensor(g, "rope_freqs.weight");
    if (!t || t->storage != QP_F32 || t->numel != cfg->head_dim / 2) return;
    float *divisor = qp_xmalloc(t->bytes);
    memcpy(divisor, t->data, t->bytes);
    qp_config_infer_scaling(cfg, divisor);
    free(divisor);
}

qp_status qp_config_gguf(qp_config *cfg, const qp_gguf *g, qp_err *err)
{
    int64_t heads, rotated, value;
    qp_status rc;
    *cfg = (qp_config){ .architecture = "LlamaForCausalLM",
                        .rope_theta = 10000,
                        .norm_eps = 1e-5,
                        .initializer_range = 0.02,
                        .bos_id = -1 };
    if ((rc = refuse_others(g, err)) ||
        (rc = get_size(g, "llama.block_count", REQUIRED, &cfg->layers, err)) ||
        (rc = get_size(g, "llama.embedding_length", REQUIRED, &cfg->hidden_size, err)) ||
        (rc = get_size(g, "llama.feed_forward_length", REQUIRED, &cfg->intermediate_size, err)) ||
        (rc = get_size(g, "llama.context_length", REQUIRED, &cfg->max_positions, err)) ||
        (rc = get_size(g, "llama.attention.head_count", REQUIRED, &heads, err)) ||
        (rc = get_size(g, "llama.attention.head_count_kv", heads, &cfg->kv_heads, err)) ||
        (rc = get_size(g, "llama.rope.dimension_count", cfg->hidden_size / heads, &rotated, err)) ||
        (rc = get_size(g, "llama.attention.key_length", rotated, &cfg->head_dim, err)) ||
        (rc = get_size(g, "llama.attention.value_length", cfg->head_dim, &value, err)) ||
        (rc = get_number(g, "llama.attention.layer_norm_rms_epsilon", &cfg->norm_eps, err)) ||
        (rc = get_number(g, "llama.rope.freq_base", &cfg->rope_theta, err)) ||
        (rc = get_vocab(cfg, g, err)))
        return rc;
    if (rotated != cfg->head_dim || value != cfg->head_dim)
        return qp_fail(
            err, QP_BADFILE,
            "llama.rope.dimension_count %lld, key_length %lld and value_length %lld must be equal",
            (long long)rotated, (long long)cfg->head_dim, (long long)value);
    cfg->heads = heads;
    cfg->tied = !qp_gguf_tensor(g, "output.weight");
    get_special(cfg, g);
    if ((rc = qp_config_check(cfg, err))) return rc;
    get_scaling(cfg, g);
    return QP_OK;
}

/* Does cfg's setting divide the plain frequencies by `divisor`? The file has f32. */
static bool reproduces(const qp_config *cfg, const float *divisor)
{
    int64_t n = cfg->head_dim / 2;
    double *inv = qp_xmalloc((size_t)n * sizeof *inv);
    qp_config_frequencies(cfg, inv);
    bool same = true;
    for (int64_t i = 0; i < n; i++) {
        double plain = pow(cfg->rope_theta, -2.0 * (double)i / (double)cfg->head_dim);
        same &= fabs(inv[i] * divisor[i] / plain - 1) < 1e-5;
    }
    free(inv);
    return same;
}

static bool try_setting(qp_config *cfg, const float *divisor, double low, double high,
                        double original)
{
    if (!(low > 0 && high > low && original >= 1 && original < INT32_MAX)) return false;
    cfg->rope_low_freq = low;
    cfg->rope_high_freq = high;
    cfg->rope_original_positions = llround(original);
    return reproduces(cfg, divisor);
}

/* A blended pair with plain frequency f has original*f/2pi = low + (high - low)*keep, where keep
   follows from its divisor. Every known model has low 1 and high 4: one blended pair then tells
   `original`. Two tell the ratios of all three, and low is taken as 1. Without any, powers of two
   are tried. */
bool qp_config_infer_scaling(qp_config *cfg, const float *divisor)
{
    int64_t n = cfg->head_dim / 2, blended = 0;
    double factor = 1, turn[2] = { 0 }, keep[2] = { 0 };
    for (int64_t i = 0; i < n; i++) factor = fmax(factor, divisor[i]);
    if (fabs(factor - round(factor)) < 1e-4 * factor) factor = round(factor);
    cfg->rope_scaled = factor != 1;
    if (!cfg->rope_scaled) return true;
    cfg->rope_factor = as_written(factor);
    for (int64_t i = 0; i < n && blended < 2; i++) {
        double k = (1 / divisor[i] - 1 / factor) / (1 - 1 / factor);
        if (!(k > 1e-4 && k < 1 - 1e-4)) continue;
        turn[blended] = pow(cfg->rope_theta, -2.0 * (double)i / (double)cfg->head_dim) / (2 * M_PI);
        keep[blended++] = k;
    }
    if (blended && try_setting(cfg, divisor, 1, 4, (1 + 3 * keep[0]) / turn[0])) return true;
    if (blended == 2) {
        /* original*turn[i] - width*keep[i] = 1 */
        double det = turn[1] * keep[0] - turn[0] * keep[1];
        if (try_setting(cfg, divisor, 1, 1 + (turn[0] - turn[1]) / det, (keep[0] - keep[1]) / det))
            return true;
    }
    for (double original = 16; original <= 1 << 20; original *= 2)
        if (try_setting(cfg, divisor, 1, 4, original)) return true;
    cfg->rope_scaled = false;
    return false;
}
