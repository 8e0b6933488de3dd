/* Logits, loss and every gradient of the tiny Hugging Face models against transformers'
 * (golden/model_cases). */
#include "base/safetensors.h"
#include "tests/model/tiny.h"
#include "tests/suites.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = { "tiny-llama31", "tiny-tied-bf16", "tiny-headdim-f16" };
static const char *const cases[] = { "plain", "packed", "pad_left", "pad_right" };
enum { MODELS = 3, CASES = 4 };

static const qp_file_tensor *find(const qp_safetensors *st, const char *name)
{
    const qp_file_tensor *t = qp_safetensors_find(st, name);
    ck_assert_msg(t != NULL, "no %s in %s", name, st->path);
    return t;
}

/* Labels are unshifted: row t predicts label t+1 of its own document. doc -1 is padding: no row. */
static void add_documents(qp_batch *b, const int64_t *ids, const int64_t *labels,
                          const int64_t *docs, int64_t len)
{
    int32_t id[256], target[256];
    for (int64_t from = 0, to; from < len; from = to) {
        for (to = from; to < len && docs[to] == docs[from]; to++) {
            bool next = to + 1 < len && docs[to + 1] == docs[from];
            id[to - from] = (int32_t)ids[to];
            target[to - from] = next && labels[to + 1] >= 0 ? (int32_t)labels[to + 1] : -1;
        }
        if (docs[from] >= 0) qp_batch_add(b, id, target, to - from);
    }
}

static void check_logits(qp_ctx *c, qp_model *m, const qp_batch *b, const qp_safetensors *st)
{
    const float *want = find(st, "logits")->data;
    const int64_t *docs = find(st, "doc_ids")->data;
    int64_t v = qp_model_config(m)->vocab_size, rows = find(st, "doc_ids")->numel, row = 0;
    float *got = tiny_logits(c, m, b);
    double worst = 0;
    for (int64_t i = 0; i < rows; i++) {
        if (docs[i] < 0) continue;
        for (int64_t j = 0; j < v; j++)
            worst = fmax(worst, fabs((double)got[row * v + j] - (double)want[i * v + j]));
        row++;
    }
    free(got);
    ck_assert_int_eq(row, b->n);
    ck_assert_msg(worst < 1e-4, "logits off by %g",
                  worst); /* the reference's own f32 noise is 1.5e-5 */
}

/* The reference's mean loss over real rows. Left padding's last row predicts the first real token
   there; here no such row exists. */
static double mean_nll(const qp_safetensors *st)
{
    const float *nll = find(st, "nll")->data;
    const int64_t *docs = find(st, "doc_ids")->data, *labels = find(st, "labels")->data;
    int64_t rows = find(st, "doc_ids")->shape[0], len = find(st, "doc_ids")->shape[1], n = 0;
    double sum = 0;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t t = 0; t + 1 < len; t++) {
            if (docs[r * len + t] < 0 || labels[r * len + t + 1] < 0) continue;
            sum += (double)nll[r * (len - 1) + t];
            n++;
        }
    return sum / (double)n;
}

static void check_gradients(const qp_params *p, const qp_safetensors *st)
{
    char name[200];
    for (int64_t i = 0; i < p->count; i++) {
        snprintf(name, sizeof name, "grad.%s", p->item[i].name);
        const float *want = find(st, name)->data, *got = (const float *)p->grad + p->item[i].lo;
        int64_t n = qp_numel(p->item[i].t);
        double off = 0, norm = 0;
        for (int64_t j = 0; j < n; j++) {
            off += pow((double)got[j] - (double)want[j], 2);
            norm += pow((double)want[j], 2);
        }
        ck_assert_msg(sqrt(off) <= 1e-4 * sqrt(norm), "%s: relative error %g", name,
                      sqrt(off / norm));
    }
}

START_TEST(logits_loss_and_gradients_are_transformers)
{
    char file[100];
    qp_err err = { 0 };
    qp_safetensors st = { 0 };
    qp_model *m;
    qp_ctx c;
    const char *path;
    snprintf(file, sizeof file, "models/%s", names[_i / CASES]);
    if (!(path = shared_path(file))) return;
    qp_model_options o = { .compute = QP_F32, .load_in = QP_F32, .train_base = true };
    ck_assert_msg(!qp_model_open(&m, path, &o, &err), "%s", err.msg);
    tiny_seal(m);
    snprintf(file, sizeof file, "model_cases/%s/%s.safetensors", names[_i / CASES],
             cases[_i % CASES]);
    if (!(path = shared_path(file))) return;
    ck_assert_msg(!qp_safetensors_open(&st, path, NULL, &err), "%s", err.msg);
    tiny_ctx(&c);
    const qp_file_tensor *ids = find(&st, "input_ids");
    qp_batch b = { 0 };
    for (int64_t r = 0; r < ids->shape[0]; r++) {
        int64_t at = r * ids->shape[1];
        add_documents(&b, (const int64_t *)ids->data + at,
                      (const int64_t *)find(&st, "labels")->data + at,
                      (const int64_t *)find(&st, "doc_ids")->data + at, ids->shape[1]);
    }
    check_logits(&c, m, &b, &st);
    double loss = tiny_step(&c, m, &b) / (double)b.targets_n;
    ck_assert_double_eq_tol(loss, mean_nll(&st), 1e-5);
    if (_i % CASES < 2) check_gradients(qp_model_params(m), &st);
    qp_batch_release(&b);
    qp_safetensors_release(&st);
    qp_model_free(m);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(a_gguf_gives_the_logits_of_its_dequantised_weights)
{
    qp_err err = { 0 };
    qp_safetensors st = { 0 };
    qp_model *m;
    qp_ctx c;
    const char *path = shared_path("gguf/tiny-llama31.gguf");
    if (!path) return;
    qp_model_options o = { .compute = QP_F32,
                           .load_in = QP_F32,
                           .train_base = _i }; /* frozen, trained */
    ck_assert_msg(!qp_model_open(&m, path, &o, &err), "%s", err.msg);
    tiny_seal(m);
    ck_assert(qp_model_config(m)->rope_scaled);
    ck_assert_double_eq(qp_model_config(m)->rope_factor, 8);
    ck_assert_int_eq(qp_model_config(m)->rope_original_positions, 64);
    ck_assert_double_eq(qp_model_config(m)->norm_eps, 1e-5);
    if (!(path = shared_path("gguf/tiny-llama31_expected.safetensors"))) return;
    ck_assert_msg(!qp_safetensors_open(&st, path, NULL, &err), "%s", err.msg);
    tiny_ctx(&c);
    const qp_file_tensor *ids = find(&st, "input_ids");
    qp_batch b = { 0 };
    int32_t row[256];
    for (int64_t r = 0; r < ids->shape[0]; r++) {
        for (int64_t i = 0; i < ids->shape[1]; i++)
            row[i] = (int32_t)((const int64_t *)ids->data)[r * ids->shape[1] + i];
        qp_batch_add(&b, row, NULL, ids->shape[1]);
    }
    float *got = tiny_logits(&c, m, &b);
    const float *want = find(&st, "logits")->data;
    double worst = 0;
    for (int64_t i = 0; i < find(&st, "logits")->numel; i++)
        worst = fmax(worst, fabs((double)got[i] - (double)want[i]));
    ck_assert_msg(worst < 1e-4, "logits off by %g", worst);
    free(got);
    qp_batch_release(&b);
    qp_safetensors_release(&st);
    qp_model_free(m);
    qp_ctx_release(&c);
}
END_TEST

Suite *suite_golden_model(void)
{
    Suite *s = suite_create("golden_model");
    TCase *t = tcase_create("transformers");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, logits_loss_and_gradients_are_transformers, 0, MODELS * CASES);
    tcase_add_loop_test(t, a_gguf_gives_the_logits_of_its_dequantised_weights, 0, 2);
    suite_add_tcase(s, t);
    return s;
}
