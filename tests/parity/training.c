/* training/: whole trajectories, one accumulated step, schedules. */
#include "tests/parity/training.h"
#include "optim/optim.h"
#include "tests/parity/models.h"
#include "train/step.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static qp_schedule schedule_of(parity *p, const qp_value *json, int64_t total)
{
    qp_schedule s = { .kind = QP_SCHEDULE_CONSTANT, .total = total };
    const qp_value *name = qp_json_get(json, "schedule"), *ratio = qp_json_get(json, "min_lr_rate");
    if (name && !strncmp(name->str, "cosine", 6)) {
        s.kind = QP_SCHEDULE_COSINE;
        s.warmup = (int64_t)parity_get(p, json, "warmup_steps");
        s.min_ratio = ratio ? ratio->number : 0;
    }
    return s;
}

static void compare_step(parity *p, int64_t k, const qp_value *want, double lr, double loss,
                         double norm)
{
    char what[40];
    snprintf(what, sizeof what, "step %lld", (long long)k);
    if (qp_json_get(want, "lr"))
        parity_number(p, "lr_per_step", what, lr, parity_get(p, want, "lr"));
    parity_number(p, "loss_per_step", what, loss, parity_get(p, want, "loss"));
    parity_number(p, "grad_norm_per_step", what, norm, parity_get(p, want, "grad_norm"));
}

/* The training loop's own step, fed with stored batches instead of a loader. */
static void open_stepper(qp_stepper *s, qp_ctx *c, qp_model *m, qp_optim *o, int64_t micros,
                         bool tree)
{
    *s = (qp_stepper){ .ctx = c,
                       .model = m,
                       .optim = o,
                       .objective = &qp_objective_sft,
                       .schedule = { .kind = QP_SCHEDULE_CONSTANT },
                       .accumulate = micros,
                       .tree = tree };
    qp_stepper_init(s);
}

void parity_trajectory(parity *p, qp_ctx *c, qp_model *m, const qp_value *json, const char *batches,
                       const char *grad_prefix)
{
    qp_safetensors st = { 0 };
    qp_err err = { 0 };
    qp_optim o = { 0 };
    qp_params *params = qp_model_params(m);
    const qp_value *betas = qp_json_get(json, "betas"), *steps = qp_json_get(json, "steps");
    qp_optim_settings settings = { .beta1 = qp_json_at(betas, 0)->number,
                                   .beta2 = qp_json_at(betas, 1)->number,
                                   .eps = parity_get(p, json, "eps"),
                                   .weight_decay = parity_get(p, json, "weight_decay") };
    if (!parity_open(p, &st, batches)) return;
    const qp_file_tensor *shape = qp_safetensors_find(&st, "input_ids");
    int32_t *ids = parity_i32(p, &st, "input_ids", NULL),
            *labels = parity_i32(p, &st, "labels", NULL);
    if (ids && labels && parity_ok(p, qp_optim_init(&o, "adamw", &settings, params, &err), &err)) {
        int64_t rows = shape->shape[1], len = shape->shape[2], k = 0;
        qp_stepper s;
        qp_step_result r;
        open_stepper(&s, c, m, &o, 1, false);
        s.schedule = schedule_of(p, json, steps->count);
        s.peak_lr = parity_get(p, json, "lr");
        s.max_grad_norm = parity_get(p, json, "clip_grad_norm");
        for (const qp_value *want = steps->child; want; want = want->next, k++) {
            qp_batch_clear(&s.batch[0]);
            parity_add_rows(&s.batch[0], ids + k * rows * len, labels + k * rows * len, NULL, rows,
                            len);
            qp_step_batches(&s, 1, k + 1, k + 1, &r);
            if (k == 0 && grad_prefix[0]) /* stored as before clipping, and left so by the step */
                parity_gradients(p, params, &st, grad_prefix, "grad_step1", "step 1");
            compare_step(p, k + 1, want, r.lr, r.nll / (double)r.trained, r.grad_norm);
        }
        qp_stepper_release(&s);
    }
    free(ids);
    free(labels);
    qp_optim_release(&o);
    qp_safetensors_release(&st);
}

/* Final masters against a stored file, names as stored with prefix in front and ending behind our
 * parameter's. */
static void compare_final(parity *p, qp_params *params, const char *relative, const char *prefix,
                          const char *const *metrics)
{
    qp_safetensors st = { 0 };
    if (!parity_open(p, &st, relative)) return;
    for (int64_t i = 0; i < params->count; i++) {
        char name[400];
        snprintf(name, sizeof name, "%s%s", prefix, params->item[i].name);
        if (!qp_safetensors_find(&st, name))
            snprintf(name, sizeof name, "%s%s.weight", prefix, params->item[i].name);
        int64_t n;
        double *want = parity_f64(p, &st, name, &n),
               *got = parity_widen((const float *)params->master + params->item[i].lo, QP_F32, n);
        for (int k = 0; want && metrics[k]; k++)
            parity_compare(p, metrics[k], params->item[i].name, got, want, n);
        free(want);
        free(got);
    }
    qp_safetensors_release(&st);
}

static qp_model *open_for_training(parity *p, const qp_value *json, const char *adapter)
{
    qp_err err = { 0 };
    qp_model *m = NULL;
    const qp_value *base = qp_json_get(json, "model");
    char *path = parity_path(p, "%s", base->str);
    qp_model_options o = { .compute = QP_F32, .load_in = QP_F32, .train_base = !adapter };
    if (parity_ok(p, qp_model_open(&m, path, &o, &err), &err) &&
        (!adapter || parity_ok(p, qp_model_load_adapter(m, adapter, &err), &err)))
        parity_ok(p, qp_model_seal(m, &err), &err);
    free(path);
    if (!p->failure[0]) return m;
    qp_model_free(m);
    return NULL;
}

/* training/full and training/long */
void parity_training_full(parity *p, const char *path)
{
    static const char *const metrics[] = { "final_weights", "final_weights_p999",
                                           "final_weights_max", NULL };
    char relative[300];
    snprintf(relative, sizeof relative, "%s/trajectory.json", path);
    qp_value *json = parity_json(p, relative);
    qp_model *m = json ? open_for_training(p, json, NULL) : NULL;
    qp_ctx c;
    parity_context(&c);
    if (m) {
        snprintf(relative, sizeof relative, "%s/batches.safetensors", path);
        char *batches = parity_path(p, "%s", relative);
        if (!qp_path_exists(batches)) parity_fail(p, "no %s", relative);
        free(batches);
        if (!p->failure[0]) parity_trajectory(p, &c, m, json, relative, "");
        snprintf(relative, sizeof relative, "%s/final_weights.safetensors", path);
        compare_final(p, qp_model_params(m), relative, "", metrics);
    }
    qp_ctx_release(&c);
    qp_model_free(m);
    qp_json_free(json);
}

static void adapter_logits(parity *p, qp_ctx *c, qp_model *m, const char *batches,
                           const char *field)
{
    qp_safetensors st = { 0 };
    if (!parity_open(p, &st, batches)) return;
    const qp_file_tensor *shape = qp_safetensors_find(&st, "input_ids");
    int64_t n, rows = shape->shape[1], len = shape->shape[2];
    int32_t *ids = parity_i32(p, &st, "input_ids", NULL),
            *labels = parity_i32(p, &st, "labels", NULL);
    double *want = parity_f64(p, &st, field, &n);
    qp_batch b = { 0 };
    parity_add_rows(&b, ids, labels, NULL, rows, len);
    qp_scope s;
    qp_scope_open(&c->arena, &s);
    c->recording = false;
    double *got =
        parity_widen(qp_model_logits(c, m, qp_model_hidden(c, m, &b, NULL))->data, QP_F32, n);
    if (want) parity_compare(p, "logits_adapter", field, got, want, n);
    c->recording = true;
    qp_scope_close(&c->arena, &s);
    qp_batch_release(&b);
    free(got);
    free(want);
    free(ids);
    free(labels);
    qp_safetensors_release(&st);
}

/* The logits that a stored adapter gives, which has nothing to do with how it came about. */
static void stored_adapter(parity *p, const qp_value *json, const char *path, const char *which,
                           const char *field)
{
    char batches[300];
    qp_ctx c;
    char *dir = parity_path(p, "%s/%s", path, which);
    qp_model *m = open_for_training(p, json, dir);
    snprintf(batches, sizeof batches, "%s/batches.safetensors", path);
    parity_context(&c);
    if (m) adapter_logits(p, &c, m, batches, field);
    qp_ctx_release(&c);
    qp_model_free(m);
    free(dir);
}

void parity_training_lora(parity *p, const char *path)
{
    static const char *const metrics[] = { "final_adapter", NULL };
    char relative[300], batches[300];
    snprintf(relative, sizeof relative, "%s/trajectory.json", path);
    snprintf(batches, sizeof batches, "%s/batches.safetensors", path);
    qp_value *json = parity_json(p, relative);
    char *adapter = parity_path(p, "%s/initial_adapter", path);
    qp_model *m = json ? open_for_training(p, json, adapter) : NULL;
    qp_ctx c;
    parity_context(&c);
    if (m) {
        stored_adapter(p, json, path, "initial_adapter", "logits_initial_adapter");
        stored_adapter(p, json, path, "final_adapter", "logits_final_adapter");
        parity_trajectory(p, &c, m, json, batches, "grad_step1.");
        snprintf(relative, sizeof relative, "%s/final_adapter/adapter_model.safetensors", path);
        compare_final(p, qp_model_params(m), relative, "base_model.model.", metrics);
    }
    free(adapter);
    qp_ctx_release(&c);
    qp_model_free(m);
    qp_json_free(json);
}

/* Each micro-batch's loss, then one step over all of them at rate 0: it leaves the gradients and
 * changes nothing. */
static void accumulate(parity *p, qp_stepper *s, const qp_value *json, const qp_safetensors *st,
                       int64_t micros)
{
    qp_step_result r;
    s->ctx->recording = false;
    for (int64_t i = 0; i < micros; i++) {
        qp_scope scope;
        char what[40];
        snprintf(what, sizeof what, "micro-batch %lld", (long long)i);
        qp_scope_open(&s->ctx->arena, &scope);
        double nll = (double)*(float *)qp_model_loss(s->ctx, s->model, &s->batch[i], NULL)->data;
        qp_scope_close(&s->ctx->arena, &scope);
        parity_number(p, "nll_sums", what, nll,
                      qp_json_at(qp_json_get(json, "nll_sums"), i)->number);
    }
    s->ctx->recording = true;
    qp_step_batches(s, micros, 1, 1, &r);
    const char *what = s->tree ? "the step, as a tree" : "the step, in a row";
    parity_number(p, "loss", what, r.nll / (double)r.trained, parity_get(p, json, "loss"));
    parity_number(p, "grad_norm", what, r.grad_norm, parity_get(p, json, "grad_norm"));
    parity_gradients(p, s->optim->params, st, "grad.", "grad", what);
}

/* Micro-batches with unequal target counts, one of them with none: the gradient of sum(nll) / all
 * targets. */
void parity_accumulation(parity *p, const char *path)
{
    char relative[300];
    qp_safetensors st = { 0 };
    qp_optim o = { 0 };
    qp_err err = { 0 };
    snprintf(relative, sizeof relative, "%s/case.json", path);
    qp_value *json = parity_json(p, relative);
    snprintf(relative, sizeof relative, "%s/case.safetensors", path);
    qp_model *m = json ? open_for_training(p, json, NULL) : NULL;
    qp_optim_settings settings = { .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8 };
    qp_ctx c;
    parity_context(&c);
    if (m && parity_open(p, &st, relative) &&
        parity_ok(p, qp_optim_init(&o, "adamw", &settings, qp_model_params(m), &err), &err)) {
        const qp_file_tensor *shape = qp_safetensors_find(&st, "input_ids");
        int64_t micros = shape->shape[0], rows = shape->shape[1], len = shape->shape[2];
        int32_t *ids = parity_i32(p, &st, "input_ids", NULL),
                *labels = parity_i32(p, &st, "labels", NULL);
        for (int tree = 0; tree < 2; tree++) {
            qp_stepper s;
            open_stepper(&s, &c, m, &o, micros, tree);
            for (int64_t i = 0; i < micros; i++)
                parity_add_rows(&s.batch[i], ids + i * rows * len, labels + i * rows * len, NULL,
                                rows, len);
            accumulate(p, &s, json, &st, micros);
            qp_stepper_release(&s);
        }
        free(ids);
        free(labels);
    }
    qp_optim_release(&o);
    qp_ctx_release(&c);
    qp_safetensors_release(&st);
    qp_model_free(m);
    qp_json_free(json);
}

/* Ours is a function of the steps done: transformers' factor k of the older schedules (whose first
   update has rate 0), and k + 1 of the one that warms up from above 0. */
void parity_schedules(parity *p, const char *path)
{
    static const struct {
        const char *golden;
        qp_schedule_kind kind;
        bool min_ratio;
        int64_t ahead;
    } rows[] = { { "constant_with_warmup", QP_SCHEDULE_CONSTANT, false, 0 },
                 { "linear", QP_SCHEDULE_LINEAR, false, 0 },
                 { "cosine", QP_SCHEDULE_COSINE, false, 0 },
                 { "cosine_with_min_lr", QP_SCHEDULE_COSINE, true, 0 },
                 { "cosine_warmup_with_min_lr", QP_SCHEDULE_COSINE, true, 1 },
                 { "wsd_linear_warmup_cosine_decay", QP_SCHEDULE_WSD, true, 0 } };
    qp_value *json = parity_json(p, path);
    const qp_value *factors = qp_json_get(json, "factors");
    for (const qp_value *f = factors ? factors->child : NULL; f; f = f->next) {
        size_t i = 0;
        while (i < sizeof rows / sizeof rows[0] && strcmp(rows[i].golden, f->key)) i++;
        if (i == sizeof rows / sizeof rows[0]) {
            snprintf(p->note + strlen(p->note), sizeof p->note - strlen(p->note), "%s%s",
                     p->note[0] ? ", " : "not built yet: ", f->key);
            continue;
        }
        qp_schedule s = { .kind = rows[i].kind,
                          .warmup = (int64_t)parity_get(p, json, "warmup_steps"),
                          .total = (int64_t)parity_get(p, json, "total_steps") };
        if (rows[i].min_ratio) s.min_ratio = parity_get(p, json, "min_lr_rate");
        s.decay_ratio = parity_get(p, json, "wsd_decay_steps") / (double)s.total;
        int64_t k = 0;
        for (const qp_value *v = f->child; v; v = v->next, k++) {
            char what[80];
            snprintf(what, sizeof what, "%s[%lld]", f->key, (long long)k);
            parity_number(p, "factors", what, qp_schedule_factor(&s, k + rows[i].ahead), v->number);
        }
    }
    qp_json_free(json);
}
