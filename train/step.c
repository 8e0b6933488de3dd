#include "train/step.h"
#include "autograd/profile.h"
#include "train/fault.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static qp_storage grad_storage(const qp_stepper *s)
{
    return qp_sum_storage(s->optim->params->compute);
}
static size_t grad_bytes(const qp_stepper *s)
{
    return qp_storage_bytes(grad_storage(s), s->optim->params->n);
}

/* As many as the highest index stored has binary digits; the last micro-batch's sum stays in the
   store. */
int qp_tree_levels(int64_t accumulate)
{
    int levels = 0;
    while ((accumulate - 1) >> levels) levels++;
    return levels;
}

void qp_stepper_init(qp_stepper *s)
{
    s->batch = qp_xcalloc((size_t)s->accumulate, sizeof *s->batch);
    int levels = s->tree ? qp_tree_levels(s->accumulate) : 0;
    for (int l = 0; l < levels; l++) s->level[l] = qp_xmalloc(grad_bytes(s));
}

void qp_stepper_release(qp_stepper *s)
{
    for (int64_t i = 0; s->batch && i < s->accumulate; i++) qp_batch_release(&s->batch[i]);
    free(s->batch);
    for (int l = 0; l < QP_TREE_LEVELS; l++) free(s->level[l]);
}

/* A binary counter of gradient sums: level l holds the sum of 2^l micro-batches or nothing, as bit
   l of the micro-batch's index says. ((g0+g1)+(g2+g3))+... is the order whoever computes the parts,
   so ranks can own subtrees. */
static void add_to_tree(qp_stepper *s, int64_t micro, int64_t micros)
{
    qp_params *p = s->optim->params;
    const qp_kernels *k = s->ctx->be->k[grad_storage(s)];
    bool last = micro + 1 == micros;
    int l = 0;
    for (; last ? micro >> l : (micro >> l) & 1; l++)
        if ((micro >> l) & 1) k->axpy(p->grad, 1, s->level[l], 1, p->n);
    if (!last) memcpy(s->level[l], p->grad, grad_bytes(s));
}

static double value(const qp_tensor *loss)
{
    return loss->storage == QP_F64 ? *(const double *)loss->data
                                   : (double)*(const float *)loss->data;
}

static qp_tensor *forward(qp_stepper *s, int64_t micro)
{
    QP_PHASE(s->ctx, "forward");
    return s->objective->loss(s->ctx, s->model, &s->batch[micro]);
}

static void backward(qp_stepper *s, qp_tensor *loss, int64_t micro, int64_t micros, int64_t targets)
{
    QP_PHASE(s->ctx, "backward");
    qp_backward(s->ctx, loss, 1 / (double)targets);
    if (s->tree || micro + 1 == micros) qp_params_end_grads(s->optim->params);
}

/* Forward and backward of one micro-batch; its gradients, already divided by the step's targets,
 * end up in the store. */
static double micro_step(qp_stepper *s, int64_t step, int64_t micro, int64_t micros,
                         int64_t targets)
{
    qp_ctx *c = s->ctx;
    qp_params *p = s->optim->params;
    qp_scope scope;
    /* Dropout depends on where in the run it happens and on nothing else. */
    c->rng = (qp_rng){ .key = qp_rng_u64(qp_rng_key(s->seed, "dropout"), (uint64_t)step,
                                         (uint64_t)micro) };
    qp_scope_open(&c->arena, &scope);
    if (s->tree || micro == 0) qp_params_begin_step(p);
    qp_tensor *loss = forward(s, micro);
    backward(s, loss, micro, micros, targets);
    double nll = value(loss);
    qp_scope_close(&c->arena, &scope);
    if (s->tree) add_to_tree(s, micro, micros);
    return nll;
}

/* Nothing happens to weights and moments where loss or norm is no number. */
static void update(qp_stepper *s, int64_t step, int64_t clock, qp_step_result *r)
{
    if (s->before_update) s->before_update(s->arg);
    QP_PHASE(s->ctx, "optimizer");
    r->grad_norm = qp_grad_norm(s->ctx, s->optim->params);
    if (qp_fault_here("inf_gradient")) r->grad_norm = INFINITY;
    r->finite = isfinite(r->nll) && isfinite(r->grad_norm);
    r->lr = s->peak_lr * qp_schedule_factor(&s->schedule, step);
    if (!r->finite) return;
    qp_optim_step(s->optim, s->ctx, r->lr, qp_clip_scale(r->grad_norm, s->max_grad_norm), clock);
}

static void check_room(const qp_stepper *s, int64_t micros)
{
    QP_ASSERT(micros > 0 && micros <= s->accumulate, "step of %lld micro-batches, room for %lld",
              (long long)micros, (long long)s->accumulate);
}

void qp_step_batches(qp_stepper *s, int64_t micros, int64_t step, int64_t clock, qp_step_result *r)
{
    check_room(s, micros);
    *r = (qp_step_result){ .bad_micro = -1, .finite = true };
    for (int64_t i = 0; i < micros; i++) {
        r->tokens += s->batch[i].n;
        r->trained += s->batch[i].targets_n;
    }
    if (!r->trained) return;
    for (int64_t i = 0; i < micros; i++) {
        if (s->progress) s->progress(s->arg, i, micros);
        if (s->stop && s->stop(s->arg)) {
            r->stopped = true;
            return;
        }
        double nll = micro_step(s, step, i, micros, r->trained);
        if (qp_fault_here("nan_loss")) nll = NAN;
        if (!isfinite(nll) && r->bad_micro < 0) r->bad_micro = i;
        r->nll += nll;
        qp_fault("micro_mid");
    }
    update(s, step, clock, r);
}

static void take(qp_stepper *s, qp_position *p, int64_t micros)
{
    QP_PHASE(s->ctx, "data");
    for (int64_t i = 0; i < micros; i++) qp_loader_next(s->loader, p, &s->batch[i]);
}

qp_status qp_step(qp_stepper *s, qp_position *p, int64_t micros, int64_t step, int64_t clock,
                  qp_step_result *r, qp_err *err)
{
    qp_position next = *p;
    check_room(s, micros);
    take(s, &next, micros);
    qp_step_batches(s, micros, step, clock, r);
    if (!r->trained)
        return qp_fail(err, QP_BADFILE, "epoch %lld, micro-batches %lld to %lld: no token to learn",
                       (long long)p->epoch, (long long)p->position,
                       (long long)(p->position + micros - 1));
    if (!r->stopped) *p = next;
    return QP_OK;
}
