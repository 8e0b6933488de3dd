#include "base/json.h"
#include "base/zio.h"
#include "model/adapter.h"
#include "model/arch.h"
#include "tests/model/tiny.h"
#include "tests/suites.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char dir[64];
static qp_err err;

static void set_up(void)
{
    strcpy(dir, "/tmp/qp_adapter_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}
static void tear_down(void) { ck_assert_msg(!qp_remove_tree(dir, &err), "%s", err.msg); }

START_TEST(targets_match_whole_name_parts)
{
    ck_assert(qp_target_matches("q_proj", "model.layers.0.self_attn.q_proj"));
    ck_assert(qp_target_matches("self_attn.q_proj", "model.layers.0.self_attn.q_proj"));
    ck_assert(
        qp_target_matches("model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.q_proj"));
    ck_assert(!qp_target_matches("proj", "model.layers.0.self_attn.q_proj"));
    ck_assert(!qp_target_matches("", "model.layers.0.self_attn.q_proj"));
    ck_assert(!qp_target_matches("q_proj", "q_pro"));
}
END_TEST

static const float *master(qp_model *m, const char *name)
{
    qp_param *p = qp_params_find(qp_model_params(m), name);
    ck_assert_msg(p != NULL, "no %s", name);
    return (const float *)qp_model_params(m)->master + p->lo;
}

/* Kaiming with a = sqrt 5: uniform within 1/sqrt(in), variance a third of its square. */
START_TEST(a_fresh_adapter_starts_as_pefts)
{
    static const char *const targets[] = { "q_proj", "down_proj" };
    const qp_config cfg = tiny_config();
    qp_model *m = tiny_model(&cfg, QP_F32, false);
    qp_lora_options o = { .r = 64, .alpha = 16, .targets = targets, .n_targets = 2 };
    ck_assert_msg(!qp_model_add_lora(m, &o, &err), "%s", err.msg);
    tiny_seal(m);
    ck_assert_int_eq(qp_model_params(m)->count, 2 * 2 * 2);
    const float *a = master(m, "model.layers.1.mlp.down_proj.lora_A.weight");
    const float *b = master(m, "model.layers.1.mlp.down_proj.lora_B.weight");
    const double bound = 1 / sqrt(80);
    double mean = 0, square = 0, most = 0;
    for (int64_t i = 0; i < 64 * 80; i++) {
        mean += (double)a[i] / (64 * 80);
        square += (double)a[i] * (double)a[i] / (64 * 80);
        most = fmax(most, fabs((double)a[i]));
    }
    ck_assert_double_eq_tol(mean, 0, 4 * bound / sqrt(3) / sqrt(64 * 80)); /* four sigma */
    ck_assert_double_eq_tol(square / (bound * bound / 3), 1, 0.06);
    ck_assert_double_le(most, bound);
    ck_assert_double_gt(most, 0.99 * bound);
    for (int64_t i = 0; i < 32 * 64; i++) ck_assert_double_eq((double)b[i], 0);
    ck_assert_mem_ne(a, master(m, "model.layers.0.mlp.down_proj.lora_A.weight"),
                     64 * 80 * sizeof *a);
    qp_model_free(m);
}
END_TEST

START_TEST(values_depend_on_seed_and_name_alone)
{
    static const char *const some[] = { "v_proj" };
    const qp_config cfg = tiny_config();
    const char *name = "model.layers.1.self_attn.v_proj.lora_A.weight";
    qp_lora_options o = { .r = 4, .alpha = 8, .targets = some, .n_targets = 1 };
    qp_model *all = tiny_model(&cfg, QP_F32, false), *few = tiny_model(&cfg, QP_F32, false);
    tiny_add_lora(all, 0);
    ck_assert_msg(!qp_model_add_lora(few, &o, &err), "%s", err.msg);
    tiny_seal(all);
    tiny_seal(few);
    ck_assert_mem_eq(master(all, name), master(few, name), 4 * 32 * sizeof(float));
    qp_model_free(all);
    qp_model_free(few);
}
END_TEST

START_TEST(wrong_options_are_usage_errors)
{
    static const char *const wrong[] = { "q_proj", "wq_proj" };
    const qp_config cfg = tiny_config();
    const struct {
        qp_lora_options o;
        const char *word;
    } k[] = {
        { { 4, 8, 0, false, wrong, 2 }, "wq_proj is no linear of this model (q_proj, k_proj" },
        { { 0, 8, 0, false, wrong, 1 }, "lora_r 0" },
        { { 4, 8, 1, false, wrong, 1 }, "lora_dropout 1" },
        { { 4, 8, 0, false, wrong, 0 }, "lora_target_modules" },
    };
    for (size_t i = 0; i < sizeof k / sizeof *k; i++) {
        qp_model *m = tiny_model(&cfg, QP_F32, false);
        ck_assert_int_eq(qp_model_add_lora(m, &k[i].o, &err), QP_USAGE);
        ck_assert_msg(strstr(err.msg, k[i].word) != NULL, "\"%s\" does not say \"%s\"", err.msg,
                      k[i].word);
        qp_model_free(m);
    }
    qp_model *m = tiny_model(&cfg, QP_F32, false);
    tiny_add_lora(m, 0);
    ck_assert_int_eq(qp_model_add_lora(m, &k[0].o, &err), QP_USAGE);
    qp_model_free(m);
}
END_TEST

static void write_config(const char *text)
{
    char *path = qp_path_join(dir, "adapter_config.json");
    ck_assert_msg(!qp_file_write(path, text, strlen(text), &err), "%s", err.msg);
    free(path);
}

static qp_buf read_config(void)
{
    qp_buf text = { 0 };
    char *path = qp_path_join(dir, "adapter_config.json");
    ck_assert_msg(!qp_file_read(path, &text, &err), "%s", err.msg);
    free(path);
    return text;
}

START_TEST(a_saved_adapter_loads_with_the_same_bits)
{
    const qp_config cfg = tiny_config();
    qp_ctx c;
    tiny_ctx(&c);
    qp_model *m = tiny_model(&cfg, QP_F32, false), *again = tiny_model(&cfg, QP_F32, false);
    tiny_add_lora(m, 0.125);
    tiny_seal(m);
    tiny_randomise(m, "lora_B", 0.3);
    ck_assert_msg(!qp_model_save_adapter(m, dir, "some/base", &err), "%s", err.msg);
    ck_assert_msg(!qp_model_load_adapter(again, dir, &err), "%s", err.msg);
    tiny_seal(again);
    ck_assert_double_eq(again->adapter.dropout, 0.125);
    qp_batch b = { 0 };
    size_t row;
    tiny_document(&b, &cfg, 20, 1);
    void *x = tiny_hidden(&c, m, &b, NULL, &row), *y = tiny_hidden(&c, again, &b, NULL, &row);
    ck_assert_mem_eq(x, y, 20 * row);
    ck_assert_mem_eq(qp_model_params(m)->master, qp_model_params(again)->master,
                     (size_t)qp_model_params(m)->n * sizeof(float));
    free(x);
    free(y);
    qp_batch_release(&b);
    qp_model_free(m);
    qp_model_free(again);
    qp_ctx_release(&c);
}
END_TEST

/* Ranks and scales that differ by linear survive the way out and in again. */
START_TEST(rank_and_alpha_patterns_are_honoured)
{
    static const char *const two[] = { "q_proj", "layers.1.mlp.up_proj" };
    const qp_config cfg = tiny_config();
    qp_lora_options o = { .r = 4, .alpha = 8, .rslora = true, .targets = two, .n_targets = 2 };
    qp_model *m = tiny_model(&cfg, QP_F32, false), *again = tiny_model(&cfg, QP_F32, false);
    ck_assert_msg(!qp_model_add_lora(m, &o, &err), "%s", err.msg);
    tiny_seal(m);
    m->adapter.linear[2].alpha = 32; /* as if alpha_pattern had said so */
    ck_assert_msg(!qp_model_save_adapter(m, dir, "base", &err), "%s", err.msg);
    qp_buf text = read_config();
    ck_assert_ptr_nonnull(strstr(text.data, "\"q_proj\""));
    ck_assert_ptr_nonnull(strstr(text.data, "\"model.layers.1.mlp.up_proj\""));
    qp_buf_release(&text);
    ck_assert_msg(!qp_model_load_adapter(again, dir, &err), "%s", err.msg);
    ck_assert_int_eq(again->adapter.count, 3);
    ck_assert(again->adapter.rslora);
    ck_assert_double_eq(again->adapter.linear[0].alpha, 8);
    ck_assert_double_eq(again->adapter.linear[2].alpha, 32);
    qp_model_free(m);
    qp_model_free(again);
}
END_TEST

#define LORA                                                                                       \
    "\"peft_type\": \"LORA\", \"r\": 4, \"lora_alpha\": 8, \"target_modules\": [\"q_proj\"]"

START_TEST(what_peft_can_do_and_quipu_cannot_is_refused_by_name)
{
    static const char *const k[][2] = {
        { "{" LORA ", \"use_dora\": true}", "use_dora" },
        { "{" LORA ", \"bias\": \"all\"}", "bias" },
        { "{" LORA ", \"modules_to_save\": [\"lm_head\"]}", "modules_to_save" },
        { "{" LORA ", \"fan_in_fan_out\": true}", "fan_in_fan_out" },
        { "{" LORA ", \"init_lora_weights\": \"pissa\"}", "pissa" },
        { "{" LORA ", \"rank_pattern\": {\"^model.*q_proj\": 2}}", "rank_pattern: ^model.*q_proj" },
        { "{\"peft_type\": \"IA3\"}", "peft_type" },
        { "{\"peft_type\": \"LORA\", \"r\": 4, \"target_modules\": [\"wq_proj\"]}", "wq_proj" },
        { "{\"peft_type\": \"LORA\", \"r\": 4}", "target_modules" },
        { "{\"peft_type\": \"LORA\", \"r\": 0, \"target_modules\": [\"q_proj\"]}", "r: must" },
        { "{\"peft_type\": \"LORA\", \"r\": 8, \"target_modules\": [\"q_proj\"]}",
          "q_proj.lora_A.weight: shape (4, 32), adapter_config.json wants (8, 32)" },
        { "{\"peft_type\": \"LORA\", \"r\": 4, \"target_modules\": [\"q_proj\", \"k_proj\"]}",
          "no tensor base_model.model.model.layers.0.self_attn.k_proj.lora_A.weight" },
        { "{\"peft_type\": \"LORA\", \"r\": 4, \"target_modules\": "
          "[\"layers.0.self_attn.q_proj\"]}",
          "model.layers.1.self_attn.q_proj.lora_A.weight: no part" },
    };
    static const char *const q[] = { "q_proj" };
    const qp_config cfg = tiny_config();
    qp_lora_options o = { .r = 4, .alpha = 8, .targets = q, .n_targets = 1 };
    qp_model *m = tiny_model(&cfg, QP_F32, false);
    ck_assert_msg(!qp_model_add_lora(m, &o, &err), "%s", err.msg);
    tiny_seal(m);
    ck_assert_msg(!qp_model_save_adapter(m, dir, "base", &err), "%s", err.msg);
    qp_model_free(m);
    for (size_t i = 0; i < sizeof k / sizeof *k; i++) {
        write_config(k[i][0]);
        m = tiny_model(&cfg, QP_F32, false);
        err = (qp_err){ 0 };
        ck_assert_int_eq(qp_model_load_adapter(m, dir, &err), QP_BADFILE);
        ck_assert_msg(strstr(err.msg, k[i][1]) != NULL, "\"%s\" does not say \"%s\"", err.msg,
                      k[i][1]);
        ck_assert_ptr_nonnull(strstr(err.msg, dir));
        qp_model_free(m);
    }
}
END_TEST

/* A regular expression or a choice of layers: the tensors in the file say what is adapted. */
START_TEST(targets_given_otherwise_are_read_off_the_tensors)
{
    static const char *const k[] = {
        "{\"peft_type\": \"LORA\", \"r\": 4, \"target_modules\": \".*layers.1.self_attn.q_proj\"}",
        "{" LORA ", \"layers_to_transform\": [1]}",
    };
    static const char *const q[] = { "layers.1.self_attn.q_proj" };
    const qp_config cfg = tiny_config();
    qp_lora_options o = { .r = 4, .alpha = 8, .targets = q, .n_targets = 1 };
    qp_model *m = tiny_model(&cfg, QP_F32, false);
    ck_assert_msg(!qp_model_add_lora(m, &o, &err), "%s", err.msg);
    tiny_seal(m);
    ck_assert_msg(!qp_model_save_adapter(m, dir, "base", &err), "%s", err.msg);
    qp_model_free(m);
    for (int i = 0; i < 2; i++) {
        write_config(k[i]);
        m = tiny_model(&cfg, QP_F32, false);
        ck_assert_msg(!qp_model_load_adapter(m, dir, &err), "%s", err.msg);
        ck_assert_int_eq(m->adapter.count, 1);
        ck_assert_str_eq(m->adapter.linear[0].name, "model.layers.1.self_attn.q_proj");
        qp_model_free(m);
    }
}
END_TEST

/* PEFT's own files: the logits of the first batch with the adapters of golden/training. */
static void check_golden(const char *kind, const char *which)
{
    char name[100];
    const char *path;
    qp_model *m;
    qp_model_options o = { .compute = QP_F32, .load_in = QP_F32 };
    qp_safetensors st = { 0 };
    qp_ctx c;
    if (!(path = shared_path("models/tiny-llama31"))) return;
    ck_assert_msg(!qp_model_open(&m, path, &o, &err), "%s", err.msg);
    snprintf(name, sizeof name, "training/%s/%s_adapter", kind, which);
    if (!(path = shared_path(name))) return;
    ck_assert_msg(!qp_model_load_adapter(m, path, &err), "%s", err.msg);
    tiny_seal(m);
    snprintf(name, sizeof name, "training/%s/batches.safetensors", kind);
    if (!(path = shared_path(name))) return;
    ck_assert_msg(!qp_safetensors_open(&st, path, NULL, &err), "%s", err.msg);
    const qp_file_tensor *ids = qp_safetensors_find(&st, "input_ids");
    snprintf(name, sizeof name, "logits_%s_adapter", which);
    const qp_file_tensor *want = qp_safetensors_find(&st, name);
    ck_assert_msg(want != NULL, "no %s", name);
    qp_batch b = { 0 };
    int32_t row[256];
    for (int64_t r = 0; r < ids->shape[1]; r++) {
        for (int64_t i = 0; i < ids->shape[2]; i++)
            row[i] = (int32_t)((const int64_t *)ids->data)[r * ids->shape[2] + i];
        qp_batch_add(&b, row, NULL, ids->shape[2]);
    }
    tiny_ctx(&c);
    float *got = tiny_logits(&c, m, &b);
    double worst = 0;
    for (int64_t i = 0; i < want->numel; i++)
        worst = fmax(worst, fabs((double)got[i] - (double)((const float *)want->data)[i]));
    ck_assert_msg(worst < 1e-4, "%s: %s: logits off by %g", kind, which, worst);
    free(got);
    qp_batch_release(&b);
    qp_safetensors_release(&st);
    qp_model_free(m);
    qp_ctx_release(&c);
}

START_TEST(pefts_adapters_give_pefts_logits)
{
    check_golden("lora", "initial");
    check_golden("lora", "final");
    check_golden("rslora", "initial");
    check_golden("rslora", "final");
}
END_TEST

START_TEST(the_broken_golden_adapters_are_refused)
{
    static const char *const k[][2] = { { "bad/adapter/unknown_target", "wq_proj" },
                                        { "bad/adapter/rank_mismatch",
                                          "adapter_config.json wants (8, 8)" },
                                        { "bad/adapter/good", NULL } };
    for (int i = 0; i < 3; i++) {
        qp_model *m;
        qp_model_options o = { .compute = QP_F32, .load_in = QP_F32 };
        const char *path = shared_path("bad/models/good");
        if (!path) return;
        ck_assert_msg(!qp_model_open(&m, path, &o, &err), "%s", err.msg);
        if (!(path = shared_path(k[i][0]))) return;
        err = (qp_err){ 0 };
        ck_assert_int_eq(qp_model_load_adapter(m, path, &err), k[i][1] ? QP_BADFILE : QP_OK);
        ck_assert_msg(!k[i][1] || strstr(err.msg, k[i][1]), "\"%s\"", err.msg);
        qp_model_free(m);
    }
}
END_TEST

Suite *suite_adapter(void)
{
    Suite *s = suite_create("adapter");
    TCase *t = tcase_create("lora");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, targets_match_whole_name_parts);
    tcase_add_test(t, a_fresh_adapter_starts_as_pefts);
    tcase_add_test(t, values_depend_on_seed_and_name_alone);
    tcase_add_test(t, wrong_options_are_usage_errors);
    tcase_add_test(t, a_saved_adapter_loads_with_the_same_bits);
    tcase_add_test(t, rank_and_alpha_patterns_are_honoured);
    tcase_add_test(t, what_peft_can_do_and_quipu_cannot_is_refused_by_name);
    tcase_add_test(t, targets_given_otherwise_are_read_off_the_tensors);
    tcase_add_test(t, pefts_adapters_give_pefts_logits);
    tcase_add_test(t, the_broken_golden_adapters_are_refused);
    suite_add_tcase(s, t);
    return s;
}
