/* What train and eval see of a model. Architectures are rows of registry.c; Llama is the first. */
#ifndef QP_MODEL_MODEL_H
#define QP_MODEL_MODEL_H
#include "autograd/ops.h"
#include "autograd/param.h"
#include "base/batch.h"
#include "base/buf.h"
QP_C_BEGIN

/* config.json in our words; field names and meaning as in Hugging Face's LlamaConfig. */
typedef struct {
    char architecture[64]; /* "LlamaForCausalLM" */
    int64_t vocab_size, hidden_size, intermediate_size, layers, heads, kv_heads, head_dim,
        max_positions;
    double rope_theta, norm_eps, initializer_range;
    bool tied;
    bool rope_scaled; /* rope_type llama3 */
    double rope_factor, rope_low_freq, rope_high_freq;
    int64_t rope_original_positions;
    int32_t bos_id; /* -1: none */
    int32_t eos_id[8];
    int n_eos;
} qp_config;

/* From a config.json text, styles of transformers 4 and 5. vocab_size may be absent, 0 then: a
   model from scratch takes it from its tokenizer. Anything else wrong or not built is QP_BADFILE,
   by name. */
qp_status qp_config_parse(qp_config *cfg, const char *json, size_t len, qp_err *err) QP_MUST_CHECK;
/* From a folder's config.json or a GGUF's metadata. */
qp_status qp_config_load(qp_config *cfg, const char *model_path, qp_err *err) QP_MUST_CHECK;
void qp_config_json(const qp_config *cfg, qp_storage dtype,
                    qp_buf *out); /* a config.json transformers loads */

typedef struct qp_model qp_model;
typedef struct qp_kv qp_kv;

/* load_in: every matrix in whatever type its file has it, quantised ones too, and in the mapped
   file where its rows need no new order; norms unrounded. Fresh weights in the compute type. */
#define QP_AS_FILED QP_NSTORAGE

typedef struct {
    qp_storage compute; /* f64, f32, bf16: activations and trained values */
    qp_storage load_in; /* how frozen weights are held: bf16, f32 (f64 under f64 compute), or
                           QP_AS_FILED */
    bool train_base;    /* every weight becomes a parameter */
    uint64_t seed;      /* fresh weights, LoRA's A */
    bool outline;       /* sealing reads and makes no weight: for planning on the null backend */
} qp_model_options;

typedef struct {
    int64_t r;
    double alpha, dropout;
    bool rslora;
    const char *const *targets; /* "q_proj", ... */
    int n_targets;
} qp_lora_options;

/* path: Hugging Face folder or .gguf file. Names and shapes are checked here, values are read by
   qp_model_seal; frozen weights that have the wanted type stay in the mapped file. Norms are held
   in f32, rounded to load_in. */
qp_status qp_model_open(qp_model **m, const char *path, const qp_model_options *o,
                        qp_err *err) QP_MUST_CHECK;
/* Fresh weights: normal(0, initializer_range), o_proj and down_proj scaled by 1/sqrt(2 L), norms 1.
 */
qp_status qp_model_create(qp_model **m, const qp_config *cfg, const qp_model_options *o,
                          qp_err *err) QP_MUST_CHECK;
void qp_model_free(qp_model *m);

/* Wraps the chosen linears: y = W x + s B A x, s = alpha/r (rsLoRA alpha/sqrt(r)); A uniform
   +-1/sqrt(K) (Kaiming, a = sqrt 5, as PEFT), B zero. Call before qp_model_seal. Unknown target:
   QP_USAGE. */
qp_status qp_model_add_lora(qp_model *m, const qp_lora_options *o, qp_err *err) QP_MUST_CHECK;
/* Reads a PEFT folder: wraps what its config names and loads its values. For training or inference.
 */
qp_status qp_model_load_adapter(qp_model *m, const char *dir, qp_err *err) QP_MUST_CHECK;
/* Reads or makes every value, frozen and trained. After this the forward may run. */
qp_status qp_model_seal(qp_model *m, qp_err *err) QP_MUST_CHECK;

const qp_config *qp_model_config(const qp_model *m);
qp_params *qp_model_params(qp_model *m);        /* count 0 when nothing is trained */
int64_t qp_model_parameters(const qp_model *m); /* all weights; tied counted once; adapters not */
int64_t
qp_model_matmul_parameters(const qp_model *m); /* for MFU: matrices that multiply, head included */
size_t qp_model_weight_bytes(const qp_model *m); /* frozen weights as held */

/* Final normed hidden rows (N, D). kv NULL: the batch's own rows are all there is. With a cache the
   batch's rows are appended and first/last count cache rows. */
qp_tensor *qp_model_hidden(qp_ctx *c, qp_model *m, const qp_batch *b, qp_kv *kv);
/* Sum of -log p over the batch's targets (rank 0); nll as in qp_linear_xent. */
qp_tensor *qp_model_loss(qp_ctx *c, qp_model *m, const qp_batch *b, double *nll);
/* The same for a step that reads neither before qp_backward: as in qp_linear_xent_late. */
qp_tensor *qp_model_loss_late(qp_ctx *c, qp_model *m, const qp_batch *b, double *nll);
/* f32 logits (N, V) of given hidden rows (f64 for f64), differentiable: for sampling, and for
   losses other than qp_model_loss, whose logits are never whole. */
qp_tensor *qp_model_logits(qp_ctx *c, qp_model *m, qp_tensor *hidden);

/* KV cache of up to `rows` rows in the compute type. */
qp_status qp_kv_new(qp_kv **kv, const qp_model *m, int64_t rows, qp_err *err) QP_MUST_CHECK;
void qp_kv_reset(qp_kv *kv, int64_t keep); /* forget all rows from `keep` on */
int64_t qp_kv_rows(const qp_kv *kv);
void qp_kv_free(qp_kv *kv);

/* Writers, each into an existing folder through temporaries: PEFT adapter (f32), or
   model.safetensors + config.json (base with trained values; storage dtype). base_path goes into
   adapter_config.json. */
qp_status qp_model_save_adapter(qp_model *m, const char *dir, const char *base_path,
                                qp_err *err) QP_MUST_CHECK;
qp_status qp_model_save(qp_model *m, const char *dir, qp_storage dtype, qp_err *err) QP_MUST_CHECK;
/* SHA-256 over names and bits of the base weights as held: for run.json and resume. */
void qp_model_hash(const qp_model *m, char hex[65]);
/* QP_BADFILE, naming the weight, when one of all values is no finite number. Reads every value: for
   when a loss is none. */
qp_status qp_model_check_finite(const qp_model *m, qp_err *err) QP_MUST_CHECK;
QP_C_END
#endif
