/* One weight, several names: Hugging Face's are ours. */
#ifndef QP_MODEL_NAMES_H
#define QP_MODEL_NAMES_H
#include <stdbool.h>
#include <stddef.h>

/* "model.layers.3.self_attn.q_proj.weight" to "blk.3.attn_q.weight"; false: no such weight there.
 */
bool qp_name_gguf(const char *hf, char *out, size_t size);
#endif
