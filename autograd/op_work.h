/* What a call of an op has to do: its floating-point operations, and the bytes of what it reads and
   writes, each operand once however often the kernel comes back to it. A product-like op counts a
   multiplication and an addition as two; e^x and its like as one. What a backward computes again
   counts, for it is done. */
#ifndef QP_AUTOGRAD_OP_WORK_H
#define QP_AUTOGRAD_OP_WORK_H
#include "autograd/tape.h"
QP_C_BEGIN

typedef struct {
    double flop, bytes;
} qp_op_work;

/* From the op's name and operands; an op without a line in the table is taken for elementwise.
   False: the operands do not tell (which rows attention sees), and the op says it itself, by
   qp_profile_work. */
bool qp_op_work_of(const qp_op *op, bool backward, const qp_tensor *out, int count,
                   qp_tensor *const *in, qp_op_work *work);
QP_C_END
#endif
