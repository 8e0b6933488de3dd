/* The tape for eyes: what was recorded and not yet walked back. Both append to out. p names the
   parameters and may be NULL. */
#ifndef QP_AUTOGRAD_PRINT_H
#define QP_AUTOGRAD_PRINT_H
#include "autograd/param.h"
#include "base/buf.h"

QP_C_BEGIN

/* A line a node, first to last:

     %1 = linear(x1, w1)      f32(64, 16)
     %2 = add(%1, b1)         f32(64, 16)

   and above them a line for each tensor that no node made: parameters by name, others x1, x2, ..,
   with their types and whether backward gives them a gradient. */
void qp_tape_print(const qp_ctx *c, const qp_params *p, qp_buf *out);

/* The same for Graphviz: `dot -Tsvg`. Gradients flow back along whole lines, not along dotted
   ones. */
void qp_tape_dot(const qp_ctx *c, const qp_params *p, qp_buf *out);

QP_C_END
#endif
