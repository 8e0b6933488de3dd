/* The general ops' groups. The word before the first dot of a case's name is its op; its inputs,
   shapes and attributes are the file's. Each case runs in f32 and in f64, and gradients are wanted
   where the file has them. A case of an unknown op or with an unknown attribute fails the group. */
#include "autograd/general.h"
#include "tests/parity/cases.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FIELDS = 4 };
typedef struct {
    parity_cases *g;
    const char *name; /* "sum.0_2_keep" */
    qp_storage storage;
    const qp_value *attributes;
    int inputs, asked;
    qp_tensor *input[MAX_FIELDS];
    const char *field[MAX_FIELDS], *key[MAX_FIELDS]; /* of inputs; attributes asked for */
} general_case;

/* Input `field` as it is stored: its whole shape, in the case's type. A case without it gets a
   tensor of no use, so that the op need not look. */
static qp_tensor *in(general_case *k, const char *field)
{
    char name[40];
    snprintf(name, sizeof name, "in.%s", field);
    const qp_file_tensor *s = parity_case_stored(k->g, k->name, name);
    if (!s || s->ndim > QP_MAX_DIMS) {
        parity_fail(k->g->p, "%s.%s: rank %d, at most %d is possible", k->name, name,
                    s ? s->ndim : -1, QP_MAX_DIMS);
        return qp_scalar(&k->g->c, k->storage, 0);
    }
    double *wide = parity_widen(s->data, s->storage, s->numel);
    qp_tensor *t = qp_values(&k->g->c, k->storage, s->ndim, s->shape, wide);
    free(wide);
    snprintf(name, sizeof name, "grad.%s", field);
    if (parity_case_find(k->g, k->name, name)) qp_want_grad(t);
    k->field[k->inputs] = field;
    return k->input[k->inputs++] = t;
}

/* ---- attributes ---- */

static const qp_value *attribute(general_case *k, const char *key)
{
    k->key[k->asked++] = key;
    return qp_json_get(k->attributes, key);
}

static int64_t whole(general_case *k, const char *key)
{
    const qp_value *v = attribute(k, key);
    if (v && v->is_integer) return v->integer;
    parity_fail(k->g->p, "%s: no whole number '%s' among its attributes", k->name, key);
    return 0;
}

static qp_axes axes(general_case *k)
{
    const qp_value *dims = attribute(k, "dims");
    qp_axes a = { 0 };
    if (!dims || dims->kind != QP_JSON_ARRAY || dims->count > QP_MAX_DIMS) {
        parity_fail(k->g->p, "%s: no array 'dims' among its attributes", k->name);
        return a;
    }
    for (const qp_value *v = dims->child; v; v = v->next) a.axis[a.count++] = (int)v->integer;
    return a;
}

static bool keep(general_case *k)
{
    const qp_value *v = attribute(k, "keepdim");
    return v && v->kind == QP_JSON_TRUE;
}

/* What is meant for readers; everything else has to be asked for by the op. */
static bool is_prose(const char *key) { return !strcmp(key, "formula") || !strcmp(key, "rows"); }

static void check_attributes(general_case *k)
{
    for (const qp_value *v = k->attributes ? k->attributes->child : NULL; v; v = v->next) {
        bool known = is_prose(v->key);
        for (int i = 0; i < k->asked; i++) known |= !strcmp(v->key, k->key[i]);
        if (!known) parity_fail(k->g->p, "%s: unknown attribute '%s'", k->name, v->key);
    }
}

/* ---- ops ---- */

static const struct {
    const char *op;
    qp_tensor *(*fn)(qp_ctx *c, qp_tensor *x);
} unary[] = {
    { "neg", qp_neg },
    { "exp", qp_exp },
    { "log", qp_log },
    { "sqrt", qp_sqrt },
    { "rsqrt", qp_rsqrt },
    { "tanh", qp_tanh },
    { "sigmoid", qp_sigmoid },
    { "silu", qp_silu },
    { "relu", qp_relu },
    { "gelu_erf", qp_gelu },
    { "gelu_tanh", qp_gelu_tanh },
};

static const struct {
    const char *op, *second;
    qp_tensor *(*fn)(qp_ctx *c, qp_tensor *x, qp_tensor *y);
} binary[] = {
    { "add", "y", qp_add },
    { "sub", "y", qp_sub },
    { "mul", "y", qp_mul },
    { "div", "y", qp_div },
    { "linear", "weight", qp_linear },
};

static qp_tensor *sum(qp_ctx *c, general_case *k)
{
    return qp_sum(c, in(k, "x"), axes(k), keep(k));
}
static qp_tensor *mean(qp_ctx *c, general_case *k)
{
    return qp_mean(c, in(k, "x"), axes(k), keep(k));
}
static qp_tensor *max(qp_ctx *c, general_case *k)
{
    return qp_max(c, in(k, "x"), QP_AXES((int)whole(k, "dim")), keep(k));
}
static qp_tensor *matmul(qp_ctx *c, general_case *k)
{
    qp_tensor *x = in(k, "x");
    return qp_matmul(c, x, in(k, "y"), false, false);
}
static qp_tensor *softmax(qp_ctx *c, general_case *k)
{
    qp_tensor *x = in(k, "x");
    if (parity_case_find(k->g, k->name, "in.mask")) x = qp_add(c, x, in(k, "mask"));
    return qp_softmax(c, x, (int)whole(k, "dim"));
}
static qp_tensor *log_softmax(qp_ctx *c, general_case *k)
{
    return qp_log_softmax(c, in(k, "x"), (int)whole(k, "dim"));
}
static qp_tensor *transpose(qp_ctx *c, general_case *k)
{
    qp_axes two = axes(k);
    return qp_transpose(c, in(k, "x"), two.axis[0], two.axis[1]);
}
/* To the shape that the file's result has. */
static qp_tensor *reshape(qp_ctx *c, general_case *k)
{
    const qp_file_tensor *out = parity_case_stored(k->g, k->name, "out");
    return qp_reshape(c, in(k, "x"), out->ndim, out->shape);
}
static qp_tensor *slice(qp_ctx *c, general_case *k)
{
    int64_t start = whole(k, "start"), end = whole(k, "end");
    return qp_slice(c, in(k, "x"), (int)whole(k, "dim"), start, end);
}
static qp_tensor *cat(qp_ctx *c, general_case *k)
{
    qp_tensor *x = in(k, "x"), *y = in(k, "y");
    return qp_concat(c, 2, (qp_tensor *[]){ x, y }, (int)whole(k, "dim"));
}
/* One tensor used three times. */
static qp_tensor *reuse(qp_ctx *c, general_case *k)
{
    qp_tensor *x = in(k, "x");
    return qp_add(c, qp_mul(c, x, x), x);
}
static qp_tensor *cross_entropy(qp_ctx *c, general_case *k)
{
    const qp_value *how = attribute(k, "reduction"), *smooth = attribute(k, "label_smoothing"),
                   *none = attribute(k, "ignore_index");
    qp_tensor *logits = in(k, "logits");
    int64_t n;
    int32_t *labels = parity_case_ids(k->g, k->name, "in.labels", &n);
    int32_t *targets = qp_arena_alloc(&c->arena, (size_t)(n + 1) * sizeof *targets);
    for (int64_t i = 0; i < n; i++)
        targets[i] = labels[i] == (none ? none->integer : -100) ? -1 : labels[i];
    free(labels);
    return qp_cross_entropy(c, logits, targets, smooth ? smooth->number : 0,
                            how && !strcmp(how->str, "sum")    ? QP_SUM
                            : how && !strcmp(how->str, "none") ? QP_NONE
                                                               : QP_MEAN);
}

static const struct {
    const char *op;
    qp_tensor *(*fn)(qp_ctx *c, general_case *k);
} others[] = {
    { "sum", sum },
    { "mean", mean },
    { "max", max },
    { "matmul", matmul },
    { "softmax", softmax },
    { "log_softmax", log_softmax },
    { "transpose", transpose },
    { "reshape", reshape },
    { "slice", slice },
    { "cat", cat },
    { "reuse", reuse },
    { "cross_entropy", cross_entropy },
};

#define COUNT(table) ((int)(sizeof(table) / sizeof *(table)))

static qp_tensor *run(qp_ctx *c, general_case *k)
{
    char op[40];
    snprintf(op, sizeof op, "%.*s", (int)strcspn(k->name, "."), k->name);
    for (int i = 0; i < COUNT(unary); i++)
        if (!strcmp(op, unary[i].op)) return unary[i].fn(c, in(k, "x"));
    for (int i = 0; i < COUNT(binary); i++)
        if (!strcmp(op, binary[i].op)) {
            qp_tensor *x = in(k, "x");
            return binary[i].fn(c, x, in(k, binary[i].second));
        }
    for (int i = 0; i < COUNT(others); i++)
        if (!strcmp(op, others[i].op)) return others[i].fn(c, k);
    parity_fail(k->g->p, "%s: an op that nothing here knows", k->name);
    return NULL;
}

/* ---- a case ---- */

/* Values of the case's type against a stored field; a tensor of no values needs no gradient. */
static void compare(general_case *k, const char *metric, const char *field, const void *data,
                    int64_t n)
{
    const qp_file_tensor *s = parity_case_stored(k->g, k->name, field);
    if (!s) return;
    if (s->numel != n || (n && !data)) {
        parity_fail(k->g->p, "%s: %lld values arrived, wanted %lld", s->name,
                    data ? (long long)n : 0LL, (long long)s->numel);
        return;
    }
    char what[200];
    snprintf(what, sizeof what, "%s in %s", s->name, qp_storages[k->storage].name);
    double *want = parity_widen(s->data, s->storage, s->numel),
           *got = parity_widen(data, k->storage, s->numel);
    parity_compare(k->g->p, metric, what, got, want, s->numel);
    free(want);
    free(got);
}

static bool same_shape(general_case *k, const qp_tensor *y)
{
    const qp_file_tensor *s = parity_case_stored(k->g, k->name, "out");
    if (y->ndim == s->ndim && !memcmp(y->shape, s->shape, (size_t)s->ndim * sizeof *s->shape))
        return true;
    qp_tensor want = { .storage = y->storage, .ndim = s->ndim };
    memcpy(want.shape, s->shape, sizeof want.shape);
    return parity_fail(k->g->p, "%s: the result is %s, wanted %s", k->name, qp_str(y),
                       qp_str(&want));
}

static void run_in(parity_cases *g, const char *name, qp_storage storage)
{
    general_case k = { g, name, storage, parity_case_attributes(g, name), .inputs = 0 };
    const qp_file_tensor *cotangent = parity_case_stored(g, name, "out_grad");
    qp_tensor *y = run(&g->c, &k);
    if (!y || !cotangent || !same_shape(&k, y)) return;
    check_attributes(&k);
    compare(&k, "out", "out", y->data, qp_numel(y));
    double *wide = parity_widen(cotangent->data, cotangent->storage, cotangent->numel);
    qp_tensor *dy = qp_values(&g->c, storage, y->ndim, y->shape, wide);
    free(wide);
    qp_backward_from(&g->c, y, dy->data);
    for (int i = 0; i < k.inputs; i++) {
        char field[40];
        snprintf(field, sizeof field, "grad.%s", k.field[i]);
        if (k.input[i]->needs_grad)
            compare(&k, "grad", field, k.input[i]->grad, qp_numel(k.input[i]));
    }
}

static void general(parity_cases *g, const char *name)
{
    static const qp_storage storages[] = { QP_F32, QP_F64 };
    for (int i = 0; i < 2; i++) {
        qp_scope s;
        qp_scope_open(&g->c.arena, &s);
        g->c.tape = NULL;
        run_in(g, name, storages[i]);
        g->c.tape = NULL; /* a case that failed half-way leaves one */
        qp_scope_close(&g->c.arena, &s);
    }
}

void parity_general(parity *p, const char *path) { parity_each_case(p, path, general); }

/* ---- cross-entropy: the general op, and head and loss in one ---- */

/* With the identity as head the fused op's logits are the case's, to the bit. */
static void fused_cross_entropy(parity_cases *g, const char *kase)
{
    const qp_file_tensor *t = parity_case_stored(g, kase, "in.logits"),
                         *dy = parity_case_stored(g, kase, "out_grad");
    int64_t n_labels, targets = 0;
    int32_t *labels = parity_case_ids(g, kase, "in.labels", &n_labels);
    if (t && t->ndim == 2 && dy && labels) {
        const int64_t n = t->shape[0], v = t->shape[1];
        const qp_value *reduction = qp_json_get(parity_case_attributes(g, kase), "reduction");
        for (int64_t i = 0; i < n_labels; i++) {
            if (labels[i] < 0) labels[i] = -1;
            targets += labels[i] >= 0;
        }
        double divide = reduction && !strcmp(reduction->str, "sum") ? 1 : (double)targets;
        qp_tensor *x = parity_case_input(g, kase, "in.logits", n, v, NULL);
        qp_tensor *head = qp_new(&g->c, QP_F32, 2, (int64_t[]){ v, v });
        for (int64_t i = 0; i < v * v; i++) ((float *)head->data)[i] = i % (v + 1) == 0;
        qp_tensor *loss = qp_linear_xent(&g->c, x, head, labels, NULL);
        float mean = (float)((double)*(float *)loss->data / divide);
        parity_case_compare(g, "out", kase, "out", &mean, NULL);
        qp_backward(&g->c, loss, (double)*(const float *)dy->data / divide);
        parity_case_compare(g, "grad", kase, "grad.logits", x->grad, NULL);
    }
    free(labels);
}

void parity_cross_entropy(parity *p, const char *path)
{
    parity_cases g;
    if (parity_cases_open(&g, p, path)) {
        parity_cases_run(&g, general);
        parity_cases_run(&g, fused_cross_entropy);
    }
    parity_cases_close(&g);
}
