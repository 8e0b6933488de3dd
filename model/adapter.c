/* LoRA on the linears that are named. */
#include "model/adapter.h"
#include "model/lora.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

bool qp_target_matches(const char *target, const char *linear)
{
    size_t t = strlen(target), l = strlen(linear);
    if (t == 0 || t > l || strcmp(linear + l - t, target)) return false;
    return t == l || linear[l - t - 1] == '.';
}

const char *qp_linear_kind(const char *linear)
{
    const char *dot = strrchr(linear, '.');
    return dot ? dot + 1 : linear;
}

qp_adapted *qp_adapter_wrap(qp_model *m, const char *name, qp_proj **slot, int64_t r, double alpha)
{
    qp_adapter *ad = &m->adapter;
    ad->linear = qp_xrealloc(ad->linear, (size_t)ad->count + 1, sizeof *ad->linear);
    qp_adapted *l = &ad->linear[ad->count++];
    *l = (qp_adapted){ .name = qp_xstrdup(name), .r = r, .alpha = alpha };
    char *a = qp_xformat("%s.lora_A.weight", name), *b = qp_xformat("%s.lora_B.weight", name);
    l->a = qp_model_declare_adapter(m, a, r, (*slot)->in,
                                    (qp_init){ .uniform = 1 / sqrt((double)(*slot)->in) });
    l->b = qp_model_declare_adapter(m, b, (*slot)->out, r, (qp_init){ 0 });
    free(a);
    free(b);
    double scale = alpha / (ad->rslora ? sqrt((double)r) : (double)r);
    *slot = qp_lora_wrap(*slot, l->a->t, l->b->t, scale, ad->dropout);
    return l;
}

typedef struct {
    const char *target;
    int64_t hits;
} hit_count;

static void count_hit(void *u, const char *name, qp_proj **slot)
{
    hit_count *h = u;
    (void)slot;
    h->hits += qp_target_matches(h->target, name);
}

static void add_kind(void *u, const char *name, qp_proj **slot)
{
    qp_buf *known = u;
    const char *kind = qp_linear_kind(name);
    (void)slot;
    if (known->data && strstr(known->data, kind)) return;
    qp_buf_printf(known, "%s%s", known->len ? ", " : "", kind);
}

qp_status qp_target_check(qp_model *m, const char *key, const char *target, qp_status status,
                          qp_err *err)
{
    hit_count h = { target, 0 };
    m->arch->each_linear(m, count_hit, &h);
    if (h.hits) return QP_OK;
    qp_buf known = { 0 };
    m->arch->each_linear(m, add_kind, &known);
    qp_fail(err, status, "%s: %s is no linear of this model (%s)", key, target, known.data);
    qp_buf_release(&known);
    return status;
}

qp_status qp_adapter_check_none(const qp_model *m, qp_err *err)
{
    QP_ASSERT(!m->params->sealed, "an adapter after the model was sealed");
    if (m->adapter.count) return qp_fail(err, QP_USAGE, "the model has an adapter already");
    return QP_OK;
}

typedef struct {
    qp_model *m;
    const qp_lora_options *o;
} fresh;

static void wrap_fresh(void *u, const char *name, qp_proj **slot)
{
    const fresh *f = u;
    for (int i = 0; i < f->o->n_targets; i++)
        if (qp_target_matches(f->o->targets[i], name)) {
            qp_adapter_wrap(f->m, name, slot, f->o->r, f->o->alpha);
            return;
        }
}

qp_status qp_model_add_lora(qp_model *m, const qp_lora_options *o, qp_err *err)
{
    qp_status rc = qp_adapter_check_none(m, err);
    if (rc) return rc;
    if (o->r < 1 || o->r > INT32_MAX)
        return qp_fail(err, QP_USAGE, "lora_r %lld: must be positive", (long long)o->r);
    if (!(o->dropout >= 0 && o->dropout < 1))
        return qp_fail(err, QP_USAGE, "lora_dropout %g: must be from 0 to below 1", o->dropout);
    if (!o->n_targets) return qp_fail(err, QP_USAGE, "lora_target_modules: names nothing");
    for (int i = 0; i < o->n_targets && !rc; i++)
        rc = qp_target_check(m, "lora_target_modules", o->targets[i], QP_USAGE, err);
    if (rc) return rc;
    m->adapter.dropout = o->dropout;
    m->adapter.rslora = o->rslora;
    m->arch->each_linear(m, wrap_fresh, &(fresh){ m, o });
    return QP_OK;
}
