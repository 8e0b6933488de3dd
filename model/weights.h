/* Finding a model's weights in a container. */
#ifndef QP_MODEL_WEIGHTS_H
#define QP_MODEL_WEIGHTS_H
#include "model/arch.h"

/* Pairs every base weight with its tensor in m->source, opened from path. Missing or unexpected
   tensors and wrong shapes: QP_BADFILE. No value is read. */
qp_status qp_weights_attach(qp_model *m, const char *path, qp_err *err) QP_MUST_CHECK;
/* One weight; `file` and `config` are names for the message, "m.safetensors: x: shape (8, 4),
 * config.json wants …". */
qp_status qp_weight_attach(qp_weight *w, const qp_file_tensor *t, const char *file,
                           const char *config, bool interleaved, qp_err *err) QP_MUST_CHECK;
#endif
