/* What a run will take, before it takes it. */
#ifndef QP_TRAIN_FORECAST_H
#define QP_TRAIN_FORECAST_H
#include "train/plan.h"
#include "train/setup.h"

/* Memory of a set-up, and whether blocks are recomputed: as the options say, or with auto when the
   run fits no other way. QP_NOMEM when it does not fit into the budget that the options name. */
qp_status qp_forecast_memory(qp_setup *s, bool *recompute, qp_memory_plan *plan,
                             qp_err *err) QP_MUST_CHECK;
/* Floating-point operations a token that a step needs; recomputation is not counted as need. */
double qp_forecast_flops(const qp_setup *s);
/* Seconds from a step to the end on a machine of that peak, evaluations included; NaN: nothing but
 * the clock ends it. */
double qp_forecast_seconds(const qp_setup *s, int64_t from_step, double peak_flops);
/* Bytes that output_dir will take at most. */
double qp_forecast_disk(const qp_setup *s);
#endif
