/* Fresh values: each a function of seed, weight name and index, whatever the threads and the other
 * weights. */
#include "base/rng.h"
#include "base/thread.h"
#include "model/arch.h"

enum { BLOCK = 1 << 16 };

typedef struct {
    const qp_init_rule *rule;
    uint64_t key;
    int64_t n;
    qp_storage to;
    void *data;
} job;

static double draw(const job *j, int64_t i)
{
    double v = j->rule->constant;
    if (j->rule->normal != 0) v += j->rule->normal * qp_rng_normal(j->key, 0, (uint64_t)i);
    if (j->rule->uniform != 0)
        v += j->rule->uniform * (2 * qp_rng_uniform(j->key, 1, (uint64_t)i) - 1);
    return v;
}

static void fill_block(void *arg, int64_t b)
{
    const job *j = arg;
    int64_t to = (b + 1) * BLOCK < j->n ? (b + 1) * BLOCK : j->n;
    for (int64_t i = b * BLOCK; i < to; i++) {
        if (j->to == QP_F64)
            ((double *)j->data)[i] = draw(j, i);
        else
            ((float *)j->data)[i] = (float)draw(j, i);
    }
}

void qp_weight_init(const qp_weight *w, uint64_t seed, qp_storage to, void *data)
{
    job j = { &w->init, qp_rng_key(seed, w->name), qp_numel(w->t), to, data };
    int64_t blocks = (j.n + BLOCK - 1) / BLOCK;
    qp_parallel_for(blocks > 1 ? qp_cpu_count() : 1, blocks, fill_block, &j);
}
