/* -m, --adapter, --tokenizer, --dtype, --load-in: from what a user names to a model that runs. */
#ifndef QP_CLI_OPEN_H
#define QP_CLI_OPEN_H
#include "cli/args.h"
#include "data/tokenizer.h"
#include "model/model.h"

typedef struct {
    const char *model, *adapter, *tokenizer, *dtype, *load_in;
    int64_t threads; /* 0: all */
} qp_model_args;

/* Rows for a command's option table. */
#define QP_MODEL_ARGS(a)                                                                             \
    { "model",    'm',     QP_ARG_TEXT,                                                              \
      &(a).model, "MODEL", "Hugging Face folder, .gguf, run or checkpoint folder" },                 \
        { "adapter", 0, QP_ARG_TEXT, &(a).adapter, "DIR", "PEFT adapter folder" },                   \
        { "tokenizer",    0,      QP_ARG_TEXT,                                                       \
          &(a).tokenizer, "FILE", "tokenizer.json, or bytes; default: the model's own" },            \
        { "dtype", 0, QP_ARG_TEXT, &(a).dtype, "TYPE", "computes in bf16 (default) or f32" },        \
        { "load-in",    0,      QP_ARG_TEXT,                                                         \
          &(a).load_in, "TYPE", "holds weights as bf16 (default), f32, or file: as the file does" }, \
    {                                                                                                \
        "threads", 't', QP_ARG_INT, &(a).threads, "N", "threads; default: all CPUs"                  \
    }

/* Where things lie; each string is owned, NULL where there is none. */
typedef struct {
    char *base, *adapter, *tokenizer;
} qp_where;
/* A run folder stands for its final/ or else its latest checkpoint, an adapter folder for itself on
   the base that its adapter_config.json names (a relative name is tried from the working folder,
   then from the adapter's). */
qp_status qp_model_where(const qp_model_args *a, qp_where *w, qp_err *err) QP_MUST_CHECK;
void qp_where_release(qp_where *w);

typedef struct {
    qp_where where;
    qp_ctx ctx; /* recording off */
    qp_tokenizer *tokenizer;
    qp_model *model;
    bool has_ctx;
} qp_opened;
/* Must not move in memory afterwards. */
qp_status qp_open(qp_opened *m, const qp_model_args *a, qp_err *err) QP_MUST_CHECK;
void qp_opened_release(qp_opened *m);
#endif
