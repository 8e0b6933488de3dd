#include "autograd/cpu/attention_work.h"
#include "autograd/work.h"

static size_t sum_bytes(qp_storage compute)
{
    return compute == QP_F64 ? sizeof(double) : sizeof(float);
}

/* Scratch, and four ints for every tile. */
size_t qp_attn_fwd_work(qp_storage compute, int64_t n, int64_t m, int64_t h, int64_t g, int64_t e)
{
    (void)m;
    return (size_t)(qp_attn_slots(n, g) * qp_attn_fwd_slot(h, g, e)) * sum_bytes(compute) +
           (size_t)n * 4 * sizeof(int32_t);
}

/* Scratch, sums of dk and dv for every slice, six ints twice for every unit and one for every key.
 */
size_t qp_attn_bwd_work(qp_storage compute, int64_t n, int64_t m, int64_t h, int64_t g, int64_t e)
{
    const int64_t scratch = qp_attn_slots(n, g) * qp_attn_bwd_slot(h, g, e),
                  sums = qp_attn_slices(n, g) * g * 2 * m * qp_attn_pad(e);
    return (size_t)(scratch + sums) * sum_bytes(compute) + (size_t)(12 * n + m) * sizeof(int32_t);
}
