#include "autograd/general.h"

qp_tensor *qp_mse(qp_ctx *c, qp_tensor *a, qp_tensor *b, qp_how how)
{
    int64_t shape[QP_MAX_DIMS];
    qp_assert_same_type("mse", a, b);
    QP_ASSERT(how >= QP_MEAN && how <= QP_NONE, "mse: how %d: QP_MEAN, QP_SUM or QP_NONE", how);
    qp_broadcast("mse", a, b, shape); /* says so by this name */
    qp_tensor *square = qp_squared_difference(c, a, b);
    if (how == QP_NONE) return square;
    qp_tensor *y =
        how == QP_SUM ? qp_sum(c, square, QP_ALL, false) : qp_mean(c, square, QP_ALL, false);
    if (!square->needs_grad) qp_drop(c, square);
    return y;
}
