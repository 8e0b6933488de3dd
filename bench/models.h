/* The models that are measured: shapes with random weights, and the real one under $QP_SHARED. */
#ifndef QP_BENCH_MODELS_H
#define QP_BENCH_MODELS_H
#include "model/model.h"
#include "optim/optim.h"

/* Exits with the message when rc is not QP_OK: a benchmark has nobody to return to. */
void bench_check(qp_status rc, const qp_err *err);

typedef struct {
    const char *name; /* "15m", "124m", "135m", "1b", "3b", "8b": random; "smollm2": the file */
    bool lora;        /* rank 16 on all seven linears, the base frozen */
    bool train_base;
    qp_storage compute;
    qp_storage stored; /* random matrices are made in this type: bf16 or one of GGUF's blocks */
    bool widened;      /* blocks become bf16 when they are loaded; else they are computed on */
} bench_model_options;
/* Sealed. Frozen matrices stay as stored where the compute type is bf16, else they are converted.
 */
qp_model *bench_model(const bench_model_options *o);

/* `documents` causal documents of `rows` random tokens each, every one with a target. */
void bench_batch(qp_batch *b, int64_t documents, int64_t rows, int64_t vocab);
/* Forward, backward, clipping, update; returns the mean loss before it. number counts from 1. */
double bench_train_step(qp_ctx *c, qp_model *m, qp_optim *o, const qp_batch *b, int64_t number);
/* The folder of models and data: $QP_SHARED, or ../shared. */
const char *bench_shared(void);
/* Bytes that may still be had without swapping, as the kernel says; 0 when it does not. */
double bench_free_memory(void);
/* Bytes of that shape's weights so stored. */
double bench_model_bytes(const char *name, qp_storage stored);
#endif
