/* The group of block quantisers. What is encoded must be the stored codes; what is decoded are the
   stored codes, so that a free choice between two does not spread. Every tensor of the file is
   compared or an input. */
#include "autograd/quantize.h"
#include "tests/parity/cases.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A field of the case, of a given type and size; NULL after failing the group. */
static const void *field(parity_cases *g, const char *kase, const char *name, const char *type,
                         int64_t n)
{
    const qp_file_tensor *t = parity_case_stored(g, kase, name);
    if (!t) return NULL;
    if (strcmp(t->type, type) || t->numel != n) {
        parity_fail(g->p, "%s: %lld of %s, expected %lld of %s", t->name, (long long)t->numel,
                    t->type, (long long)n, type);
        return NULL;
    }
    return t->data;
}

static void compare(parity_cases *g, const char *kase, const char *metric, const char *name,
                    const float *got, const float *want, int64_t n)
{
    char what[160];
    snprintf(what, sizeof what, "%s.%s", kase, name);
    double *a = parity_widen(got, QP_F32, n), *b = parity_widen(want, QP_F32, n);
    parity_compare(g->p, metric, what, a, b, n);
    free(a);
    free(b);
}

/* n values held against the field of that name. */
static void check(parity_cases *g, const char *kase, const char *metric, const char *name,
                  const float *got, int64_t n)
{
    const float *want = field(g, kase, name, "F32", n);
    if (want) compare(g, kase, metric, name, got, want, n);
}

/* How near to the middle between two values the tolerance leaves the choice free: the number behind
   "within" in its `but`. */
static double free_distance(parity_cases *g, const char *metric)
{
    const char *but = parity_but(g->p, metric), *within = but ? strstr(but, "within ") : NULL;
    double distance = within ? strtod(within + 7, NULL) : 0;
    if (but && !(distance > 0))
        parity_fail(g->p, "tolerances.json: '%s' of %s names no distance", but, metric);
    return distance;
}

/* Codes of `values`, the ascending values of the codes. Where got and want are neighbours and the
   number they stand for is within `free_` of their middle, either is right. */
static void check_codes(parity_cases *g, const char *kase, const char *metric, const char *name,
                        const uint8_t *got, const uint8_t *want, const float *values,
                        const float *x, const float *absmax, int64_t block, double free_, int64_t n)
{
    char what[160];
    snprintf(what, sizeof what, "%s.%s", kase, name);
    double *a = parity_widen(got, QP_U8, n), *b = parity_widen(want, QP_U8, n);
    for (int64_t i = 0; i < n; i++) {
        if (abs(got[i] - want[i]) != 1 || absmax[i / block] == 0) continue;
        double middle = ((double)values[got[i]] + (double)values[want[i]]) / 2;
        double scaled = (double)x[i] / (double)absmax[i / block];
        if (fabs(scaled - middle) <= free_) a[i] = b[i];
    }
    parity_compare(g->p, metric, what, a, b, n);
    free(a);
    free(b);
}

static void split(uint8_t *codes, const uint8_t *packed, int64_t n)
{
    for (int64_t i = 0; i < n; i++) codes[i] = i % 2 ? packed[i / 2] & 15 : packed[i / 2] >> 4;
}

/* A case's input and room for what we make of it. */
typedef struct {
    const float *x;
    int64_t n, blocks;
    float *absmax, *y;
    uint8_t *q;
    int8_t *q8;
} work;

static bool open_case(parity_cases *g, const char *kase, work *w, const char *input, int64_t block)
{
    const qp_value *info = qp_json_get(g->summary, kase);
    if ((int64_t)parity_get(g->p, info, "block") != block)
        return parity_fail(g->p, "%s: blocks of %ld are not those of the file", kase, (long)block);
    const qp_file_tensor *t = parity_cases_tensor(g, input);
    if (!t) return false;
    if (t->storage != QP_F32) return parity_fail(g->p, "%s is %s, not F32", input, t->type);
    w->n = t->numel;
    w->blocks = qp_blocks(w->n, block);
    w->x = t->data;
    w->absmax = qp_xcalloc((size_t)w->blocks + 1, sizeof(float));
    w->y = qp_xcalloc((size_t)w->n + 1, sizeof(float));
    w->q = qp_xcalloc((size_t)w->n + 1, 1);
    w->q8 = qp_xcalloc((size_t)w->n + 1, 1);
    return true;
}

static void close_case(work *w)
{
    free(w->absmax);
    free(w->y);
    free(w->q);
    free(w->q8);
}

/* Double quantisation. The offset is a mean, whose last bit depends on the order of the sum; where
   ours differs, a value moves against the middles by that much, relative to absmax2. */
static void check_double(parity_cases *g, const char *kase, const work *w, const uint8_t *packed,
                         const float *absmax)
{
    int64_t m = w->blocks, m2 = qp_blocks(m, QP_DYNAMIC8_BLOCK);
    const float *offset = field(g, kase, "double.offset", "F32", 1),
                *absmax2 = field(g, kase, "double.absmax2", "F32", m2);
    const uint8_t *codes = field(g, kase, "double.absmax_codes", "U8", m);
    if (!offset || !absmax2 || !codes) return;

    float *less = qp_xcalloc((size_t)m + 1, sizeof *less),
          *top = qp_xcalloc((size_t)m2 + 1, sizeof *top);
    uint8_t *q = qp_xcalloc((size_t)m + 1, 1);
    for (int64_t i = 0; i < m; i++) less[i] = absmax[i] - *offset;
    qp_dynamic8_encode(q, top, less, m); /* from the stored offset: no freedom */
    check_codes(g, kase, "dynamic8_codes", "double.absmax_codes", q, codes, qp_dynamic8_code, less,
                top, QP_DYNAMIC8_BLOCK, 0, m);
    compare(g, kase, "absmax", "double.absmax2", top, absmax2, m2);

    qp_absmax8 ours = { .q = q, .absmax2 = top };
    memcpy(less, absmax, (size_t)m * sizeof *less);
    qp_absmax8_encode(&ours, less, m);
    compare(g, kase, "dequantised", "double.offset", &ours.offset, offset, 1);
    compare(g, kase, "dequantised", "double.absmax2", top, absmax2, m2);
    double moved = fabs((double)ours.offset - (double)*offset), least = INFINITY;
    for (int64_t i = 0; i < m2; i++) least = fmin(least, (double)absmax2[i]);
    double free_ = moved > 0 && least > 0 ? 2 * moved / least + 0x1p-23 : 0;
    check_codes(g, kase, "dynamic8_codes", "double.absmax_codes", q, codes, qp_dynamic8_code, less,
                top, QP_DYNAMIC8_BLOCK, free_, m);

    memcpy(q, codes, (size_t)m);
    memcpy(top, absmax2, (size_t)m2 * sizeof *top);
    ours.offset = *offset;
    qp_absmax8_decode(less, &ours, 0, m);
    check(g, kase, "dequantised", "double.absmax_restored", less, m);
    qp_nf4_decode8(w->y, packed, &ours, 0, w->n);
    check(g, kase, "dequantised", "double.dequantized", w->y, w->n);
    free(less);
    free(top);
    free(q);
}

static void nf4_case(parity_cases *g, const char *kase)
{
    char input[100];
    work w = { 0 };
    snprintf(input, sizeof input, "%s.in", kase);
    if (open_case(g, kase, &w, input, QP_NF4_BLOCK)) {
        const uint8_t *packed = field(g, kase, "packed", "U8", (w.n + 1) / 2),
                      *codes = field(g, kase, "codes", "U8", w.n);
        const float *absmax = field(g, kase, "absmax", "F32", w.blocks);
        double free_ = free_distance(g, "nf4_codes");
        uint8_t *got = qp_xcalloc((size_t)w.n + 1, 1), *want = qp_xcalloc((size_t)w.n + 1, 1);
        if (packed && codes && absmax) {
            qp_nf4_encode(w.q, w.absmax, w.x, w.n);
            split(got, w.q, w.n);
            split(want, packed, w.n);
            check_codes(g, kase, "nf4_codes", "codes", got, codes, qp_nf4_levels, w.x, absmax,
                        QP_NF4_BLOCK, free_, w.n);
            check_codes(g, kase, "nf4_codes", "packed", got, want, qp_nf4_levels, w.x, absmax,
                        QP_NF4_BLOCK, free_, w.n);
            compare(g, kase, "absmax", "absmax", w.absmax, absmax, w.blocks);
            qp_nf4_decode(w.y, packed, absmax, 0, w.n);
            check(g, kase, "dequantised", "dequantized", w.y, w.n);
            check_double(g, kase, &w, packed, absmax);
        }
        free(got);
        free(want);
    }
    close_case(&w);
}

static void int8_case(parity_cases *g, const char *kase)
{
    char input[100], what[100];
    work w = { 0 };
    snprintf(input, sizeof input, "%s.in", kase);
    snprintf(what, sizeof what, "%s.codes", kase);
    if (open_case(g, kase, &w, input, QP_INT8_BLOCK)) {
        const int8_t *codes = field(g, kase, "codes", "I8", w.n);
        const float *absmax = field(g, kase, "absmax", "F32", w.blocks);
        if (codes && absmax) {
            qp_int8_encode(w.q8, w.absmax, w.x, w.n);
            double *got = qp_xcalloc((size_t)w.n + 1, sizeof *got),
                   *want = qp_xcalloc((size_t)w.n + 1, sizeof *want);
            for (int64_t i = 0; i < w.n; i++) got[i] = w.q8[i], want[i] = codes[i];
            parity_compare(g->p, "int8_codes", what, got, want, w.n);
            free(got);
            free(want);
            compare(g, kase, "absmax", "absmax", w.absmax, absmax, w.blocks);
            qp_int8_decode(w.y, codes, absmax, 0, w.n);
            check(g, kase, "dequantised", "dequantized", w.y, w.n);
        }
    }
    close_case(&w);
}

/* Its input is another case's, which the summary names. */
static void dynamic8_case(parity_cases *g, const char *kase)
{
    work w = { 0 };
    const qp_value *input = qp_json_get(qp_json_get(g->summary, kase), "input");
    if (!input || input->kind != QP_JSON_STRING) {
        parity_fail(g->p, "ops/summary.json: no \"input\" of %s", kase);
        return;
    }
    if (open_case(g, kase, &w, input->str, QP_DYNAMIC8_BLOCK)) {
        const uint8_t *codes = field(g, kase, "codes", "U8", w.n);
        const float *absmax = field(g, kase, "absmax", "F32", w.blocks);
        if (codes && absmax) {
            qp_dynamic8_encode(w.q, w.absmax, w.x, w.n);
            check_codes(g, kase, "dynamic8_codes", "codes", w.q, codes, qp_dynamic8_code, w.x,
                        absmax, QP_DYNAMIC8_BLOCK, free_distance(g, "dynamic8_codes"), w.n);
            compare(g, kase, "absmax", "absmax", w.absmax, absmax, w.blocks);
            qp_dynamic8_decode(w.y, codes, absmax, 0, w.n);
            check(g, kase, "dequantised", "dequantized", w.y, w.n);
        }
    }
    close_case(&w);
}

static const struct {
    const char *kind;
    void (*check)(parity_cases *g, const char *kase);
} kinds[] = { { "nf4", nf4_case }, { "int8", int8_case }, { "dynamic8", dynamic8_case } };

/* The case that a tensor is of, kind.index, is checked with all its fields. */
static void check_case_of(parity_cases *g, const char *tensor)
{
    size_t kind = strcspn(tensor, "."), index = kind + !!tensor[kind];
    index += strcspn(tensor + index, ".");
    char kase[100];
    snprintf(kase, sizeof kase, "%.*s", (int)index, tensor);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strlen(kinds[i].kind) == kind && !strncmp(kinds[i].kind, tensor, kind))
            kinds[i].check(g, kase);
}

/* The tables are held to what absmax is held to: the same f32. */
void parity_quantization(parity *p, const char *path)
{
    parity_cases g;
    if (parity_cases_open(&g, p, path)) {
        check(&g, "nf4", "absmax", "levels", qp_nf4_levels, 16);
        check(&g, "dynamic8", "absmax", "code", qp_dynamic8_code, 256);
        for (int64_t i = 0; i < g.st.count; i++)
            if (!g.met[i]) check_case_of(&g, g.st.tensor[i].name);
    }
    parity_cases_close(&g);
}
