/* The groups of ops/: each case's inputs through the f32 op, its cotangent back, outputs and
 * gradients compared. */
#include "autograd/ops.h"
#include "model/config.h"
#include "model/rope_table.h"
#include "optim/optim.h"
#include "tests/parity/cases.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rows and row length of a stored tensor. */
static void sizes(const qp_file_tensor *t, int64_t *rows, int64_t *cols)
{
    *cols = t->ndim ? t->shape[t->ndim - 1] : 1;
    *rows = *cols ? t->numel / *cols : 0;
}

static void rmsnorm_case(parity_cases *g, const char *kase)
{
    const qp_file_tensor *x = parity_case_stored(g, kase, "in.x");
    int64_t n, d;
    if (!x) return;
    sizes(x, &n, &d);
    qp_tensor *in = parity_case_input(g, kase, "in.x", n, d, NULL),
              *w = parity_case_input(g, kase, "in.weight", 1, d, NULL);
    if (!in || !w) return;
    w->ndim = 1;
    w->shape[0] = d;
    qp_tensor *y =
        qp_rmsnorm(&g->c, in, w, parity_get(g->p, parity_case_attributes(g, kase), "eps"));
    parity_case_compare(g, "out", kase, "out", y->data, NULL);
    parity_case_back(g, kase, y, NULL);
    parity_case_compare(g, "grad", kase, "grad.x", in->grad, NULL);
    parity_case_compare(g, "grad", kase, "grad.weight", w->grad, NULL);
}
void parity_rmsnorm(parity *p, const char *path) { parity_each_case(p, path, rmsnorm_case); }

static void swiglu_case(parity_cases *g, const char *kase)
{
    const qp_file_tensor *t = parity_case_stored(g, kase, "in.gate");
    int64_t n, d;
    if (!t) return;
    sizes(t, &n, &d);
    qp_tensor *gate = parity_case_input(g, kase, "in.gate", n, d, NULL),
              *up = parity_case_input(g, kase, "in.up", n, d, NULL);
    if (!gate || !up) return;
    qp_tensor *y = qp_swiglu(&g->c, gate, up);
    parity_case_compare(g, "out", kase, "out", y->data, NULL);
    parity_case_back(g, kase, y, NULL);
    parity_case_compare(g, "grad", kase, "grad.gate", gate->grad, NULL);
    parity_case_compare(g, "grad", kase, "grad.up", up->grad, NULL);
}
void parity_swiglu(parity *p, const char *path) { parity_each_case(p, path, swiglu_case); }

static void embedding_case(parity_cases *g, const char *kase)
{
    const qp_file_tensor *t = parity_case_stored(g, kase, "in.weight");
    int64_t v, d, n;
    int32_t *ids = parity_case_ids(g, kase, "in.ids", &n);
    if (t && ids) {
        sizes(t, &v, &d);
        qp_tensor *w = parity_case_input(g, kase, "in.weight", v, d, NULL);
        w->is_param = true; /* the op's only use of a gradient */
        w->grad_home = qp_arena_alloc(&g->c.arena, qp_value_bytes(w));
        qp_tensor *y = qp_embedding(&g->c, w, ids, n, QP_F32);
        parity_case_compare(g, "out", kase, "out", y->data, NULL);
        parity_case_back(g, kase, y, NULL);
        parity_case_compare(g, "grad", kase, "grad.weight", w->grad, NULL);
    }
    free(ids);
}
void parity_embedding(parity *p, const char *path) { parity_each_case(p, path, embedding_case); }

/* Stored [batch, heads, tokens, e] to our rows (batch*tokens, heads*e). */
static int64_t *heads_to_rows(parity_cases *g, const qp_file_tensor *t)
{
    int64_t h = t->shape[1], len = t->shape[2], e = t->shape[3];
    int64_t *to = qp_arena_alloc(&g->c.arena, (size_t)t->numel * sizeof *to);
    for (int64_t i = 0; i < t->numel; i++) {
        int64_t c = i % e, token = i / e % len, head = i / e / len % h, b = i / e / len / h;
        to[i] = ((b * len + token) * h + head) * e + c;
    }
    return to;
}

static void attention_case(parity_cases *g, const char *kase)
{
    const qp_file_tensor *tq = parity_case_stored(g, kase, "in.q"),
                         *tk = parity_case_stored(g, kase, "in.k");
    if (!tq || !tk || tq->ndim != 4 || tk->ndim != 4) return;
    int64_t b = tq->shape[0], h = tq->shape[1], len = tq->shape[2], e = tq->shape[3],
            kv = tk->shape[1], keys = tk->shape[2];
    int64_t *at_q = heads_to_rows(g, tq), *at_k = heads_to_rows(g, tk);
    qp_tensor *q = parity_case_input(g, kase, "in.q", b * len, h * e, at_q),
              *k = parity_case_input(g, kase, "in.k", b * keys, kv * e, at_k),
              *v = parity_case_input(g, kase, "in.v", b * keys, kv * e, at_k);
    int32_t *first = qp_arena_alloc(&g->c.arena, (size_t)(b * len) * sizeof *first),
            *last = qp_arena_alloc(&g->c.arena, (size_t)(b * len) * sizeof *last);
    const qp_value *docs = qp_json_get(parity_case_attributes(g, kase), "doc_ids");
    for (int64_t i = 0; i < b * len; i++) {
        int64_t row = i / len, token = i % len, from = 0;
        const qp_value *ids = docs ? qp_json_at(docs, row) : NULL;
        for (int64_t j = 1; ids && j <= token; j++)
            if (qp_json_at(ids, j)->integer != qp_json_at(ids, j - 1)->integer) from = j;
        first[i] = (int32_t)(row * keys + from);
        last[i] = (int32_t)(row * keys + keys - len + token);
    }
    if (!q || !k || !v) return;
    qp_tensor *y = qp_attention(&g->c, q, k, v, (qp_span){ first, last }, h, kv);
    parity_case_compare(g, "out", kase, "out", y->data, at_q);
    parity_case_back(g, kase, y, at_q);
    parity_case_compare(g, "grad", kase, "grad.q", q->grad, at_q);
    parity_case_compare(g, "grad", kase, "grad.k", k->grad, at_k);
    parity_case_compare(g, "grad", kase, "grad.v", v->grad, at_k);
}
void parity_attention(parity *p, const char *path) { parity_each_case(p, path, attention_case); }

/* Meta's interleaved pairs are the half-split op on permuted heads, which is how the model reads
 * such weights. */
static void rope_case(parity_cases *g, const char *kase)
{
    const qp_file_tensor *t = parity_case_stored(g, kase, "in.x"),
                         *cos_ = parity_case_stored(g, kase, "in.cos"),
                         *sin_ = parity_case_stored(g, kase, "in.sin");
    if (!t || !cos_ || !sin_ || t->ndim != 4) return;
    int64_t n = t->shape[0] * t->shape[1], h = t->shape[2], e = t->shape[3], *to = NULL;
    int32_t *pos = qp_arena_alloc(&g->c.arena, (size_t)n * sizeof *pos);
    for (int64_t i = 0; i < n; i++)
        pos[i] = (int32_t)i; /* the case's tables have a row per token */
    if (!strncmp(kase, "interleaved", 11)) {
        to = qp_arena_alloc(&g->c.arena, (size_t)t->numel * sizeof *to);
        for (int64_t i = 0; i < t->numel; i++) to[i] = i / e * e + i % 2 * (e / 2) + i % e / 2;
    }
    qp_tensor *x = parity_case_input(g, kase, "in.x", n, h * e, to);
    if (!x) return;
    qp_tensor *y = qp_rope(&g->c, x, cos_->data, sin_->data, pos, h);
    parity_case_compare(g, "out", kase, "out", y->data, to);
    parity_case_back(g, kase, y, to);
    parity_case_compare(g, "grad", kase, "grad.x", x->grad, to);
}

enum { MAX_FREQUENCIES = 512 };

static void frequencies(parity_cases *g, const char *kase, const char *field, const double *got,
                        int64_t n)
{
    const qp_file_tensor *t = parity_case_stored(g, kase, field);
    if (!t || t->numel != n) {
        parity_fail(g->p, "%s.%s: %lld values, expected %lld", kase, field,
                    t ? (long long)t->numel : -1LL, (long long)n);
        return;
    }
    double *want = parity_widen(t->data, t->storage, n);
    parity_compare(g->p, "tables", t->name, got, want, n);
    free(want);
}

static void rope_tables(parity_cases *g)
{
    for (const qp_value *v = g->summary ? g->summary->child : NULL; v; v = v->next) {
        if (strncmp(v->key, "table.", 6)) continue;
        qp_config cfg = { .heads = 1, .rope_scaled = true };
        cfg.head_dim = (int64_t)parity_get(g->p, v, "head_dim");
        cfg.rope_theta = parity_get(g->p, v, "theta");
        cfg.rope_factor = parity_get(g->p, v, "factor");
        cfg.rope_low_freq = parity_get(g->p, v, "low_freq_factor");
        cfg.rope_high_freq = parity_get(g->p, v, "high_freq_factor");
        cfg.rope_original_positions =
            (int64_t)parity_get(g->p, v, "original_max_position_embeddings");
        int64_t rows, half = cfg.head_dim / 2;
        int32_t *positions = parity_case_ids(g, v->key, "positions", &rows);
        const qp_file_tensor *want[] = { parity_case_stored(g, v->key, "cos"),
                                         parity_case_stored(g, v->key, "sin") };
        double inv_freq[MAX_FREQUENCIES];
        qp_config_frequencies(&cfg, inv_freq);
        frequencies(g, v->key, "inv_freq", inv_freq, half);
        frequencies(g, v->key, "inv_freq_f32", inv_freq, half);
        for (int64_t i = 0; positions && want[0] && want[1] && i < rows; i++) {
            const void *got[2];
            qp_rope_table table;
            qp_rope_table_init(&table, inv_freq, half, QP_F32);
            qp_rope_table_rows(&table, positions[i] + 1, &got[0], &got[1]);
            for (int k = 0; k < 2; k++) {
                double *wide =
                    parity_widen((const float *)got[k] + positions[i] * half, QP_F32, half);
                double *expected =
                    parity_widen((const float *)want[k]->data + i * half, QP_F32, half);
                parity_compare(g->p, "tables", v->key, wide, expected, half);
                free(wide);
                free(expected);
            }
            qp_rope_table_release(&table);
        }
        free(positions);
    }
}

void parity_rope(parity *p, const char *path)
{
    parity_cases g;
    if (parity_cases_open(&g, p, path)) {
        parity_cases_run(&g, rope_case);
        rope_tables(&g);
    }
    parity_cases_close(&g);
}

/* The optimiser itself on a store of one parameter. */
void parity_adamw(parity *p, const char *path)
{
    parity_cases group, *g = &group;
    qp_err err = { 0 };
    qp_optim o = { 0 };
    qp_params *params = qp_params_new(QP_F32);
    if (parity_cases_open(g, p, path)) {
        const qp_value *a = qp_json_get(g->summary, "adamw"), *betas = qp_json_get(a, "betas");
        const qp_file_tensor *start = parity_case_stored(g, "adamw", "in.p");
        qp_optim_settings s = { .beta1 = qp_json_at(betas, 0)->number,
                                .beta2 = qp_json_at(betas, 1)->number,
                                .eps = parity_get(p, a, "eps"),
                                .weight_decay = parity_get(p, a, "weight_decay") };
        qp_tensor *t = qp_params_add(params, "p", start->ndim, start->shape);
        if (parity_ok(p, qp_params_seal(params, &err), &err) &&
            parity_ok(p, qp_optim_init(&o, "adamw", &s, params, &err), &err)) {
            qp_params_set(params, qp_params_find(params, "p"), start->storage, start->data);
            qp_params_publish(params);
            for (int k = 0;; k++) {
                char field[3][16], grad[16];
                snprintf(grad, sizeof grad, "grad.%d", k);
                for (int i = 0; i < 3; i++)
                    snprintf(field[i], sizeof field[i], "%c.%d", "pmv"[i], k);
                const qp_file_tensor *dp = parity_case_find(g, "adamw", grad);
                if (!dp) break;
                memcpy(params->grad, dp->data, (size_t)params->n * sizeof(float));
                qp_optim_step(&o, &g->c, parity_get(p, a, "lr"), 1, k + 1);
                parity_case_compare(g, "p", "adamw", field[0], t->data, NULL);
                parity_case_compare(g, "m", "adamw", field[1], o.state[0], NULL);
                parity_case_compare(g, "v", "adamw", field[2], o.state[1], NULL);
            }
        }
        qp_optim_release(&o);
    }
    parity_cases_close(g);
    qp_params_free(params);
}
