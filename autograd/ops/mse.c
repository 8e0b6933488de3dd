#include "autograd/general.h"

qp_tensor *qp_mse(qp_ctx *c, qp_tensor *a, qp_tensor *b, qp_how how)
{
    qp_tensor *square = qp_squared_difference(c, a, b);
    return how == QP_NONE  ? square
           : how == QP_SUM ? qp_sum(c, square, QP_ALL, false)
                           : qp_mean(c, square, QP_ALL, false);
}
