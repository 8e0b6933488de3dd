#include "model/config.h"
#include "tests/model/tiny.h"
#include "tests/suites.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SIZES                                                                                      \
    "\"hidden_size\": 64, \"intermediate_size\": 176, \"num_hidden_layers\": 3, "                  \
    "\"num_attention_heads\": 4, \"vocab_size\": 512"

static qp_err err;

static qp_config parse(const char *json)
{
    qp_config cfg;
    ck_assert_msg(!qp_config_parse(&cfg, json, strlen(json), &err), "%s", err.msg);
    return cfg;
}

static void refused(const char *json, const char *word)
{
    qp_config cfg;
    err = (qp_err){ 0 };
    ck_assert_int_eq(qp_config_parse(&cfg, json, strlen(json), &err), QP_BADFILE);
    ck_assert_msg(strstr(err.msg, word) != NULL, "\"%s\" does not say \"%s\"", err.msg, word);
}

START_TEST(what_is_left_out_has_transformers_defaults)
{
    qp_config c = parse("{" SIZES "}");
    ck_assert_str_eq(c.architecture, "LlamaForCausalLM");
    ck_assert_int_eq(c.kv_heads, 4);
    ck_assert_int_eq(c.head_dim, 16);
    ck_assert_int_eq(c.max_positions, 2048);
    ck_assert_double_eq(c.rope_theta, 10000);
    ck_assert_double_eq(c.norm_eps, 1e-6);
    ck_assert_double_eq(c.initializer_range, 0.02);
    ck_assert(!c.tied && !c.rope_scaled && c.n_eos == 0 && c.bos_id == -1);
}
END_TEST

START_TEST(both_styles_of_rope_settings_mean_the_same)
{
    static const char *const text[] = {
        "{" SIZES ", \"rope_theta\": 500000.0, \"rope_scaling\": {\"rope_type\": \"llama3\", "
        "\"factor\": 8.0, "
        "\"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, "
        "\"original_max_position_embeddings\": 8192}}",
        "{" SIZES
        ", \"rope_theta\": 500000, \"rope_scaling\": {\"type\": \"llama3\", \"factor\": 8, "
        "\"low_freq_factor\": 1, \"high_freq_factor\": 4, \"original_max_position_embeddings\": "
        "8192}}",
        "{" SIZES ", \"rope_scaling\": null, \"rope_parameters\": {\"rope_type\": \"llama3\", "
        "\"rope_theta\": 5e5, "
        "\"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, "
        "\"original_max_position_embeddings\": 8192}}",
    };
    for (int i = 0; i < 3; i++) {
        qp_config c = parse(text[i]);
        ck_assert(c.rope_scaled);
        ck_assert_double_eq(c.rope_theta, 500000);
        ck_assert_double_eq(c.rope_factor, 8);
        ck_assert_double_eq(c.rope_low_freq, 1);
        ck_assert_double_eq(c.rope_high_freq, 4);
        ck_assert_int_eq(c.rope_original_positions, 8192);
    }
    qp_config c = parse(
        "{" SIZES ", \"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 77.0}}");
    ck_assert(!c.rope_scaled && c.rope_theta == 77);
}
END_TEST

START_TEST(end_ids_are_one_or_several)
{
    qp_config c = parse("{" SIZES ", \"bos_token_id\": 1, \"eos_token_id\": [2, 3]}");
    ck_assert(c.bos_id == 1 && c.n_eos == 2 && c.eos_id[0] == 2 && c.eos_id[1] == 3);
    c = parse("{" SIZES ", \"eos_token_id\": 5}");
    ck_assert(c.n_eos == 1 && c.eos_id[0] == 5);
}
END_TEST

START_TEST(heads_may_be_wider_or_narrower_than_the_model)
{
    ck_assert_int_eq(parse("{" SIZES ", \"head_dim\": 20}").head_dim, 20);
    ck_assert_int_eq(parse("{" SIZES ", \"head_dim\": null}").head_dim, 16);
}
END_TEST

START_TEST(what_is_not_built_is_refused_by_name)
{
    refused("{" SIZES ", \"attention_bias\": true}", "attention_bias");
    refused("{" SIZES ", \"mlp_bias\": true}", "mlp_bias");
    refused("{" SIZES ", \"hidden_act\": \"gelu\"}", "hidden_act: gelu");
    refused("{" SIZES ", \"quantization_config\": {\"bits\": 4}}", "quantization_config");
    refused("{" SIZES ", \"architectures\": [\"MistralForCausalLM\"]}", "MistralForCausalLM");
    refused("{" SIZES ", \"model_type\": \"gemma\"}", "gemma");
    refused("{" SIZES ", \"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0}}",
            "rope_type yarn");
    refused("{" SIZES ", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 4.0}}",
            "rope_type linear");
    refused("{" SIZES ", \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 4.0}}",
            "low_freq_factor");
}
END_TEST

START_TEST(missing_and_absurd_sizes_are_named)
{
    refused("{\"hidden_size\": 64}", "intermediate_size is missing");
    refused("{}", "hidden_size is missing");
    refused("[]", "object");
    refused("{" SIZES ", \"num_key_value_heads\": 3}",
            "num_attention_heads 4 is no multiple of num_key_value_heads 3");
    refused("{" SIZES ", \"num_key_value_heads\": 0}", "num_key_value_heads");
    refused("{" SIZES ", \"head_dim\": 15}", "head_dim 15");
    refused("{" SIZES ", \"head_dim\": 16.5}", "head_dim");
    refused("{" SIZES ", \"max_position_embeddings\": 4294967296}", "max_position_embeddings");
    refused("{" SIZES ", \"max_position_embeddings\": -1}", "max_position_embeddings");
    refused("{" SIZES ", \"rms_norm_eps\": \"x\"}", "rms_norm_eps");
    refused("{" SIZES ", \"rms_norm_eps\": 0}", "rms_norm_eps");
    refused("{" SIZES ", \"eos_token_id\": [1,2,3,4,5,6,7,8,9]}", "eos_token_id");
    refused("{" SIZES ", \"eos_token_id\": \"x\"}", "eos_token_id");
    refused("{" SIZES ", \"tie_word_embeddings\": 1}", "tie_word_embeddings");
}
END_TEST

/* A made-up vocabulary size stands in until the tokenizer is known; a model cannot be made without
 * one. */
START_TEST(a_vocabulary_may_come_later_but_must_come)
{
    const char *json = "{\"hidden_size\": 8, \"intermediate_size\": 8, \"num_hidden_layers\": 1, "
                       "\"num_attention_heads\": 2}";
    qp_config c = parse(json);
    qp_model *m;
    qp_model_options o = { .compute = QP_F32, .load_in = QP_F32 };
    ck_assert_int_eq(c.vocab_size, 0);
    ck_assert_int_eq(qp_model_create(&m, &c, &o, &err), QP_BADFILE);
    ck_assert_ptr_nonnull(strstr(err.msg, "vocab_size 0"));
}
END_TEST

START_TEST(what_is_written_reads_back)
{
    qp_config want = tiny_config(), got;
    qp_buf text = { 0 };
    want.eos_id[1] = 9;
    want.n_eos = 1 + _i % 2;
    want.rope_scaled = _i < 2;
    want.tied = _i % 2;
    if (!want.rope_scaled)
        want.rope_factor = want.rope_low_freq = want.rope_high_freq = 0,
        want.rope_original_positions = 0;
    qp_config_json(&want, QP_BF16, &text);
    ck_assert_msg(!qp_config_parse(&got, text.data, text.len, &err), "%s", err.msg);
    if (want.n_eos == 1) want.eos_id[1] = 0;
    ck_assert_mem_eq(got.architecture, want.architecture, strlen(want.architecture) + 1);
    memcpy(got.architecture, want.architecture, sizeof got.architecture);
    ck_assert_int_eq(got.vocab_size, want.vocab_size);
    ck_assert_int_eq(got.layers, want.layers);
    ck_assert_int_eq(got.head_dim, want.head_dim);
    ck_assert_double_eq(got.norm_eps, want.norm_eps);
    ck_assert_double_eq(got.rope_factor, want.rope_factor);
    ck_assert_int_eq(got.rope_original_positions, want.rope_original_positions);
    ck_assert(got.tied == want.tied && got.rope_scaled == want.rope_scaled &&
              got.n_eos == want.n_eos);
    ck_assert_mem_eq(got.eos_id, want.eos_id, sizeof got.eos_id);
    ck_assert_ptr_nonnull(strstr(text.data, "\"bfloat16\""));
    qp_buf_release(&text);
}
END_TEST

/* A GGUF has only the divisors: the setting that made them is found again, blended pairs or none.
 */
START_TEST(scaling_is_inferred_from_its_divisors)
{
    static const struct {
        double theta, factor, low, high;
        int64_t head_dim, original;
    } k[] = {
        { 500000, 8, 1, 4, 128, 8192 },  { 500000, 32, 1, 4, 128, 8192 },
        { 500000, 32, 1, 4, 64, 8192 },  { 500000, 8, 1, 4, 16, 64 },
        { 500000, 8, 1, 4, 16, 8192 },   { 10000, 4, 1, 4, 16, 256 },
        { 500000, 16, 1, 2, 128, 8192 },
    };
    for (size_t i = 0; i < sizeof k / sizeof *k; i++) {
        qp_config cfg = tiny_config(), plain;
        cfg.rope_theta = k[i].theta, cfg.rope_factor = k[i].factor, cfg.rope_low_freq = k[i].low;
        cfg.rope_high_freq = k[i].high, cfg.head_dim = k[i].head_dim,
        cfg.rope_original_positions = k[i].original;
        plain = cfg;
        plain.rope_scaled = false;
        double scaled[64], base[64], found[64];
        float divisor[64];
        qp_config_frequencies(&cfg, scaled);
        qp_config_frequencies(&plain, base);
        for (int64_t j = 0; j < cfg.head_dim / 2; j++) divisor[j] = (float)(base[j] / scaled[j]);
        ck_assert_msg(qp_config_infer_scaling(&plain, divisor), "case %zu", i);
        ck_assert_double_eq(plain.rope_factor, k[i].factor);
        qp_config_frequencies(&plain, found);
        bool usual =
            k[i].high == 4; /* then original is a whole number, else known as well as f32 allows */
        for (int64_t j = 0; j < cfg.head_dim / 2; j++)
            ck_assert_double_eq_tol(found[j] / scaled[j], 1, usual ? 1e-12 : 1e-5);
        if (usual) ck_assert_int_eq(plain.rope_original_positions, k[i].original);
    }
    float odd[6] = { 1, 3, 2, 8, 8, 8 };
    qp_config cfg = tiny_config();
    ck_assert(!qp_config_infer_scaling(&cfg, odd));
    ck_assert(!cfg.rope_scaled);
}
END_TEST

START_TEST(the_golden_configurations_load)
{
    static const struct {
        const char *name;
        int64_t head_dim, layers;
        bool tied;
    } k[] = { { "models/tiny-llama31", 16, 3, false },
              { "models/tiny-tied-bf16", 8, 2, true },
              { "models/tiny-headdim-f16", 20, 2, false } };
    for (int i = 0; i < 3; i++) {
        qp_config cfg;
        const char *path = shared_path(k[i].name);
        if (!path) continue;
        ck_assert_msg(!qp_config_load(&cfg, path, &err), "%s", err.msg);
        ck_assert_int_eq(cfg.head_dim, k[i].head_dim);
        ck_assert_int_eq(cfg.layers, k[i].layers);
        ck_assert(cfg.tied == k[i].tied);
    }
}
END_TEST

Suite *suite_model_config(void)
{
    Suite *s = suite_create("model_config");
    TCase *t = tcase_create("json");
    tcase_add_test(t, what_is_left_out_has_transformers_defaults);
    tcase_add_test(t, both_styles_of_rope_settings_mean_the_same);
    tcase_add_test(t, end_ids_are_one_or_several);
    tcase_add_test(t, heads_may_be_wider_or_narrower_than_the_model);
    tcase_add_test(t, what_is_not_built_is_refused_by_name);
    tcase_add_test(t, missing_and_absurd_sizes_are_named);
    tcase_add_test(t, a_vocabulary_may_come_later_but_must_come);
    tcase_add_loop_test(t, what_is_written_reads_back, 0, 4);
    tcase_add_test(t, scaling_is_inferred_from_its_divisors);
    tcase_add_test(t, the_golden_configurations_load);
    suite_add_tcase(s, t);
    return s;
}
