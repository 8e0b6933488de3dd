/* Adapters as PEFT writes them: adapter_config.json says what is adapted and how, the tensors'
   names where. */
#include "base/json.h"
#include "base/zio.h"
#include "model/adapter.h"
#include "model/weights.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    qp_model *m;
    qp_value *root;
    int64_t r;
    double alpha;
    const qp_value *targets, *rank_pattern, *alpha_pattern;
    bool partial; /* the files' tensors say which of the targets are wrapped */
    qp_err *err;
    qp_status rc;
} peft;

/* What would make the adapter compute something else than LoRA, or change the base. */
static const char *const unsupported[] = {
    "use_dora",
    "use_qalora",
    "use_bdlora",
    "lora_bias",
    "fan_in_fan_out",
    "modules_to_save",
    "target_parameters",
    "layer_replication",
    "trainable_token_indices",
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "velora_config",
    "monteclora_config",
    "lora_ga_config",
    "corda_config",
    "loftq_config",
};

static bool is_unset(const qp_value *v)
{
    if (!v || v->kind == QP_JSON_NULL || v->kind == QP_JSON_FALSE) return true;
    return (v->kind == QP_JSON_ARRAY || v->kind == QP_JSON_OBJECT) && !v->child;
}

static bool is_string(const qp_value *v, const char *s)
{
    return v && v->kind == QP_JSON_STRING && !strcmp(v->str, s);
}

static qp_status refuse_features(const qp_value *root, qp_err *err)
{
    if (root->kind != QP_JSON_OBJECT) return qp_fail(err, QP_BADFILE, "must be a JSON object");
    if (!is_string(qp_json_get(root, "peft_type"), "LORA"))
        return qp_fail(err, QP_BADFILE, "peft_type: must be LORA");
    const qp_value *bias = qp_json_get(root, "bias"),
                   *init = qp_json_get(root, "init_lora_weights");
    if (!is_unset(bias) && !is_string(bias, "none"))
        return qp_fail(err, QP_BADFILE, "bias: only none is supported");
    /* the others start from something taken out of the base weights */
    if (init && init->kind == QP_JSON_STRING && !is_string(init, "gaussian") &&
        !is_string(init, "eva") && !is_string(init, "orthogonal"))
        return qp_fail(err, QP_BADFILE,
                       "init_lora_weights: %s changes the base model, not supported", init->str);
    for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++)
        if (!is_unset(qp_json_get(root, unsupported[i])))
            return qp_fail(err, QP_BADFILE, "%s: not supported", unsupported[i]);
    return QP_OK;
}

static qp_status get_number(const qp_value *root, const char *key, double otherwise, double *to,
                            qp_err *err)
{
    const qp_value *v = qp_json_get(root, key);
    *to = otherwise;
    if (is_unset(v)) return QP_OK;
    if (v->kind != QP_JSON_NUMBER || !(v->number >= 0))
        return qp_fail(err, QP_BADFILE, "%s: must be a number, not below 0", key);
    *to = v->number;
    return QP_OK;
}

/* PEFT takes these keys as regular expressions behind "(.*\.)?"; plain names need none. */
static qp_status check_pattern(const qp_value *root, const char *key, const qp_value **to,
                               qp_err *err)
{
    const qp_value *v = qp_json_get(root, key);
    *to = NULL;
    if (is_unset(v)) return QP_OK;
    if (v->kind != QP_JSON_OBJECT) return qp_fail(err, QP_BADFILE, "%s: must be an object", key);
    for (const qp_value *e = v->child; e; e = e->next) {
        if (strpbrk(e->key, "^$*+?()[]{}|\\"))
            return qp_fail(err, QP_BADFILE,
                           "%s: %s: regular expressions are not supported, only names", key,
                           e->key);
        if (e->kind != QP_JSON_NUMBER || !(e->number > 0))
            return qp_fail(err, QP_BADFILE, "%s: %s: must be a positive number", key, e->key);
    }
    *to = v;
    return QP_OK;
}

static double by_pattern(const qp_value *pattern, const char *linear, double otherwise)
{
    for (const qp_value *e = pattern ? pattern->child : NULL; e; e = e->next)
        if (qp_target_matches(e->key, linear)) return e->number;
    return otherwise;
}

static qp_status check_targets(peft *p, qp_err *err)
{
    const qp_value *t = qp_json_get(p->root, "target_modules");
    if (is_unset(t)) return qp_fail(err, QP_BADFILE, "target_modules: names nothing");
    p->partial = !is_unset(qp_json_get(p->root, "layers_to_transform")) ||
                 !is_unset(qp_json_get(p->root, "exclude_modules"));
    if (t->kind == QP_JSON_STRING) { /* a regular expression, or "all-linear": the tensors tell */
        p->partial |= strcmp(t->str, "all-linear") != 0;
        return QP_OK;
    }
    if (t->kind != QP_JSON_ARRAY)
        return qp_fail(err, QP_BADFILE, "target_modules: must be a list or a string");
    for (const qp_value *e = t->child; e; e = e->next) {
        if (e->kind != QP_JSON_STRING)
            return qp_fail(err, QP_BADFILE, "target_modules: must be a list of strings");
        qp_status rc = qp_target_check(p->m, "target_modules", e->str, QP_BADFILE, err);
        if (rc) return rc;
    }
    p->targets = t;
    return QP_OK;
}

static qp_status read_config(peft *p, qp_err *err)
{
    double r;
    const qp_value *rslora = qp_json_get(p->root, "use_rslora");
    qp_status rc = refuse_features(p->root, err);
    if (rc || (rc = get_number(p->root, "r", 8, &r, err)) ||
        (rc = get_number(p->root, "lora_alpha", 8, &p->alpha, err)) ||
        (rc = get_number(p->root, "lora_dropout", 0, &p->m->adapter.dropout, err)) ||
        (rc = check_pattern(p->root, "rank_pattern", &p->rank_pattern, err)) ||
        (rc = check_pattern(p->root, "alpha_pattern", &p->alpha_pattern, err)) ||
        (rc = check_targets(p, err)))
        return rc;
    if (!(r >= 1 && r < INT32_MAX && r == floor(r)))
        return qp_fail(err, QP_BADFILE, "r: must be a positive integer");
    if (p->m->adapter.dropout >= 1)
        return qp_fail(err, QP_BADFILE, "lora_dropout: must be below 1");
    p->r = (int64_t)r;
    p->m->adapter.rslora = rslora && rslora->kind == QP_JSON_TRUE;
    return QP_OK;
}

static bool is_listed(const peft *p, const char *linear)
{
    if (!p->targets) return true;
    for (const qp_value *e = p->targets->child; e; e = e->next)
        if (qp_target_matches(e->str, linear)) return true;
    return false;
}

static qp_status attach(peft *p, qp_weight *w, const qp_file_tensor *t)
{
    const qp_safetensors *st = &p->m->adapter.file;
    if (!t)
        return qp_fail(p->err, QP_BADFILE,
                       "%s: no tensor base_model.model.%s, which adapter_config.json wants",
                       st->path, w->name);
    return qp_weight_attach(w, t, st->file_path[t->file], "adapter_config.json", false, p->err);
}

static void wrap_stored(void *u, const char *name, qp_proj **slot)
{
    peft *p = u;
    if (p->rc || !is_listed(p, name)) return;
    char *a = qp_xformat("base_model.model.%s.lora_A.weight", name);
    char *b = qp_xformat("base_model.model.%s.lora_B.weight", name);
    const qp_file_tensor *ta = qp_safetensors_find(&p->m->adapter.file, a);
    const qp_file_tensor *tb = qp_safetensors_find(&p->m->adapter.file, b);
    free(a);
    free(b);
    if (p->partial && !ta && !tb) return;
    qp_adapted *l =
        qp_adapter_wrap(p->m, name, slot, (int64_t)by_pattern(p->rank_pattern, name, (double)p->r),
                        by_pattern(p->alpha_pattern, name, p->alpha));
    p->rc = attach(p, l->a, ta);
    if (!p->rc) p->rc = attach(p, l->b, tb);
}

static qp_status refuse_unexpected(const qp_model *m, qp_err *err)
{
    const qp_safetensors *st = &m->adapter.file;
    for (int64_t i = 0; i < st->count; i++) {
        bool used = false;
        for (int64_t j = 0; j < m->adapter.count && !used; j++)
            used = m->adapter.linear[j].a->file == &st->tensor[i] ||
                   m->adapter.linear[j].b->file == &st->tensor[i];
        if (!used)
            return qp_fail(err, QP_BADFILE,
                           "%s: %s: no part of the adapter that adapter_config.json describes",
                           st->file_path[st->tensor[i].file], st->tensor[i].name);
    }
    return m->adapter.count ? QP_OK : qp_fail(err, QP_BADFILE, "%s: adapts nothing", st->path);
}

qp_status qp_model_load_adapter(qp_model *m, const char *dir, qp_err *err)
{
    peft p = { .m = m, .err = err };
    qp_status rc = qp_adapter_check_none(m, err);
    if (rc) return rc;
    char *config = qp_path_join(dir, "adapter_config.json");
    rc = qp_json_load(&p.root, config, err);
    if (!rc && (rc = read_config(&p, err))) qp_wrap(err, "%s", config);
    if (!rc) rc = qp_safetensors_open(&m->adapter.file, dir, "adapter_model.safetensors", err);
    if (!rc) {
        m->arch->each_linear(m, wrap_stored, &p);
        rc = p.rc;
    }
    if (!rc) rc = refuse_unexpected(m, err);
    qp_json_free(p.root);
    free(config);
    return rc;
}
