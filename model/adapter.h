/* Which linears an adapter names. */
#ifndef QP_MODEL_ADAPTER_H
#define QP_MODEL_ADAPTER_H
#include <stdbool.h>

/* "q_proj" or "layers.0.self_attn.q_proj" names "model.layers.0.self_attn.q_proj": PEFT's rule. */
bool qp_target_matches(const char *target, const char *linear);
const char *qp_linear_kind(const char *linear); /* "q_proj" */
#endif
