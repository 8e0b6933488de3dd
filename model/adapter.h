/* Which linears an adapter names, and wrapping them. */
#ifndef QP_MODEL_ADAPTER_H
#define QP_MODEL_ADAPTER_H
#include "model/arch.h"

/* "q_proj" or "layers.0.self_attn.q_proj" names "model.layers.0.self_attn.q_proj": PEFT's rule. */
bool qp_target_matches(const char *target, const char *linear);
const char *qp_linear_kind(const char *linear); /* "q_proj" */
/* Does `target`, from the list `key`, name any linear of the model? If not, `status` and the known
 * kinds. */
qp_status qp_target_check(qp_model *m, const char *key, const char *target, qp_status status,
                          qp_err *err) QP_MUST_CHECK;
qp_status qp_adapter_check_none(const qp_model *m,
                                qp_err *err) QP_MUST_CHECK; /* a model takes one adapter */
/* Puts LoRA into the slot, with m->adapter's dropout and rsLoRA; its weights are declared, fresh by
 * rule. */
qp_adapted *qp_adapter_wrap(qp_model *m, const char *name, qp_proj **slot, int64_t r, double alpha);
#endif
