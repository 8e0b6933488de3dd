#include "train/synonyms.h"
#include "base/log.h"
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *key, *value; /* as found; value in any case */
    const char *to, *word;   /* what it stands for; NULL: nothing, it is our way already */
    bool source;             /* in an entry of datasets */
} replacement;

#define ALL_LINEARS "[q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]"
static const replacement replacements[] = {
    { "adapter", "qlora", "adapter", "lora", false },
    { "adapter", "qlora", "load_in", "nf4", false },
    { "adapter", "full", "adapter", "none", false },
    { "fine_tune_type", "full", "adapter", "none", false },
    { "finetuning_type", "full", "adapter", "none", false },
    { "load_in_4bit", "true", "load_in", "nf4", false },
    { "load_in_4bit", "false", NULL, NULL, false },
    { "load_in_8bit", "true", "load_in", "int8", false },
    { "load_in_8bit", "false", NULL, NULL, false },
    { "peft_use_dora", "true", "lora_variant", "dora", false },
    { "peft_use_dora", "false", NULL, NULL, false },
    { "use_dora", "true", "lora_variant", "dora", false },
    { "use_dora", "false", NULL, NULL, false },
    { "peft_use_rslora", "true", "lora_variant", "rslora", false },
    { "peft_use_rslora", "false", NULL, NULL, false },
    { "use_rslora", "true", "lora_variant", "rslora", false },
    { "use_rslora", "false", NULL, NULL, false },
    { "lora_target_linear", "true", "lora_target_modules", ALL_LINEARS, false },
    { "lora_target_linear", "false", NULL, NULL, false },
    { "lora_target_modules", "all-linear", "lora_target_modules", ALL_LINEARS, false },
    { "target_modules", "all-linear", "lora_target_modules", ALL_LINEARS, false },
    { "bf16", "true", "dtype", "bf16", false },
    { "bf16", "auto", "dtype", "bf16", false },
    { "bf16", "false", "dtype", "f32", false },
    { "fp16", "false", NULL, NULL, false },
    { "tf32", "false", NULL, NULL, false },
    { "dtype", "bfloat16", "dtype", "bf16", false },
    { "dtype", "float32", "dtype", "f32", false },
    { "dtype", "fp32", "dtype", "f32", false },
    { "dtype", "float64", "dtype", "f64", false },
    { "precision", "bf16-true", "dtype", "bf16", false },
    { "precision", "bf16-mixed", "dtype", "bf16", false },
    { "precision", "32-true", "dtype", "f32", false },
    { "optimizer", "adamw_torch", "optimizer", "adamw", false },
    { "optimizer", "adamw_torch_fused", "optimizer", "adamw", false },
    { "optimizer", "adamw_bnb_8bit", "optimizer", "adamw_8bit", false },
    { "optim", "adamw_torch", "optimizer", "adamw", false },
    { "optim", "adamw_torch_fused", "optimizer", "adamw", false },
    { "lr_scheduler", "constant_with_warmup", "lr_scheduler", "constant", false },
    { "lr_scheduler", "cosine_with_min_lr", "lr_scheduler", "cosine", false },
    { "lr_scheduler", "warmup_stable_decay", "lr_scheduler", "wsd", false },
    { "lr_scheduler_type", "constant_with_warmup", "lr_scheduler", "constant", false },
    { "lr_scheduler_type", "cosine_with_min_lr", "lr_scheduler", "cosine", false },
    { "lr_scheduler_type", "warmup_stable_decay", "lr_scheduler", "wsd", false },
    { "resume_from_checkpoint", "true", "resume_from_checkpoint", "auto", false },
    { "resume_from_checkpoint", "false", "resume_from_checkpoint", "none", false },
    { "resume_from_checkpoint", "null", "resume_from_checkpoint", "none", false },
    { "auto_resume_from_checkpoints", "true", "resume_from_checkpoint", "auto", false },
    { "auto_resume_from_checkpoints", "false", "resume_from_checkpoint", "none", false },
    { "chat_template", "tokenizer_default", "chat_template", "auto", false },
    { "chat_template", "tokenizer", "chat_template", "auto", false },
    { "type", "completion", "type", "text", true },
    { "type", "chat", "type", "chat_template", true },
    { "type", "messages", "type", "chat_template", true },
    { "type", "completions", "type", "prompt_completion", true },
};

static const struct {
    const char *key, *why;
} unsupported[] = {
    { "fp16", "bf16 has f32's range and needs no loss scaling; say dtype: bf16" },
    { "deepspeed", "optimiser state is not sharded by it" },
    { "fsdp", "weights are not sharded by it" },
    { "fsdp_config", "weights are not sharded by it" },
    { "flash_attention", "attention is always tiled and exact" },
    { "flash_attn", "attention is always tiled and exact" },
    { "attn_implementation", "attention is always tiled and exact" },
    { "xformers_attention", "attention is always tiled and exact" },
    { "wandb_project", "no run is reported to a service; read metrics.jsonl" },
    { "wandb_entity", "no run is reported to a service; read metrics.jsonl" },
    { "report_to", "no run is reported to a service; read metrics.jsonl" },
    { "mlflow_tracking_uri", "no run is reported to a service; read metrics.jsonl" },
    { "trust_remote_code", "no code of a model is ever run" },
    { "device", "this program computes on the CPU" },
    { "device_map", "this program computes on the CPU" },
    { "num_layers", "adapters are put on every layer" },
    { "lora_scale", "say lora_alpha, which is scale times lora_r" },
    { "mask_prompt", "the loss is always on the answer; datasets of type text learn every token" },
    { "train_on_inputs",
      "the loss is always on the answer; datasets of type text learn every token" },
    { "group_by_length", "say sample_packing: true" },
    { "pad_to_sequence_len", "there is no padding" },
    { "dataloader_num_workers", "data are prepared before the first step" },
    { "global_batch_size", "say gradient_accumulation_steps" },
};

const char *qp_unsupported_key(const char *key)
{
    for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++)
        if (!strcmp(unsupported[i].key, key)) return unsupported[i].why;
    return NULL;
}

static bool matches(const replacement *r, const qp_tree *t, bool source)
{
    return r->source == source && t->key && !strcmp(r->key, t->key) && t->kind == QP_TREE_SCALAR &&
           !strcasecmp(r->value, t->text) && !(t->quoted && !strcmp(r->value, "null"));
}

qp_status qp_replace_words(qp_tree *map, bool source, qp_err *err)
{
    qp_tree *old = map->child;
    map->child = NULL;
    qp_status rc = QP_OK;
    while (old) {
        qp_tree *t = old;
        bool replaced = false;
        old = t->next;
        t->next = NULL;
        for (size_t i = 0; !rc && i < sizeof replacements / sizeof *replacements; i++) {
            const replacement *r = &replacements[i];
            qp_tree *word;
            if (!matches(r, t, source)) continue;
            replaced = true;
            if (!r->to) continue;
            qp_info("%s: %s is %s: %s here", t->key, t->text, r->to, r->word);
            if ((rc = qp_tree_parse(&word, r->word, strlen(r->word), t->where, err))) break;
            free(word->where);
            word->where = qp_xformat("%s (written %s: %s)", t->where, t->key, t->text);
            word->key = qp_xstrdup(r->to);
            qp_tree_append(map, word);
        }
        if (replaced)
            qp_tree_free(t);
        else
            qp_tree_append(map, t);
    }
    return rc;
}
