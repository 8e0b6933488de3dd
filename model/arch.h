/* Inside model/: what an architecture fills in, and what loading, saving, hashing and counting
 * walk. */
#ifndef QP_MODEL_ARCH_H
#define QP_MODEL_ARCH_H
#include "base/safetensors.h"
#include "autograd/init.h"
#include "model/linear.h"
#include "model/model.h"
#include "model/rope_table.h"
#include "model/source.h"

typedef struct {
    char *name;   /* Hugging Face's: "model.norm.weight", "….q_proj.lora_A.weight" */
    qp_tensor *t; /* a parameter of the store, or &frozen */
    qp_tensor frozen;
    void *owned;        /* frozen values that do not lie in a mapped file */
    qp_init init;       /* where there is no file */
    int64_t rope_heads; /* rows are those of so many heads that RoPE turns; else 0. See qp_source */
    bool adapter;       /* added to the base model, not part of it */
    const qp_file_tensor *file; /* its values; until sealed */
    bool interleaved;           /* that file has rotated rows in Meta's order */
} qp_weight;

/* What LoRA added: see adapter.c. */
typedef struct {
    char *name; /* of the linear, "model.layers.0.self_attn.q_proj" */
    int64_t r;
    double alpha;
    qp_weight *a, *b;
} qp_adapted;

typedef struct {
    int64_t count; /* wrapped linears; 0: no adapter */
    qp_adapted *linear;
    double dropout;
    bool rslora;
    qp_safetensors file; /* values to come; until sealed */
} qp_adapter;

/* One supported architecture: a row of registry.c. */
typedef struct {
    const char *name; /* config.json's architectures[0] */
    /* Declares every weight with qp_model_declare and sets m->net and m->head. */
    void (*build)(qp_model *m);
    void (*free)(void *net);
    qp_tensor *(*hidden)(qp_ctx *c, qp_model *m, const qp_batch *b, qp_kv *kv);
    /* Calls fn with every linear's name, "model.layers.0.self_attn.q_proj", and the slot that holds
     * it. */
    void (*each_linear)(qp_model *m, void (*fn)(void *u, const char *name, qp_proj **slot),
                        void *u);
} qp_arch;

struct qp_model {
    const qp_arch *arch;
    char *path; /* opened from; NULL: made fresh */
    qp_config config;
    qp_model_options options;
    qp_params *params;
    int64_t count;
    qp_weight **weight; /* in order of declaration */
    void *net;          /* the architecture's modules */
    qp_tensor *head;    /* output matrix; the embedding when tied */
    qp_rope_table rope;
    qp_source source; /* open while frozen weights lie in its map, or until sealed */
    qp_adapter adapter;
};

const qp_arch *qp_arch_find(const char *name); /* NULL: not built */
const char *qp_arch_known(void);               /* names for a message */

/* A weight of the model, trained if the options train the base. Its tensor has no data before
 * qp_model_seal. */
qp_tensor *qp_model_declare(qp_model *m, const char *name, int ndim, const int64_t *shape,
                            qp_init init, int64_t rope_heads);
/* A trained weight beside the base model's. */
qp_weight *qp_model_declare_adapter(qp_model *m, const char *name, int64_t rows, int64_t cols,
                                    qp_init init);

/* The storage that a frozen weight's values get. */
qp_storage qp_weight_held_as(const qp_model *m, const qp_weight *w);
/* Gives a weight its values: frozen ones memory of their own or a place in the map, trained ones
 * their master. */
qp_status qp_weight_fill(qp_model *m, qp_weight *w, qp_err *err) QP_MUST_CHECK;
/* Base values in storage `to` (F64, F32, BF16, F16), masters for trained weights: a pointer to them
   as they lie, or to *owned, which the caller frees. */
qp_status qp_weight_values(const qp_model *m, const qp_weight *w, qp_storage to, const void **data,
                           void **owned, qp_err *err) QP_MUST_CHECK;
#endif
