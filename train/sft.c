/* Supervised fine-tuning and pre-training alike: which tokens are targets is the data's choice. */
#include "train/objective.h"

static qp_tensor *loss(qp_ctx *c, qp_model *m, const qp_batch *b)
{
    return qp_model_loss_late(c, m, b, NULL);
}

const qp_objective qp_objective_sft = { "sft", loss };
