/* Loading: containers, types, order of rows, and what is wrong with a file. Models are written by
   quipu's own writer into a folder, then damaged. */
#include "base/json.h"
#include "base/zio.h"
#include "model/arch.h"
#include "tests/model/tiny.h"
#include "tests/suites.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static char dir[64];
static qp_err err;

static void set_up(void)
{
    strcpy(dir, "/tmp/qp_weights_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}
static void tear_down(void) { ck_assert_msg(!qp_remove_tree(dir, &err), "%s", err.msg); }

static void save_tiny(const qp_config *cfg, qp_storage dtype)
{
    qp_model *m = tiny_sealed(cfg, QP_F32, true);
    ck_assert_msg(!qp_model_save(m, dir, dtype, &err), "%s", err.msg);
    qp_model_free(m);
}

static qp_model *reopen(qp_storage compute, qp_storage load_in, bool train)
{
    qp_model *m;
    qp_model_options o = { .compute = compute, .load_in = load_in, .train_base = train };
    ck_assert_msg(!qp_model_open(&m, dir, &o, &err), "%s", err.msg);
    tiny_seal(m);
    return m;
}

static void refused(const char *words[], int n)
{
    qp_model *m;
    qp_model_options o = { .compute = QP_F32, .load_in = QP_F32 };
    err = (qp_err){ 0 };
    ck_assert_int_eq(qp_model_open(&m, dir, &o, &err), QP_BADFILE);
    ck_assert_ptr_null(m);
    for (int i = 0; i < n; i++)
        ck_assert_msg(strstr(err.msg, words[i]) != NULL, "\"%s\" does not say \"%s\"", err.msg,
                      words[i]);
    ck_assert_ptr_null(strchr(err.msg, '\n'));
}

START_TEST(a_saved_model_comes_back_with_the_same_bits)
{
    qp_config cfg = tiny_config();
    cfg.tied = _i;
    save_tiny(&cfg, QP_F32);
    char was[65], now[65];
    qp_model *m = tiny_sealed(&cfg, QP_F32, true), *frozen = reopen(QP_F32, QP_F32, false),
             *trained = reopen(QP_F32, QP_F32, true);
    qp_model_hash(m, was);
    qp_model_hash(frozen, now);
    ck_assert_str_eq(was, now);
    qp_model_hash(trained, now);
    ck_assert_str_eq(was, now);
    ck_assert_mem_eq(qp_model_params(m)->master, qp_model_params(trained)->master,
                     (size_t)qp_model_params(m)->n * sizeof(float));
    qp_model_free(m);
    qp_model_free(frozen);
    qp_model_free(trained);
}
END_TEST

/* Held as stored: from the map; else converted. The values are the same either way. */
START_TEST(weights_of_the_wanted_type_stay_in_the_map)
{
    const qp_config cfg = tiny_config();
    save_tiny(&cfg, QP_BF16);
    qp_model *mapped = reopen(QP_BF16, QP_BF16, false), *widened = reopen(QP_BF16, QP_F32, false);
    size_t row;
    qp_ctx c;
    tiny_ctx(&c);
    qp_batch b = { 0 };
    tiny_document(&b, &cfg, 20, 1);
    for (int64_t i = 0; i < mapped->count; i++) {
        bool matrix = mapped->weight[i]->t->ndim == 2;
        ck_assert(matrix == !mapped->weight[i]->owned);
        ck_assert_int_eq(mapped->weight[i]->t->storage, matrix ? QP_BF16 : QP_F32);
        ck_assert_ptr_nonnull(widened->weight[i]->owned);
    }
    void *x = tiny_hidden(&c, mapped, &b, NULL, &row),
         *y = tiny_hidden(&c, widened, &b, NULL, &row);
    ck_assert_mem_eq(x, y, row * 20);
    free(x);
    free(y);
    qp_batch_release(&b);
    qp_model_free(mapped);
    qp_model_free(widened);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(load_in_bf16_rounds_norms_too)
{
    const qp_config cfg = tiny_config();
    qp_model *m = tiny_sealed(&cfg, QP_F32, true);
    tiny_randomise(m, "norm", 1);
    ck_assert_msg(!qp_model_save(m, dir, QP_F32, &err), "%s", err.msg);
    qp_model *held = reopen(QP_F32, QP_BF16, false);
    for (int64_t i = 0; i < held->count; i++) {
        if (held->weight[i]->t->ndim != 1) continue;
        const uint32_t *bits = held->weight[i]->t->data;
        for (int64_t j = 0; j < cfg.hidden_size; j++) ck_assert_uint_eq(bits[j] & 0xffff, 0);
    }
    qp_model_free(m);
    qp_model_free(held);
}
END_TEST

/* Rewrites model.safetensors, letting `change` edit the list. */
static void rewrite(void (*change)(qp_save_tensor *t, int64_t *n))
{
    qp_safetensors st = { 0 };
    qp_save_tensor t[64] = { 0 };
    char *path = qp_path_join(dir, "model.safetensors");
    ck_assert_msg(!qp_safetensors_open(&st, dir, NULL, &err), "%s", err.msg);
    int64_t n = st.count;
    for (int64_t i = 0; i < n; i++) {
        t[i] = (qp_save_tensor){
            st.tensor[i].name, st.tensor[i].storage, st.tensor[i].ndim, { 0 }, st.tensor[i].data
        };
        memcpy(t[i].shape, st.tensor[i].shape, sizeof t[i].shape);
    }
    change(t, &n);
    ck_assert_msg(!qp_safetensors_write(path, t, n, &err), "%s", err.msg);
    qp_safetensors_release(&st);
    free(path);
}

static qp_save_tensor *named(qp_save_tensor *t, int64_t n, const char *name)
{
    for (int64_t i = 0; i < n; i++)
        if (!strcmp(t[i].name, name)) return &t[i];
    ck_abort_msg("no %s", name);
    return NULL;
}

static void drop_up_proj(qp_save_tensor *t, int64_t *n)
{
    qp_save_tensor *gone = named(t, *n, "model.layers.0.mlp.up_proj.weight");
    *gone = t[--*n];
}

static void transpose_shape(qp_save_tensor *t, int64_t *n)
{
    qp_save_tensor *k = named(t, *n, "model.layers.1.self_attn.k_proj.weight");
    k->shape[0] = 32, k->shape[1] = 24;
}

static void flatten(qp_save_tensor *t, int64_t *n)
{
    qp_save_tensor *k = named(t, *n, "model.norm.weight");
    k->ndim = 2, k->shape[0] = 1, k->shape[1] = 32;
}

static void add_bias(qp_save_tensor *t, int64_t *n)
{
    t[*n] = *named(t, *n, "model.norm.weight");
    t[(*n)++].name = "model.layers.0.self_attn.q_proj.bias";
}

static void add_inv_freq(qp_save_tensor *t, int64_t *n)
{
    t[*n] = *named(t, *n, "model.norm.weight");
    t[(*n)++].name = "model.layers.0.self_attn.rotary_emb.inv_freq";
}

static void integers(qp_save_tensor *t, int64_t *n)
{
    named(t, *n, "model.norm.weight")->storage = QP_I32;
}

START_TEST(missing_misshapen_and_unexpected_tensors_are_named)
{
    const qp_config cfg = tiny_config();
    const struct {
        void (*change)(qp_save_tensor *t, int64_t *n);
        const char *words[3];
    } k[] = {
        { drop_up_proj, { dir, "no tensor model.layers.0.mlp.up_proj.weight", "config.json" } },
        { transpose_shape,
          { "model.safetensors",
            "model.layers.1.self_attn.k_proj.weight: shape (32, 24), config.json wants (24, 32)",
            "" } },
        { flatten, { "model.norm.weight: shape (1, 32), config.json wants (32)", "", "" } },
        { add_bias,
          { "model.safetensors", "model.layers.0.self_attn.q_proj.bias: not a weight", "" } },
        { integers, { "model.norm.weight: type", "", "" } },
    };
    save_tiny(&cfg, QP_F32);
    rewrite(k[_i].change);
    refused((const char **)(uintptr_t)k[_i].words, 3);
}
END_TEST

START_TEST(leftovers_that_say_nothing_are_passed_over)
{
    const qp_config cfg = tiny_config();
    save_tiny(&cfg, QP_F32);
    rewrite(add_inv_freq);
    qp_model_free(reopen(QP_F32, QP_F32, false));
}
END_TEST

START_TEST(a_missing_model_is_a_usage_error)
{
    qp_model *m;
    qp_model_options o = { .compute = QP_F32, .load_in = QP_F32 };
    char *path = qp_path_join(dir, "nothing");
    ck_assert_int_eq(qp_model_open(&m, path, &o, &err), QP_USAGE);
    ck_assert_ptr_nonnull(strstr(err.msg, path));
    ck_assert_int_eq(qp_model_open(&m, dir, &o, &err), QP_USAGE);
    ck_assert_ptr_nonnull(strstr(err.msg, "config.json"));
    o.load_in = QP_Q8_0;
    ck_assert_int_eq(qp_model_open(&m, dir, &o, &err), QP_USAGE);
    free(path);
}
END_TEST

/* The real thing: SmolLM2's Q4_1 GGUF, widened, rows put in order, rounded to bf16, is the
 * reference's model. */
START_TEST(smollm2_from_its_gguf_has_the_golden_hash)
{
    qp_model *m;
    char hex[65];
    const char *shared = shared_path("../models/SmolLM2-135M-Instruct.Q4_1.gguf");
    qp_model_options o = { .compute = QP_BF16, .load_in = QP_BF16 };
    if (!shared) return;
    ck_assert_msg(!qp_model_open(&m, shared, &o, &err), "%s", err.msg);
    tiny_seal(m);
    qp_model_hash(m, hex);
    ck_assert_str_eq(hex, "08587497151051bb64ba4ae8288856623bb8c6cd5dc22bb3bda06ebda07a1bcd");
    ck_assert_int_eq(qp_model_parameters(m), 134515008);
    ck_assert_double_eq(qp_model_config(m)->norm_eps, 1e-5);
    qp_model_free(m);
}
END_TEST

/* _i: the file's type. */
START_TEST(matrices_held_as_filed_keep_type_and_values)
{
    const qp_config cfg = tiny_config();
    const qp_storage filed = _i;
    save_tiny(&cfg, filed);
    qp_model *m = reopen(QP_BF16, QP_AS_FILED, false), *wide = reopen(QP_F32, QP_F32, false);
    for (int64_t i = 0; i < m->count; i++) {
        const qp_weight *w = m->weight[i];
        const void *held, *wanted;
        void *owned[2];
        ck_assert_int_eq(w->t->storage, w->t->ndim > 1 ? filed : QP_F32);
        ck_assert(!qp_weight_values(m, w, QP_F32, &held, &owned[0], &err));
        ck_assert(!qp_weight_values(wide, wide->weight[i], QP_F32, &wanted, &owned[1], &err));
        ck_assert(!memcmp(held, wanted, (size_t)qp_numel(w->t) * sizeof(float)));
        free(owned[0]);
        free(owned[1]);
    }
    qp_model_free(wide);
    qp_model_free(m);
}
END_TEST

START_TEST(fresh_weights_held_as_filed_have_the_compute_type)
{
    const qp_config cfg = tiny_config();
    qp_model_options o = { .compute = QP_BF16, .load_in = QP_AS_FILED };
    qp_model *m;
    ck_assert(!qp_model_create(&m, &cfg, &o, &err));
    tiny_seal(m);
    for (int64_t i = 0; i < m->count; i++)
        ck_assert_int_eq(m->weight[i]->t->storage, m->weight[i]->t->ndim > 1 ? QP_BF16 : QP_F32);
    qp_model_free(m);
}
END_TEST

/* Blocks are unpacked to what loading in bf16 makes of them, and rows of a cache have the bits of
   one pass: few rows and many unpack alike. */
START_TEST(blocks_held_as_filed_multiply_as_loading_would_round_them)
{
    const char *path = shared_path("../models/SmolLM2-135M-Instruct.Q4_1.gguf");
    if (!path) return;
    qp_model *m[2];
    for (int i = 0; i < 2; i++) {
        qp_model_options o = { .compute = QP_BF16, .load_in = i ? QP_BF16 : QP_AS_FILED };
        ck_assert_msg(!qp_model_open(&m[i], path, &o, &err), "%s", err.msg);
        tiny_seal(m[i]);
    }
    for (int64_t i = 0; i < m[0]->count; i += 41) {
        const void *filed, *rounded;
        void *owned[2];
        if (m[0]->weight[i]->t->ndim < 2) continue;
        ck_assert_int_gt(qp_storages[m[0]->weight[i]->t->storage].block, 1);
        ck_assert(!qp_weight_values(m[0], m[0]->weight[i], QP_BF16, &filed, &owned[0], &err));
        ck_assert(!qp_weight_values(m[1], m[1]->weight[i], QP_BF16, &rounded, &owned[1], &err));
        ck_assert(!memcmp(filed, rounded, (size_t)qp_numel(m[0]->weight[i]->t) * 2));
        free(owned[0]);
        free(owned[1]);
    }
    ck_assert(2 * qp_model_weight_bytes(m[0]) < qp_model_weight_bytes(m[1]));
    enum { ROWS = 12 };
    qp_ctx c;
    qp_kv *kv;
    qp_batch b = { 0 }, part = { 0 };
    size_t row;
    tiny_ctx(&c);
    tiny_document(&b, qp_model_config(m[0]), ROWS, 5);
    ck_assert(!qp_kv_new(&kv, m[0], ROWS, &err));
    char *whole = tiny_hidden(&c, m[0], &b, NULL, &row);
    for (int32_t i = 0; i < ROWS; i++) {
        qp_batch_clear(&part);
        qp_batch_add(&part, b.tokens + i, NULL, 1);
        part.pos[0] = part.last[0] = i;
        char *one = tiny_hidden(&c, m[0], &part, kv, &row);
        ck_assert_msg(!memcmp(one, whole + (size_t)i * row, row), "row %d", (int)i);
        free(one);
    }
    free(whole);
    qp_kv_free(kv);
    qp_batch_release(&b);
    qp_batch_release(&part);
    qp_ctx_release(&c);
    qp_model_free(m[0]);
    qp_model_free(m[1]);
}
END_TEST

/* A copy of the golden GGUF whose first rotary divisor, 1, is another. */
static void patch_divisor(const char *path, float divisor)
{
    qp_gguf g = { 0 };
    qp_buf bytes = { 0 };
    const char *golden = shared_path("gguf/tiny-llama31.gguf");
    ck_assert_msg(!qp_file_read(golden, &bytes, &err), "%s", err.msg);
    ck_assert_msg(!qp_gguf_open(&g, golden, &err), "%s", err.msg);
    const qp_file_tensor *t = qp_gguf_tensor(&g, "rope_freqs.weight");
    memcpy(bytes.data + ((const uint8_t *)t->data - g.map.data), &divisor, sizeof divisor);
    ck_assert_msg(!qp_file_write(path, bytes.data, bytes.len, &err), "%s", err.msg);
    qp_gguf_release(&g);
    qp_buf_release(&bytes);
}

START_TEST(rotary_divisors_are_obeyed_as_they_are)
{
    const float bad[] = { 0, -1, NAN, INFINITY };
    qp_model *m;
    qp_model_options o = { .compute = QP_F32, .load_in = QP_F32 };
    if (!shared_path("gguf/tiny-llama31.gguf")) return;
    char *path = qp_path_join(dir, "patched.gguf");
    patch_divisor(path, 3);
    ck_assert_msg(!qp_model_open(&m, path, &o, &err), "%s", err.msg);
    ck_assert(!qp_model_config(m)->rope_scaled);
    ck_assert_double_eq_tol(m->rope.inv_freq[0], 1.0 / 3, 1e-12);
    ck_assert_double_eq_tol(m->rope.inv_freq[7] * 8, pow(500000, -14.0 / 16), 1e-12);
    qp_model_free(m);
    for (int i = 0; i < 4; i++) {
        patch_divisor(path, bad[i]);
        ck_assert_int_eq(qp_model_open(&m, path, &o, &err), QP_BADFILE);
        ck_assert_ptr_nonnull(strstr(err.msg, "patched.gguf: rope_freqs.weight[0]"));
    }
    free(path);
}
END_TEST

START_TEST(the_broken_golden_models_are_refused)
{
    static const struct {
        const char *path, *word;
    } k[] = {
        { "bad/models/heads_not_divisible",
          "num_attention_heads 4 is no multiple of num_key_value_heads 3" },
        { "bad/models/missing_tensor", "model.layers.0.mlp.up_proj.weight" },
        { "bad/models/shard_missing", "model-00002-of-00002.safetensors" },
        { "bad/gguf/tensor_count.gguf", "tensor_count.gguf" },
        { "bad/gguf/kv_count.gguf", "kv_count.gguf" },
        { "bad/gguf/string_length.gguf", "string_length.gguf" },
        { "bad/gguf/unknown_value_type.gguf", "unknown_value_type.gguf" },
        { "bad/gguf/unknown_tensor_type.gguf", "unknown_tensor_type.gguf" },
        { "bad/gguf/offset_beyond_file.gguf", "offset_beyond_file.gguf" },
    };
    for (size_t i = 0; i < sizeof k / sizeof *k; i++) {
        qp_model *m;
        qp_model_options o = { .compute = QP_F32, .load_in = QP_F32 };
        const char *path = shared_path(k[i].path);
        if (!path) return;
        err = (qp_err){ 0 };
        ck_assert_int_ne(qp_model_open(&m, path, &o, &err), QP_OK);
        ck_assert_msg(strstr(err.msg, k[i].word) != NULL, "\"%s\" does not say \"%s\"", err.msg,
                      k[i].word);
        ck_assert_ptr_nonnull(strstr(err.msg, path));
    }
}
END_TEST

Suite *suite_weights(void)
{
    Suite *s = suite_create("weights");
    TCase *t = tcase_create("files");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_loop_test(t, a_saved_model_comes_back_with_the_same_bits, 0, 2);
    tcase_add_test(t, weights_of_the_wanted_type_stay_in_the_map);
    tcase_add_test(t, load_in_bf16_rounds_norms_too);
    tcase_add_loop_test(t, matrices_held_as_filed_keep_type_and_values, QP_F32, QP_F16 + 1);
    tcase_add_test(t, fresh_weights_held_as_filed_have_the_compute_type);
    tcase_add_test(t, blocks_held_as_filed_multiply_as_loading_would_round_them);
    tcase_add_loop_test(t, missing_misshapen_and_unexpected_tensors_are_named, 0, 5);
    tcase_add_test(t, leftovers_that_say_nothing_are_passed_over);
    tcase_add_test(t, a_missing_model_is_a_usage_error);
    tcase_add_test(t, smollm2_from_its_gguf_has_the_golden_hash);
    tcase_add_test(t, rotary_divisors_are_obeyed_as_they_are);
    tcase_add_test(t, the_broken_golden_models_are_refused);
    suite_add_tcase(s, t);
    return s;
}
