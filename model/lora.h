#ifndef QP_MODEL_LORA_H
#define QP_MODEL_LORA_H
#include "model/linear.h"
QP_C_BEGIN

/* y = base(x) + scale * (dropout(x) a^T) b^T.        Hu et al. 2021, arXiv:2106.09685
   a (R, in), b (out, R) are borrowed; base is owned. */
qp_proj *qp_lora_wrap(qp_proj *base, qp_tensor *a, qp_tensor *b, double scale, double dropout);
QP_C_END
#endif
