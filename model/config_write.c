/* Our configuration as a config.json, in the style of transformers 4, which 5 reads too. */
#include "base/json.h"
#include "model/model.h"

static void write_rope_scaling(qp_json_writer *w, const qp_config *cfg)
{
    qp_json_key(w, "rope_scaling");
    if (!cfg->rope_scaled) {
        qp_json_null(w);
        return;
    }
    qp_json_open_object(w);
    qp_json_key(w, "factor"), qp_json_double(w, cfg->rope_factor);
    qp_json_key(w, "low_freq_factor"), qp_json_double(w, cfg->rope_low_freq);
    qp_json_key(w, "high_freq_factor"), qp_json_double(w, cfg->rope_high_freq);
    qp_json_key(w, "original_max_position_embeddings"),
        qp_json_int(w, cfg->rope_original_positions);
    qp_json_key(w, "rope_type"), qp_json_cstring(w, "llama3");
    qp_json_close_object(w);
}

static void write_eos(qp_json_writer *w, const qp_config *cfg)
{
    qp_json_key(w, "eos_token_id");
    if (cfg->n_eos == 0) qp_json_null(w);
    if (cfg->n_eos == 1) qp_json_int(w, cfg->eos_id[0]);
    if (cfg->n_eos < 2) return;
    qp_json_open_array(w);
    for (int i = 0; i < cfg->n_eos; i++) qp_json_int(w, cfg->eos_id[i]);
    qp_json_close_array(w);
}

static const char *torch_name(qp_storage s)
{
    return s == QP_F64    ? "float64"
           : s == QP_BF16 ? "bfloat16"
           : s == QP_F16  ? "float16"
                          : "float32";
}

void qp_config_json(const qp_config *cfg, qp_storage dtype, qp_buf *out)
{
    const struct {
        const char *key;
        int64_t value;
    } size[] = {
        { "head_dim", cfg->head_dim },
        { "hidden_size", cfg->hidden_size },
        { "intermediate_size", cfg->intermediate_size },
        { "max_position_embeddings", cfg->max_positions },
        { "num_attention_heads", cfg->heads },
        { "num_hidden_layers", cfg->layers },
        { "num_key_value_heads", cfg->kv_heads },
        { "vocab_size", cfg->vocab_size },
    };
    qp_json_writer w = { .out = out, .indent = 2 };
    qp_json_open_object(&w);
    qp_json_key(&w, "architectures"), qp_json_open_array(&w);
    qp_json_cstring(&w, cfg->architecture), qp_json_close_array(&w);
    qp_json_key(&w, "model_type"), qp_json_cstring(&w, "llama");
    for (size_t i = 0; i < sizeof size / sizeof *size; i++)
        qp_json_key(&w, size[i].key), qp_json_int(&w, size[i].value);
    qp_json_key(&w, "attention_bias"), qp_json_bool(&w, false);
    qp_json_key(&w, "attention_dropout"), qp_json_double(&w, 0);
    qp_json_key(&w, "mlp_bias"), qp_json_bool(&w, false);
    qp_json_key(&w, "hidden_act"), qp_json_cstring(&w, "silu");
    qp_json_key(&w, "initializer_range"), qp_json_double(&w, cfg->initializer_range);
    qp_json_key(&w, "rms_norm_eps"), qp_json_double(&w, cfg->norm_eps);
    qp_json_key(&w, "rope_theta"), qp_json_double(&w, cfg->rope_theta);
    write_rope_scaling(&w, cfg);
    qp_json_key(&w, "tie_word_embeddings"), qp_json_bool(&w, cfg->tied);
    qp_json_key(&w, "bos_token_id");
    cfg->bos_id < 0 ? qp_json_null(&w) : qp_json_int(&w, cfg->bos_id);
    write_eos(&w, cfg);
    qp_json_key(&w, "torch_dtype"), qp_json_cstring(&w, torch_name(dtype));
    qp_json_key(&w, "use_cache"), qp_json_bool(&w, true);
    qp_json_close_object(&w);
    qp_buf_char(out, '\n');
}
