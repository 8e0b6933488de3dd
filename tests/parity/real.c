/* real/: the values of SmolLM2-135M-Instruct from shared/models, held in bf16, computed in f32
 * unless said. */
#include "eval/generate.h"
#include "eval/perplexity.h"
#include "tests/parity/models.h"
#include "tests/parity/training.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    char *path;
    qp_model *m;
    qp_tokenizer *t;
    qp_ctx c;
    bool context;
    int32_t *ids; /* of the text the group's JSON names */
    int64_t n;
    size_t bytes;
} real_model;

static void keep_gguf(parity *p, const char *name, void *arg)
{
    (void)p;
    char **found = arg;
    if (!*found) *found = qp_xstrdup(name);
}

/* The one GGUF in shared/models. */
static char *model_path(parity *p)
{
    parity shared = { .golden = p->shared };
    char *name = NULL, *path = NULL;
    parity_each(&shared, "models", ".gguf", keep_gguf, &name);
    if (name)
        path = qp_xformat("%s/models/%s", p->shared, name);
    else
        parity_fail(p, "%s/models has no .gguf: the real model's values cannot be checked",
                    p->shared);
    free(name);
    return path;
}

static bool real_open(parity *p, real_model *r, qp_storage compute, bool seal)
{
    qp_err err = { 0 };
    memset(r, 0, sizeof *r);
    if (!(r->path = model_path(p))) return false;
    qp_model_options o = { .compute = compute, .load_in = QP_BF16 };
    if (!parity_ok(p, qp_model_open(&r->m, r->path, &o, &err), &err)) return false;
    if (seal && !parity_ok(p, qp_model_seal(r->m, &err), &err)) return false;
    if (!parity_ok(p, qp_tokenizer_open(&r->t, r->path, &err), &err)) return false;
    parity_context(&r->c);
    return r->context = true;
}

static bool real_text(parity *p, real_model *r, const qp_value *json)
{
    qp_err err = { 0 };
    qp_buf text = { 0 };
    qp_ids ids = { 0 };
    char *path = parity_path(p, "real/%s", qp_json_get(json, "text")->str);
    bool ok = parity_ok(p, qp_file_read(path, &text, &err), &err) &&
              parity_ok(p, qp_tokenizer_encode(r->t, text.data, text.len, 0, &ids, &err), &err);
    r->ids = ids.id;
    r->n = ids.n;
    r->bytes = text.len;
    qp_buf_release(&text);
    free(path);
    return ok;
}

static void real_close(real_model *r)
{
    if (r->context) qp_ctx_release(&r->c);
    qp_model_free(r->m);
    qp_tokenizer_free(r->t);
    free(r->ids);
    free(r->path);
}

/* The windows of the group's "non_overlapping": each alone, its first token unscored. Four go
 * through one pass. */
static double *window_losses(real_model *r, int64_t window, int64_t *scored)
{
    double *nll = qp_xcalloc((size_t)r->n, sizeof *nll),
           *pass = qp_xcalloc((size_t)(4 * window), sizeof *pass);
    qp_batch b = { 0 };
    *scored = 0;
    r->c.recording = false;
    for (int64_t from = 0; from < r->n; from += 4 * window) {
        qp_batch_clear(&b);
        for (int64_t w = from; w < r->n && w < from + 4 * window; w += window)
            qp_batch_add(&b, r->ids + w, NULL, w + window < r->n ? window : r->n - w);
        qp_scope s;
        qp_scope_open(&r->c.arena, &s);
        qp_model_loss(&r->c, r->m, &b, pass);
        qp_scope_close(&r->c.arena, &s);
        for (int64_t i = 0; i < b.n; i++)
            if (b.targets[i] >= 0) nll[(*scored)++] = pass[i];
    }
    qp_batch_release(&b);
    free(pass);
    return nll;
}

static void ppl_by_method(parity *p, real_model *r, const char *method, int64_t window,
                          int64_t stride, int32_t bos, qp_ppl *out)
{
    qp_err err = { 0 };
    r->c.recording = false;
    qp_ppl_options o = { .method = method, .context = window, .stride = stride, .bos = bos };
    parity_ok(p, qp_perplexity(&r->c, r->m, &o, r->ids, r->n, (int64_t)r->bytes, out, &err), &err);
}

void parity_real_ppl(parity *p, const char *path)
{
    real_model r = { 0 };
    qp_safetensors st = { 0 };
    qp_value *json = parity_json(p, path);
    if (json && real_open(p, &r, QP_F32, true) && real_text(p, &r, json) &&
        parity_open(p, &st, "real/nll_f32.safetensors")) {
        const qp_value *each = qp_json_get(json, "non_overlapping"),
                       *slide = qp_json_get(json, "sliding");
        int64_t n_want, n_ids, scored;
        int32_t *ids = parity_i32(p, &st, "ids", &n_ids);
        double *want = parity_f64(p, &st, "nll", &n_want), sum = 0;
        if (ids) parity_ints(p, "ids", r.ids, r.n, ids, n_ids);
        double *nll = window_losses(&r, (int64_t)parity_get(p, each, "window"), &scored);
        for (int64_t i = 0; i < scored; i++) sum += nll[i];
        if (scored != n_want)
            parity_fail(p, "%lld tokens scored, %lld wanted", (long long)scored, (long long)n_want);
        else
            parity_compare(p, "nll_per_token", "non_overlapping", nll, want, scored);
        double mean = sum / (double)scored, perplexity = parity_get(p, each, "perplexity");
        parity_number(p, "mean_nll", "non_overlapping", mean, log(perplexity));
        parity_number(p, "perplexity", "non_overlapping", exp(mean), perplexity);
        if (slide && !p->failure[0]) {
            qp_ppl out = { 0 };
            ppl_by_method(p, &r, "hf-exact", (int64_t)parity_get(p, slide, "window"),
                          (int64_t)parity_get(p, slide, "stride"), -1, &out);
            parity_number(p, "perplexity", "sliding", out.ppl, parity_get(p, slide, "perplexity"));
            const qp_value *recipe =
                qp_json_get(slide, "perplexity_by_the_recipe_in_transformers_docs");
            if (recipe) {
                ppl_by_method(p, &r, "hf", (int64_t)parity_get(p, slide, "window"),
                              (int64_t)parity_get(p, slide, "stride"), -1, &out);
                parity_number(p, "perplexity", "sliding, the published recipe", out.ppl,
                              recipe->number);
            }
        }
        free(ids);
        free(want);
        free(nll);
    }
    qp_safetensors_release(&st);
    qp_json_free(json);
    real_close(&r);
}

void parity_real_ppl_bf16(parity *p, const char *path)
{
    real_model r = { 0 };
    qp_value *json = parity_json(p, path);
    if (json && real_open(p, &r, QP_BF16, true) && real_text(p, &r, json)) {
        const qp_value *each = qp_json_get(json, "non_overlapping");
        int64_t scored;
        double sum = 0, *nll = window_losses(&r, (int64_t)parity_get(p, each, "window"), &scored);
        for (int64_t i = 0; i < scored; i++) sum += nll[i];
        parity_number(p, "perplexity", "non_overlapping in bf16", exp(sum / (double)scored),
                      parity_get(p, each, "perplexity"));
        free(nll);
    }
    qp_json_free(json);
    real_close(&r);
}

void parity_real_llamacpp(parity *p, const char *path)
{
    real_model r = { 0 };
    qp_value *json = parity_json(p, path);
    if (json && real_open(p, &r, QP_F32, true) && real_text(p, &r, json)) {
        const qp_value *want = qp_json_get(json, "transformers_f32"),
                       *bos = qp_json_get(json, "bos");
        bool add = bos && bos->kind == QP_JSON_TRUE;
        qp_ppl out = { 0 };
        ppl_by_method(p, &r, "llama.cpp", (int64_t)parity_get(p, json, "window"), 0,
                      add ? qp_tokenizer_bos(r.t) : -1, &out);
        parity_number(p, "transformers_f32.perplexity", "llama.cpp's rule", out.ppl,
                      parity_get(p, want, "perplexity"));
        parity_number(p, "transformers_f32.uncertainty", "llama.cpp's rule", out.stderr_ppl,
                      parity_get(p, want, "uncertainty"));
        parity_number(p, "transformers_f32.windows", "llama.cpp's rule", (double)out.windows,
                      parity_get(p, want, "windows"));
        parity_number(p, "transformers_f32.tokens_scored", "llama.cpp's rule", (double)out.tokens,
                      parity_get(p, want, "tokens_scored"));
    }
    qp_json_free(json);
    real_close(&r);
}

/* Up to the first step whose two best logits lie closer than the folder's tolerance says a
 * computation can tell. */
void parity_real_greedy(parity *p, const char *path)
{
    real_model r = { 0 };
    qp_value *json = parity_json(p, path);
    qp_err err = { 0 };
    if (json && real_open(p, &r, QP_F32, true))
        for (const qp_value *k = qp_json_get(json, "prompts")->child; k; k = k->next) {
            const qp_value *f32 = qp_json_get(k, "f32"), *text = qp_json_get(k, "text"),
                           *gaps = qp_json_get(f32, "top1_minus_top2");
            int64_t n_prompt, n_want, n = 0, sure = 0;
            int32_t *prompt = parity_json_ids(qp_json_get(k, "prompt_ids"), &n_prompt);
            int32_t *want = parity_json_ids(qp_json_get(f32, "ids"), &n_want);
            int32_t *got = qp_xcalloc((size_t)n_want + 1, sizeof *got);
            qp_ids ids = { 0 };
            if (!gaps) parity_fail(p, "no top1_minus_top2 in greedy.json");
            while (gaps && sure < n_want && qp_json_at(gaps, sure)->number >= 1e-3) sure++;
            unsigned flags = QP_TOK_SPECIAL;
            if (parity_ok(p, qp_tokenizer_encode(r.t, text->str, text->str_len, flags, &ids, &err),
                          &err))
                parity_ints(p, "prompt", ids.id, ids.n, prompt, n_prompt);
            qp_generate_options o = { .max_tokens = n_want,
                                      .sampling = { .top_p = 1, .repetition_penalty = 1 } };
            parity_ok(p, qp_generate(&r.c, r.m, prompt, n_prompt, &o, got, &n, NULL, &err), &err);
            parity_ints(p, qp_json_get(k, "prompt")->str, got, n < sure ? n : sure, want, sure);
            qp_ids_release(&ids);
            free(prompt);
            free(want);
            free(got);
        }
    qp_json_free(json);
    real_close(&r);
}

/* Ten steps of LoRA from a given adapter, in f32 on weights held in bf16. */
void parity_real_lora(parity *p, const char *path)
{
    char relative[300];
    real_model r = { 0 };
    snprintf(relative, sizeof relative, "%s/trajectory.json", path);
    qp_value *json = parity_json(p, relative);
    if (json && real_open(p, &r, QP_F32, false)) {
        qp_err err = { 0 };
        char *adapter = parity_path(p, "%s/initial_adapter", path);
        if (parity_ok(p, qp_model_load_adapter(r.m, adapter, &err), &err) &&
            parity_ok(p, qp_model_seal(r.m, &err), &err)) {
            snprintf(relative, sizeof relative, "%s/batches.safetensors", path);
            parity_trajectory(p, &r.c, r.m, json, relative, "");
            const qp_value *norms = qp_json_get(json, "final_l2_norms");
            qp_params *params = qp_model_params(r.m);
            for (int64_t i = 0; norms && i < params->count; i++) {
                const qp_param *item = &params->item[i];
                char name[300];
                snprintf(name, sizeof name, "%s.weight", item->name);
                const qp_value *want = qp_json_get(norms, item->name);
                if (!want) want = qp_json_get(norms, name);
                double sum = 0;
                for (int64_t j = 0; j < qp_numel(item->t); j++) {
                    double v = (double)((const float *)params->master)[item->lo + j];
                    sum += v * v;
                }
                if (want)
                    parity_number(p, "final_l2_norms", item->name, sqrt(sum), want->number);
                else
                    parity_fail(p, "no final norm of %s in trajectory.json", item->name);
            }
        }
        free(adapter);
    }
    qp_json_free(json);
    real_close(&r);
}

/* A PEFT adapter on the real model: logits of one prompt. */
void parity_real_adapter(parity *p, const char *path)
{
    char relative[300];
    real_model r = { 0 };
    qp_safetensors st = { 0 };
    qp_err err = { 0 };
    snprintf(relative, sizeof relative, "%s/expected.json", path);
    qp_value *json = parity_json(p, relative);
    snprintf(relative, sizeof relative, "%s/expected.safetensors", path);
    char *adapter = parity_path(p, "%s/adapter", path);
    if (json && real_open(p, &r, QP_F32, false) &&
        parity_ok(p, qp_model_load_adapter(r.m, adapter, &err), &err) &&
        parity_ok(p, qp_model_seal(r.m, &err), &err) && parity_open(p, &st, relative)) {
        const qp_value *text = qp_json_get(json, "text");
        qp_ids ids = { 0 };
        int64_t n;
        double *want = parity_f64(p, &st, "last_logits", &n);
        int64_t vocab = qp_model_config(r.m)->vocab_size, best = 0;
        if (parity_ok(
                p, qp_tokenizer_encode(r.t, text->str, text->str_len, QP_TOK_SPECIAL, &ids, &err),
                &err) &&
            n == vocab) {
            qp_batch b = { 0 };
            qp_batch_add(&b, ids.id, NULL, ids.n);
            r.c.recording = false;
            const float *all =
                qp_model_logits(&r.c, r.m, qp_model_hidden(&r.c, r.m, &b, NULL))->data;
            double *got = parity_widen(all + (ids.n - 1) * vocab, QP_F32, vocab);
            parity_compare(p, "logits", "last_logits", got, want, vocab);
            for (int64_t i = 1; i < vocab; i++)
                if (got[i] > got[best]) best = i;
            parity_number(p, "argmax", "last position", (double)best,
                          parity_get(p, json, "last_argmax"));
            free(got);
            qp_batch_release(&b);
        } else {
            parity_fail(p, "last_logits: %lld values, the vocabulary has %lld", (long long)n,
                        (long long)vocab);
        }
        qp_ids_release(&ids);
        free(want);
    }
    free(adapter);
    qp_safetensors_release(&st);
    qp_json_free(json);
    real_close(&r);
}
