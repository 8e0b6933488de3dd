#include "train/forecast.h"
#include "base/log.h"
#include "train/metrics.h"
#include "train/usage.h"
#include "train/step.h"
#include <math.h>
#include <string.h>

/* Rows of sequence_len in the largest micro-batch: no more than all of the data fills. */
static int64_t most_rows(const qp_setup *s)
{
    int64_t len = s->o->sequence_len, micro = s->o->micro_batch_size;
    int64_t tokens = s->train.n > s->valid.n ? s->train.n : s->valid.n;
    int64_t filled = (tokens + len - 1) / len;
    return micro < filled ? micro : filled;
}

qp_status qp_forecast_memory(qp_setup *s, bool *recompute, qp_memory_plan *plan, qp_err *err)
{
    const qp_options *o = s->o;
    int64_t documents = most_rows(s), rows = documents * o->sequence_len;
    int levels = s->adapter ? qp_tree_levels(o->gradient_accumulation_steps) : 0;
    double there = o->memory ? (double)o->memory : 0.9 * (double)qp_memory_free();
    bool may_choose = !strcmp(o->gradient_checkpointing, "auto");
    qp_status rc = QP_OK;
    *recompute = !strcmp(o->gradient_checkpointing, "true");
    for (bool again = true; !rc && again;) {
        rc = qp_plan_memory(s->model, &s->optim, s->objective, rows, documents, levels, *recompute,
                            s->program_bytes + QP_PLAN_UNCOUNTED, plan, err);
        if (!rc) qp_plan_add_measuring(plan, s->compute, o->profile);
        again = may_choose && !*recompute && (double)plan->total > there;
        if (again) *recompute = true;
    }
    if (rc || (double)plan->total <= there) return rc;
    char budget[16], wanted[16];
    qp_bytes_text(budget, there);
    qp_bytes_text(wanted, (double)plan->total);
    if (!o->memory) {
        qp_warn(
            "this run needs %s%s, the machine has %s to give: it may be ended for want of memory",
            wanted, *recompute ? " even with recompute" : "", budget);
        return QP_OK;
    }
    return qp_fail(
        err, QP_NOMEM,
        "memory %s: this run needs %s%s (shorter rows or fewer of them, sequence_len and "
        "micro_batch_size, need less)",
        budget, wanted, *recompute ? " even with recompute" : "");
}

/* Forward 2 operations a weight and token, backward 4; where the base is frozen its own gradients
   are not computed, so 2 less. Attention's products and the adapters' own are left out: they are
   small at these lengths, and leaving them out understates the share of the peak rather than
   flattering it. */
double qp_forecast_flops(const qp_setup *s)
{
    return (s->adapter ? 4.0 : 6.0) * (double)qp_model_matmul_parameters(s->model);
}

static double eval_tokens(const qp_setup *s)
{
    double n = (double)s->valid.n, targets = (double)s->valid.trained;
    double most = s->o->eval_max_tokens == QP_UNSET ? INFINITY : (double)s->o->eval_max_tokens;
    return s->valid_loader ? n * fmin(1, most / targets) : 0;
}

/* A third of the peak of a bare product: what whole steps have been seen to reach. */
double qp_forecast_seconds(const qp_setup *s, int64_t from_step, double peak_flops)
{
    double weights = (double)qp_model_matmul_parameters(s->model);
    double steps = (double)(s->total_steps - from_step);
    double micros = steps * (double)s->o->gradient_accumulation_steps;
    double tokens = micros * (double)s->train.n / (double)qp_loader_batches(s->loader, 0);
    double evals = 2 + (s->o->eval_steps ? floor(steps / (double)s->o->eval_steps) : 0);
    double flops = tokens * qp_forecast_flops(s) + evals * eval_tokens(s) * 2 * weights;
    return s->total_steps ? flops / (peak_flops / 3) : NAN;
}

/* Every checkpoint kept, the one being written, and final/; tokenizer and logs are small beside. */
double qp_forecast_disk(const qp_setup *s)
{
    const qp_params *p = s->optim.params;
    double sum = (double)qp_storage_bytes(qp_sum_storage(p->compute), p->n);
    double weights = s->adapter ? sum : (double)qp_storage_bytes(p->compute, p->n);
    double checkpoint = weights + (1 + s->optim.type->states) * sum;
    double saves =
        s->o->save_steps ? floor((double)s->total_steps / (double)s->o->save_steps) + 1 : 1;
    double keep = s->o->save_total_limit == QP_UNSET
                      ? saves
                      : fmin(saves, (double)s->o->save_total_limit + 1);
    return keep * checkpoint + weights;
}
