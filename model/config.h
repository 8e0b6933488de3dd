/* Parts of the configuration that only model/ uses. */
#ifndef QP_MODEL_CONFIG_H
#define QP_MODEL_CONFIG_H
#include "base/gguf.h"
#include "model/model.h"

/* From GGUF metadata (general.architecture "llama"). */
qp_status qp_config_gguf(qp_config *cfg, const qp_gguf *g, qp_err *err) QP_MUST_CHECK;
/* Sizes that make a model: nothing zero, nothing absurd, head counts that divide, a known
 * architecture. */
qp_status qp_config_check(const qp_config *cfg, qp_err *err) QP_MUST_CHECK;
/* The rotary frequencies (head_dim / 2), Llama 3.1's scaling applied. */
void qp_config_frequencies(const qp_config *cfg, double *inv_freq);
/* Finds rope_factor, rope_low_freq, rope_high_freq and rope_original_positions that divide the
   frequencies by `divisor` (head_dim / 2), as a GGUF's rope_freqs tensor has it. False: no setting
   of Llama 3.1's rule does. */
bool qp_config_infer_scaling(qp_config *cfg, const float *divisor);
#endif
