#include "tests/parity/cases.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool parity_cases_open(parity_cases *g, parity *p, const char *path)
{
    char file[300];
    memset(g, 0, sizeof *g);
    g->p = p;
    snprintf(file, sizeof file, "%s.safetensors", path);
    if (!parity_open(p, &g->st, file) || !(g->json = parity_json(p, "ops/summary.json")))
        return false;
    g->summary = qp_json_get(g->json, strrchr(path, '/') + 1);
    g->met = qp_xcalloc((size_t)g->st.count + 1, sizeof *g->met);
    parity_context(&g->c);
    return true;
}

void parity_cases_close(parity_cases *g)
{
    for (int64_t i = 0; g->met && i < g->st.count; i++)
        if (!g->met[i]) parity_fail(g->p, "%s: nothing checks it", g->st.tensor[i].name);
    free(g->met);
    if (g->c.be) qp_ctx_release(&g->c);
    qp_safetensors_release(&g->st);
    qp_json_free(g->json);
}

void parity_cases_run(parity_cases *g, void (*fn)(parity_cases *g, const char *kase))
{
    for (int64_t i = 0; i < g->st.count; i++) {
        const char *name = g->st.tensor[i].name, *dot = strrchr(name, '.');
        if (!dot || strcmp(dot, ".out")) continue;
        char kase[100];
        qp_scope s;
        snprintf(kase, sizeof kase, "%.*s", (int)(dot - name), name);
        qp_scope_open(&g->c.arena, &s);
        fn(g, kase);
        qp_scope_close(&g->c.arena, &s);
    }
}

void parity_each_case(parity *p, const char *path, void (*fn)(parity_cases *g, const char *kase))
{
    parity_cases g;
    if (parity_cases_open(&g, p, path)) parity_cases_run(&g, fn);
    parity_cases_close(&g);
}

static const qp_file_tensor *meet(parity_cases *g, const char *name)
{
    const qp_file_tensor *t = qp_safetensors_find(&g->st, name);
    if (t) g->met[t - g->st.tensor] = true;
    return t;
}

const qp_file_tensor *parity_cases_tensor(parity_cases *g, const char *name)
{
    const qp_file_tensor *t = meet(g, name);
    if (!t) parity_fail(g->p, "%s: no tensor '%s'", g->st.path, name);
    return t;
}

const qp_file_tensor *parity_case_find(parity_cases *g, const char *kase, const char *field)
{
    char name[160];
    snprintf(name, sizeof name, "%s.%s", kase, field);
    return meet(g, name);
}

const qp_file_tensor *parity_case_stored(parity_cases *g, const char *kase, const char *field)
{
    char name[160];
    snprintf(name, sizeof name, "%s.%s", kase, field);
    return parity_cases_tensor(g, name);
}

int32_t *parity_case_ids(parity_cases *g, const char *kase, const char *field, int64_t *n)
{
    const qp_file_tensor *t = parity_case_stored(g, kase, field);
    return t ? parity_i32(g->p, &g->st, t->name, n) : NULL;
}

const qp_value *parity_case_attributes(parity_cases *g, const char *kase)
{
    return qp_json_get(qp_json_get(g->summary, kase), "attributes");
}

qp_tensor *parity_case_input(parity_cases *g, const char *kase, const char *field, int64_t rows,
                             int64_t cols, const int64_t *permute)
{
    const qp_file_tensor *s = parity_case_stored(g, kase, field);
    if (!s || s->storage != QP_F32 || s->numel != rows * cols) {
        parity_fail(g->p, "%s.%s: %lld of %s, expected %lld of F32", kase, field,
                    s ? (long long)s->numel : -1LL, s ? s->type : "nothing",
                    (long long)(rows * cols));
        return NULL;
    }
    qp_tensor *t = qp_new(&g->c, QP_F32, 2, (int64_t[]){ rows, cols });
    for (int64_t i = 0; i < s->numel; i++)
        ((float *)t->data)[permute ? permute[i] : i] = ((const float *)s->data)[i];
    t->needs_grad = true;
    return t;
}

void parity_case_compare(parity_cases *g, const char *metric, const char *kase, const char *field,
                         const void *data, const int64_t *permute)
{
    const qp_file_tensor *s = parity_case_stored(g, kase, field);
    if (!s) return;
    double *want = parity_widen(s->data, s->storage, s->numel),
           *got = qp_xcalloc((size_t)s->numel + 1, sizeof *got);
    if (!data) parity_fail(g->p, "%s: no gradient arrived", s->name);
    for (int64_t i = 0; data && i < s->numel; i++)
        got[i] = (double)((const float *)data)[permute ? permute[i] : i];
    if (data) parity_compare(g->p, metric, s->name, got, want, s->numel);
    free(want);
    free(got);
}

void parity_case_back(parity_cases *g, const char *kase, qp_tensor *y, const int64_t *permute)
{
    const qp_file_tensor *s = parity_case_stored(g, kase, "out_grad");
    if (!s) return;
    float *dy = qp_arena_alloc(&g->c.arena, (size_t)s->numel * sizeof *dy);
    for (int64_t i = 0; i < s->numel; i++)
        dy[permute ? permute[i] : i] = ((const float *)s->data)[i];
    qp_backward_from(&g->c, y, dy);
}
