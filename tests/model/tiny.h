/* A small Llama for tests: grouped queries, heads*head_dim != hidden, Llama 3.1 scaling. */
#ifndef QP_TESTS_MODEL_TINY_H
#define QP_TESTS_MODEL_TINY_H
#include "model/model.h"

qp_config tiny_config(void);
/* Fresh, not sealed; weights wide enough that every part matters. */
qp_model *tiny_model(const qp_config *cfg, qp_storage compute, bool train_base);
qp_model *tiny_sealed(const qp_config *cfg, qp_storage compute, bool train_base);
void tiny_seal(qp_model *m);
/* All seven linears, r 4, alpha 8. B gets values after sealing when `live`. */
void tiny_add_lora(qp_model *m, double dropout);
void tiny_randomise(qp_model *m, const char *name_part,
                    double scale); /* masters whose name has the part */
void tiny_ctx(qp_ctx *c);
/* A document of n tokens, by seed; every row but the last has a target. */
void tiny_document(qp_batch *b, const qp_config *cfg, int64_t n, uint64_t seed);
/* Forward and backward; returns the loss sum. Gradients are in the model's store. */
double tiny_step(qp_ctx *c, qp_model *m, const qp_batch *b);
/* Hidden rows and logits as bytes, copied: the caller frees. */
void *tiny_hidden(qp_ctx *c, qp_model *m, const qp_batch *b, qp_kv *kv, size_t *row_bytes);
float *tiny_logits(qp_ctx *c, qp_model *m, const qp_batch *b);
const char *
shared_path(const char *name); /* in golden/, or NULL with a word on stderr; static buffer */
#endif
