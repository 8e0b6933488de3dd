#include "train/setup.h"
#include "train/metrics.h"
#include "train/usage.h"
#include "autograd/cpu/dispatch.h"
#include "base/json.h"
#include "base/thread.h"
#include "base/word.h"
#include "base/zio.h"
#include <malloc.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is(const char *a, const char *b) { return !strcmp(a, b); }

/* Data */

static qp_source source_of(const qp_dataset *d)
{
    return (qp_source){ .path = d->path,
                        .type = d->type,
                        .field_messages = d->field_messages,
                        .field_prompt = d->field_prompt,
                        .field_completion = d->field_completion,
                        .field_instruction = d->field_instruction,
                        .field_input = d->field_input,
                        .field_output = d->field_output,
                        .field_text = d->field_text,
                        .weight = d->weight };
}

static bool same_roles(const qp_dataset *a, const qp_dataset *b)
{
    bool same = a->roles_to_train.n == b->roles_to_train.n && is(a->train_on_eos, b->train_on_eos);
    for (int i = 0; same && i < a->roles_to_train.n; i++)
        same = is(a->roles_to_train.v[i], b->roles_to_train.v[i]);
    return same;
}

static qp_status load_corpus(qp_setup *s, const qp_field_SOURCES *d, const char *name, qp_corpus *c,
                             qp_err *err)
{
    const qp_options *o = s->o;
    for (int i = 1; i < d->n; i++)
        if (!same_roles(&d->v[0], &d->v[i]))
            return qp_fail(
                err, QP_USAGE,
                "%s.%d: roles_to_train and train_on_eos must be those of %s.0 in this build", name,
                i, name);
    if (!d->v[0].roles_to_train.n)
        return qp_fail(err, QP_USAGE, "%s.0.roles_to_train: empty, nothing would be learned", name);
    qp_source *source = qp_xcalloc((size_t)d->n, sizeof *source);
    for (int i = 0; i < d->n; i++) source[i] = source_of(&d->v[i]);
    qp_corpus_options co = {
        .tokenizer = s->tokenizer,
        .chat = s->chat,
        .chat_options = { .date = o->chat_template_date,
                          .roles_to_train = (const char *const *)d->v[0].roles_to_train.v,
                          .n_roles = d->v[0].roles_to_train.n,
                          .train_on_eos = !is(d->v[0].train_on_eos, "none") },
        .sequence_len = o->sequence_len,
        .excess = is(o->excess_length_strategy, "raise")  ? QP_EXCESS_RAISE
                  : is(o->excess_length_strategy, "drop") ? QP_EXCESS_DROP
                                                          : QP_EXCESS_TRUNCATE,
        .on_bad = is(o->on_bad_sample, "raise") ? QP_BAD_RAISE : QP_BAD_SKIP,
        .bad_limit = o->bad_sample_limit,
        .threads = o->threads ? (int)o->threads : qp_cpu_count(),
    };
    qp_status rc = qp_corpus_load(c, source, d->n, &co, err);
    free(source);
    return rc;
}

static qp_status new_loader(qp_setup *s, qp_corpus *c, bool shuffle, qp_loader **l, qp_err *err)
{
    qp_loader_options lo = { .sequence_len = s->o->sequence_len,
                             .micro_batch_size = s->o->micro_batch_size,
                             .packing = s->o->sample_packing,
                             .shuffle = shuffle,
                             .seed = (uint64_t)s->o->seed };
    return qp_loader_new(l, c, &lo, err);
}

qp_status qp_setup_data(qp_setup *s, qp_err *err)
{
    const qp_options *o = s->o;
    if (!o->datasets.n)
        return qp_fail(err, QP_USAGE,
                       "datasets: nothing to learn from; list a file, or say --data DIR");
    if (o->test_datasets.n && o->val_set_size > 0)
        return qp_fail(err, QP_USAGE, "test_datasets and val_set_size %g: one of them is wanted",
                       o->val_set_size);
    qp_status rc =
        qp_tokenizer_open(&s->tokenizer, o->tokenizer ? o->tokenizer : o->base_model, err);
    if (!rc) rc = qp_chat_find(&s->chat, o->chat_template, s->tokenizer, err);
    if (!rc) rc = load_corpus(s, &o->datasets, "datasets", &s->train, err);
    if (!rc && o->test_datasets.n)
        rc = load_corpus(s, &o->test_datasets, "test_datasets", &s->valid, err);
    if (!rc && o->val_set_size > 0)
        rc = qp_corpus_split(&s->train, &s->valid, o->val_set_size, (uint64_t)o->seed, err);
    if (!rc) rc = new_loader(s, &s->train, true, &s->loader, err);
    if (!rc && s->valid.documents) rc = new_loader(s, &s->valid, false, &s->valid_loader, err);
    if (!rc) qp_tokenizer_hash(s->tokenizer, s->tokenizer_hash);
    if (!rc) qp_corpus_hash(&s->train, s->data_hash);
    return rc;
}

/* Model */

static qp_storage storage_named(const char *name)
{
    if (is(name, "file")) return QP_AS_FILED;
    return is(name, "f64") ? QP_F64 : is(name, "f32") ? QP_F32 : QP_BF16;
}

static void add_default(qp_buf *out, const qp_value *given, const char *key, int64_t v)
{
    if (v >= 0 && !qp_json_get(given, key)) qp_buf_printf(out, ", \"%s\": %lld", key, (long long)v);
}

/* A file from elsewhere may say more than is read; what a user writes here is meant. */
static qp_status check_config_keys(const qp_value *given, qp_err *err)
{
    static const char *const known[] = { "hidden_size",
                                         "intermediate_size",
                                         "num_hidden_layers",
                                         "num_attention_heads",
                                         "num_key_value_heads",
                                         "head_dim",
                                         "vocab_size",
                                         "max_position_embeddings",
                                         "rope_theta",
                                         "rope_scaling",
                                         "rope_parameters",
                                         "rms_norm_eps",
                                         "initializer_range",
                                         "tie_word_embeddings",
                                         "bos_token_id",
                                         "eos_token_id",
                                         "pad_token_id",
                                         "hidden_act",
                                         "attention_bias",
                                         "attention_dropout",
                                         "mlp_bias",
                                         "model_type",
                                         "architectures",
                                         "torch_dtype",
                                         "dtype",
                                         "use_cache",
                                         "transformers_version",
                                         "pretraining_tp" };
    enum { KNOWN = sizeof known / sizeof *known };
    for (const qp_value *v = given->child; v; v = v->next) {
        int i = 0;
        while (i < KNOWN && strcmp(known[i], v->key)) i++;
        if (i == KNOWN)
            return qp_fail(err, QP_USAGE,
                           "model_config: unknown key %s; the nearest known one is %s", v->key,
                           qp_word_nearest(v->key, known, KNOWN));
    }
    return QP_OK;
}

/* model_config as a config.json: what the tokenizer and sequence_len imply need not be said. */
static qp_status fresh_config(qp_setup *s, qp_config *cfg, qp_err *err)
{
    const char *json = s->o->model_config;
    qp_value *given;
    qp_status rc = qp_json_parse(&given, json, strlen(json), err);
    if (rc) return qp_wrap(err, "model_config");
    if ((rc = check_config_keys(given, err))) {
        qp_json_free(given);
        return rc;
    }
    qp_buf all = { 0 };
    qp_buf_add(&all, json, strlen(json) - 1); /* without the closing brace */
    add_default(&all, given, "vocab_size", qp_tokenizer_vocab(s->tokenizer));
    add_default(&all, given, "max_position_embeddings", s->o->sequence_len);
    add_default(&all, given, "bos_token_id", qp_tokenizer_bos(s->tokenizer));
    add_default(&all, given, "eos_token_id", qp_tokenizer_eos(s->tokenizer));
    qp_buf_char(&all, '}');
    rc = qp_config_parse(cfg, all.data, all.len, err);
    qp_buf_release(&all);
    qp_json_free(given);
    if (!rc) return QP_OK;
    err->status = QP_USAGE; /* no file is at fault */
    return qp_wrap(err, "model_config");
}

static qp_status add_adapter(qp_setup *s, qp_err *err)
{
    const qp_options *o = s->o;
    if (o->lora_model_dir) return qp_model_load_adapter(s->model, o->lora_model_dir, err);
    qp_lora_options lora = { .r = o->lora_r,
                             .alpha = o->lora_alpha,
                             .dropout = o->lora_dropout,
                             .rslora = is(o->lora_variant, "rslora"),
                             .targets = (const char *const *)o->lora_target_modules.v,
                             .n_targets = o->lora_target_modules.n };
    if (!lora.n_targets)
        return qp_fail(err, QP_USAGE, "lora_target_modules: empty, nothing would be trained");
    return qp_model_add_lora(s->model, &lora, err);
}

static qp_status check_fit(qp_setup *s, qp_err *err)
{
    const qp_config *cfg = qp_model_config(s->model);
    int64_t ids = qp_tokenizer_vocab(s->tokenizer);
    if (ids > cfg->vocab_size)
        return qp_fail(err, QP_USAGE, "tokenizer %s has %lld ids, %s's vocab_size is %lld",
                       s->o->tokenizer ? s->o->tokenizer : s->o->base_model, (long long)ids,
                       s->o->base_model ? s->o->base_model : "model_config",
                       (long long)cfg->vocab_size);
    if (s->o->sequence_len > cfg->max_positions)
        return qp_fail(err, QP_USAGE, "sequence_len %lld: %s's max_position_embeddings is %lld",
                       (long long)s->o->sequence_len,
                       s->o->base_model ? s->o->base_model : "model_config",
                       (long long)cfg->max_positions);
    return QP_OK;
}

static void hash_base(qp_task *task, void *arg)
{
    qp_setup *s = arg;
    const int threads = qp_cpu_thread_count(); /* put back, where no thread could be made */
    (void)task;
    qp_cpu_threads(1);
    qp_model_hash(s->model, s->base_hash);
    qp_cpu_threads(threads);
}

void qp_setup_hash(qp_setup *s) { s->hashing = qp_task_start("hashing", hash_base, s); }

bool qp_setup_hashed(qp_setup *s, bool wait)
{
    if (!s->hashing) return true;
    if (!wait && !qp_task_ended(s->hashing)) return false;
    qp_task_finish(s->hashing);
    s->hashing = NULL;
    return true;
}

static qp_status open_model(qp_setup *s, qp_err *err)
{
    const qp_options *o = s->o;
    qp_config cfg;
    s->compute = storage_named(o->dtype);
    s->adapter = is(o->adapter, "lora");
    s->objective = &qp_objective_sft;
    qp_model_options mo = { .compute = s->compute,
                            .load_in = storage_named(o->load_in),
                            .train_base = !s->adapter,
                            .seed = (uint64_t)o->seed,
                            .outline = s->outline };
    qp_status rc = o->base_model ? qp_model_open(&s->model, o->base_model, &mo, err)
                                 : fresh_config(s, &cfg, err);
    if (!rc && !o->base_model) rc = qp_model_create(&s->model, &cfg, &mo, err);
    if (!rc) rc = check_fit(s, err);
    if (!rc && s->adapter) rc = add_adapter(s, err);
    if (!rc) rc = qp_model_seal(s->model, err);
    if (rc) return rc;
    qp_optim_settings settings = { .beta1 = o->adam_beta1,
                                   .beta2 = o->adam_beta2,
                                   .eps = o->adam_epsilon,
                                   .weight_decay = o->weight_decay };
    return qp_optim_init(&s->optim, o->optimizer, &settings, qp_model_params(s->model), err);
}

/* Length */

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Micro-batches of num_epochs passes; every epoch is packed anew and may have a few more or less.
 */
static int64_t count_micros(qp_setup *s)
{
    double epochs = s->o->num_epochs;
    int64_t sum = 0;
    if (isnan(epochs)) return INT64_MAX;
    for (int64_t e = 0; (double)e < epochs; e++) {
        int64_t n = qp_loader_batches(s->loader, e);
        double part = epochs - (double)e;
        sum += part >= 1 ? n : (int64_t)ceil(part * (double)n);
    }
    return sum > 0 ? sum : 1;
}

/* Steps are micro-batches in order, gradient_accumulation_steps at a time, across the borders of
   epochs; the last of the run may have fewer. Tokens are turned into steps by their mean in the
   first epoch, so that the schedule knows its end. */
static qp_status plan_steps(qp_setup *s, qp_err *err)
{
    const qp_options *o = s->o;
    int64_t total = INT64_MAX, accumulate = o->gradient_accumulation_steps;
    s->total_micros = count_micros(s);
    if (s->total_micros != INT64_MAX) total = ceil_div(s->total_micros, accumulate);
    if (o->max_steps != QP_UNSET) total = least(total, o->max_steps);
    if (o->max_tokens != QP_UNSET) {
        double a_step =
            (double)s->train.n / (double)qp_loader_batches(s->loader, 0) * (double)accumulate;
        total = least(total, (int64_t)ceil((double)o->max_tokens / a_step));
    }
    if (!qp_schedule_find(o->lr_scheduler, &s->schedule.kind))
        return qp_fail(err, QP_BUG, "schedule %s is in one table and not in the other",
                       o->lr_scheduler);
    if (total == INT64_MAX && s->schedule.kind != QP_SCHEDULE_CONSTANT)
        return qp_fail(err, QP_USAGE,
                       "lr_scheduler %s: needs an end: max_steps, num_epochs or max_tokens",
                       o->lr_scheduler);
    s->total_steps = total == INT64_MAX ? 0 : total;
    s->schedule.total = s->total_steps;
    s->schedule.min_ratio = s->schedule.kind == QP_SCHEDULE_COSINE ? o->cosine_min_lr_ratio : 0;
    s->schedule.decay_ratio = o->wsd_decay_ratio;
    s->schedule.warmup = o->warmup_steps != QP_UNSET
                             ? o->warmup_steps
                             : (int64_t)ceil(o->warmup_ratio * (double)s->total_steps);
    return QP_OK;
}

static bool holds(const char *dir, const char *name)
{
    char *path = qp_path_join(dir, name);
    bool is_there = qp_path_exists(path);
    free(path);
    return is_there;
}

/* What people name instead of a model's folder: a run, an adapter, weights without a tokenizer. */
static qp_status check_base(const qp_options *o, qp_err *err)
{
    const char *base = o->base_model;
    if (!base && is(o->model_config, "{}"))
        return qp_fail(err, QP_USAGE, "base_model: missing (or model_config, for a new model)");
    if (!base && is(o->adapter, "lora")) /* it would be saved without what it belongs to */
        return qp_fail(
            err, QP_USAGE,
            "adapter lora: wants a base_model; of a new model (model_config) all weights "
            "are trained");
    if (!base) return QP_OK;
    if (!qp_path_exists(base))
        return qp_fail(err, QP_USAGE, "base_model %s: no such file or folder", base);
    if (!qp_path_is_dir(base)) return QP_OK;
    if (!holds(base, "config.json"))
        return qp_fail(err, QP_USAGE, "base_model %s: no config.json in this folder%s", base,
                       holds(base, "final/config.json") ? " (there is one in its final/)"
                       : holds(base, "adapter_config.json") ||
                               holds(base, "final/adapter_config.json")
                           ? " (an adapter: lora_model_dir goes on from one)"
                           : "");
    if (!o->tokenizer && !holds(base, "tokenizer.json") && !holds(base, "tokenizer.model"))
        return qp_fail(err, QP_USAGE,
                       "base_model %s: no tokenizer.json beside it (tokenizer: a file, a folder or "
                       "bytes)",
                       base);
    return QP_OK;
}

qp_status qp_setup_open(qp_setup *s, const qp_options *o, qp_err *err)
{
    s->o = o;
    qp_cpu_threads((int)o->threads);
    qp_status rc = check_base(o, err);
    if (!rc) rc = qp_setup_data(s, err);
    if (!rc) rc = plan_steps(s, err);
    s->program_bytes = (size_t)qp_rss_bytes();
    if (!rc) rc = open_model(s, err);
    (void)malloc_trim(0); /* what files were read into goes back to the kernel */
    return rc;
}

void qp_setup_release(qp_setup *s)
{
    (void)qp_setup_hashed(s, true);
    qp_optim_release(&s->optim);
    qp_model_free(s->model);
    qp_loader_free(s->loader);
    qp_loader_free(s->valid_loader);
    qp_corpus_release(&s->train);
    qp_corpus_release(&s->valid);
    qp_tokenizer_free(s->tokenizer);
}
