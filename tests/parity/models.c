/* models/, model_cases/ and their greedy continuations. */
#include "tests/parity/models.h"
#include "eval/generate.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

qp_model *parity_open_model(parity *p, const char *relative, qp_storage compute, bool train)
{
    qp_err err = { 0 };
    qp_model *m = NULL;
    char *path = parity_path(p, "%s", relative);
    qp_model_options o = { .compute = compute, .load_in = compute, .train_base = train };
    if (parity_ok(p, qp_model_open(&m, path, &o, &err), &err))
        parity_ok(p, qp_model_seal(m, &err), &err);
    free(path);
    if (!p->failure[0]) return m;
    qp_model_free(m);
    return NULL;
}

/* What is stored is what is loaded: every parameter's master equals the file's value. */
void parity_model(parity *p, const char *path)
{
    qp_safetensors st = { 0 };
    qp_model *m = parity_open_model(p, path, QP_F32, true);
    if (m && parity_open(p, &st, path)) {
        qp_params *params = qp_model_params(m);
        for (int64_t i = 0; i < params->count; i++) {
            int64_t n;
            double *want = parity_f64(p, &st, params->item[i].name, &n);
            double *got =
                parity_widen((const float *)params->master + params->item[i].lo, QP_F32, n);
            if (want) parity_compare(p, "stored_values", params->item[i].name, got, want, n);
            free(want);
            free(got);
        }
        if (params->count < st.count && !qp_model_config(m)->tied)
            parity_fail(p, "%lld parameters, %lld stored tensors", (long long)params->count,
                        (long long)st.count);
    }
    qp_safetensors_release(&st);
    qp_model_free(m);
}

void parity_add_rows(qp_batch *b, const int32_t *ids, const int32_t *labels, const int32_t *docs,
                     int64_t rows, int64_t len)
{
    int32_t *targets = qp_xcalloc((size_t)(rows * len), sizeof *targets);
    for (int64_t i = 0; i < rows * len; i++)
        targets[i] = i % len + 1 < len && labels[i + 1] >= 0 ? labels[i + 1] : -1;
    for (int64_t from = 0, to; from < rows * len; from = to) {
        int64_t end = (from / len + 1) * len;
        for (to = from + 1; to < end; to++)
            if (docs && (docs[from] < 0 || docs[to] != docs[from])) break;
        qp_batch_add(b, ids + from, targets + from, to - from);
    }
    free(targets);
}

typedef struct {
    const char *model; /* "tiny-llama31" */
    const char *name;  /* "packed.safetensors" */
    int64_t rows, len, vocab;
    int32_t *ids, *labels, *docs;
    qp_batch batch;
    qp_safetensors st;
} model_case;

static bool case_open(parity *p, model_case *k, const char *file)
{
    char relative[300];
    snprintf(relative, sizeof relative, "model_cases/%s/%s", k->model, file);
    if (!parity_open(p, &k->st, relative)) return false;
    const qp_file_tensor *ids = qp_safetensors_find(&k->st, "input_ids");
    if (!ids || ids->ndim != 2) return parity_fail(p, "%s: no input_ids [B,T]", relative);
    k->name = file;
    k->rows = ids->shape[0];
    k->len = ids->shape[1];
    k->ids = parity_i32(p, &k->st, "input_ids", NULL);
    k->labels = parity_i32(p, &k->st, "labels", NULL);
    k->docs = parity_i32(p, &k->st, "doc_ids", NULL);
    if (!k->ids || !k->labels || !k->docs) return false;
    parity_add_rows(&k->batch, k->ids, k->labels, k->docs, k->rows, k->len);
    return true;
}

static void case_close(model_case *k)
{
    free(k->ids);
    free(k->labels);
    free(k->docs);
    qp_batch_release(&k->batch);
    qp_safetensors_release(&k->st);
}

/* Whole logits against the stored ones; what stands at padding is not compared. */
static void compare_logits(parity *p, qp_ctx *c, qp_model *m, model_case *k, const char *metric,
                           const char *field, const char *what)
{
    int64_t vocab = qp_model_config(m)->vocab_size;
    double *want = parity_f64(p, &k->st, field, NULL);
    if (!want) return;
    qp_scope s;
    qp_scope_open(&c->arena, &s);
    c->recording = false;
    const float *logits = qp_model_logits(c, m, qp_model_hidden(c, m, &k->batch, NULL))->data;
    double *got = parity_widen(logits, QP_F32, k->batch.n * vocab);
    for (int64_t i = 0; i < k->batch.n; i++)
        if (k->docs[i] < 0) memcpy(got + i * vocab, want + i * vocab, (size_t)vocab * sizeof *got);
    parity_compare(p, metric, what, got, want, k->batch.n * vocab);
    c->recording = true;
    qp_scope_close(&c->arena, &s);
    free(got);
    free(want);
}

static void compare_losses(parity *p, qp_ctx *c, qp_model *m, model_case *k)
{
    char what[200];
    int64_t n_nll;
    double *nll = qp_xcalloc((size_t)k->batch.n, sizeof *nll),
           *want = parity_f64(p, &k->st, "nll", &n_nll);
    double *got = qp_xcalloc((size_t)(k->rows * (k->len - 1)), sizeof *got),
           *loss_want = parity_f64(p, &k->st, "loss", NULL);
    qp_params *params = qp_model_params(m);
    qp_params_begin_step(params);
    qp_scope s;
    qp_scope_open(&c->arena, &s);
    qp_tensor *loss = qp_model_loss(c, m, &k->batch, nll);
    double mean = (double)*(float *)loss->data / (double)k->batch.targets_n;
    qp_backward(c, loss, 1.0 / (double)k->batch.targets_n);
    qp_params_end_grads(params);
    qp_scope_close(&c->arena, &s);
    for (int64_t i = 0; i < k->batch.n; i++)
        if (i % k->len < k->len - 1) got[i / k->len * (k->len - 1) + i % k->len] = nll[i];
    snprintf(what, sizeof what, "%s", k->name);
    if (want && n_nll == k->rows * (k->len - 1))
        parity_compare(p, "nll", what, got, want, n_nll);
    else
        parity_fail(p, "%s: nll has %lld values", what, (long long)n_nll);
    if (loss_want) parity_number(p, "loss", what, mean, loss_want[0]);
    free(nll);
    free(want);
    free(got);
    free(loss_want);
}

void parity_gradients(parity *p, qp_params *params, const qp_safetensors *st, const char *prefix,
                      const char *metric, const char *what)
{
    int64_t stored = 0;
    for (int64_t i = 0; i < st->count; i++)
        stored += !strncmp(st->tensor[i].name, prefix, strlen(prefix));
    if (stored && stored != params->count)
        parity_fail(p, "%s: %lld gradients stored, %lld parameters", what, (long long)stored,
                    (long long)params->count);
    for (int64_t i = 0; stored && i < params->count; i++) {
        char name[400], label[460];
        snprintf(name, sizeof name, "%s%s", prefix, params->item[i].name);
        if (!qp_safetensors_find(st, name))
            snprintf(name, sizeof name, "%s%s.weight", prefix, params->item[i].name);
        int64_t n;
        double *want = parity_f64(p, st, name, &n);
        double *got = parity_widen((const float *)params->grad + params->item[i].lo, QP_F32, n);
        snprintf(label, sizeof label, "%s %s", what, params->item[i].name);
        if (want) parity_compare(p, metric, label, got, want, n);
        if (want && !strcmp(p->path, "model_cases"))
            parity_compare(p, "grad_max", label, got, want, n);
        free(want);
        free(got);
    }
}

typedef struct {
    const char *model;
    qp_model *m;
    qp_ctx *c;
} case_env;

static void one_case(parity *p, const char *file, void *arg)
{
    case_env *e = arg;
    model_case k = { .model = e->model };
    if (case_open(p, &k, file)) {
        compare_logits(p, e->c, e->m, &k, "logits", "logits", file);
        compare_losses(p, e->c, e->m, &k);
        parity_gradients(p, qp_model_params(e->m), &k.st, "grad.", "grad", file);
    }
    case_close(&k);
}

/* The bf16 run of a bf16 model, against the f64 logits. */
static void bf16_case(parity *p, const char *model, const char *relative, qp_ctx *c)
{
    model_case k = { .model = model };
    qp_model *m = parity_open_model(p, relative, QP_BF16, false);
    if (m && case_open(p, &k, "plain.safetensors"))
        compare_logits(p, c, m, &k, "logits_bf16_activations", "logits_f64",
                       "plain.safetensors in bf16");
    case_close(&k);
    qp_model_free(m);
}

void parity_model_cases(parity *p, const char *path)
{
    const char *model = strrchr(path, '/') + 1;
    char relative[300];
    qp_ctx c;
    snprintf(relative, sizeof relative, "models/%s", model);
    p->path = "model_cases";
    parity_context(&c);
    case_env e = { model, parity_open_model(p, relative, QP_F32, true), &c };
    if (e.m) parity_each(p, path, ".safetensors", one_case, &e);
    qp_model_free(e.m);
    if (strstr(model, "bf16") && !p->failure[0]) bf16_case(p, model, relative, &c);
    qp_ctx_release(&c);
}

void parity_greedy(parity *p, const char *path)
{
    const char *model = strrchr(path, '/') + 1;
    char relative[300];
    qp_err err = { 0 };
    qp_ctx c;
    snprintf(relative, sizeof relative, "models/%s", model);
    qp_model *m = parity_open_model(p, relative, QP_F32, false);
    snprintf(relative, sizeof relative, "model_cases/%s/cases.json", model);
    qp_value *json = parity_json(p, relative);
    const qp_value *cases = qp_json_get(json, "greedy");
    p->path = "model_cases";
    parity_context(&c);
    for (const qp_value *k = m && cases ? cases->child : NULL; k; k = k->next) {
        int64_t n_prompt, n_want, n = 0;
        int32_t *prompt = parity_json_ids(qp_json_get(k, "prompt"), &n_prompt);
        int32_t *want = parity_json_ids(qp_json_get(k, "continuation"), &n_want);
        int32_t *got = qp_xcalloc((size_t)n_want + 1, sizeof *got);
        qp_generate_options o = { .max_tokens = n_want,
                                  .sampling = { .top_p = 1, .repetition_penalty = 1 } };
        parity_ok(p, qp_generate(&c, m, prompt, n_prompt, &o, got, &n, NULL, &err), &err);
        char what[80];
        snprintf(what, sizeof what, "prompt of %lld tokens", (long long)n_prompt);
        parity_ints(p, what, got, n, want, n_want);
        free(prompt);
        free(want);
        free(got);
    }
    qp_ctx_release(&c);
    qp_json_free(json);
    qp_model_free(m);
}

int32_t *parity_json_ids(const qp_value *array, int64_t *n)
{
    *n = array ? array->count : 0;
    int32_t *ids = qp_xcalloc((size_t)*n + 1, sizeof *ids);
    int64_t i = 0;
    for (const qp_value *v = array ? array->child : NULL; v; v = v->next)
        ids[i++] = (int32_t)v->integer;
    return ids;
}
