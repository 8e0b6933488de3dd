/* The rows of optim.c's table. */
#ifndef QP_OPTIM_TYPES_H
#define QP_OPTIM_TYPES_H
#include "optim/optim.h"
QP_C_BEGIN

extern const qp_optim_type qp_adamw;
QP_C_END
#endif
