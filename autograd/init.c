#include "autograd/init.h"
#include "base/err.h"
#include "base/rng.h"
#include "base/thread.h"
#include <math.h>

qp_init qp_init_constant(double value) { return (qp_init){ .constant = value }; }
qp_init qp_init_normal(double std) { return (qp_init){ .normal = std }; }
qp_init qp_init_uniform(double low, double high)
{
    return (qp_init){ .constant = (low + high) / 2, .uniform = (high - low) / 2 };
}

typedef struct {
    double in, out;
} fans;

static fans fans_of(const qp_tensor *w)
{
    QP_ASSERT(w->ndim >= 2,
              "initial values by fan for %s: it must be (out, in) or (out, in, ...); give vectors "
              "a constant",
              qp_str(w));
    double rest = 1;
    for (int d = 2; d < w->ndim; d++) rest *= (double)w->shape[d];
    return (fans){ .in = (double)w->shape[1] * rest, .out = (double)w->shape[0] * rest };
}

static double xavier(const qp_tensor *w, double gain)
{
    const fans f = fans_of(w);
    return gain * sqrt(2 / (f.in + f.out));
}
static double kaiming(const qp_tensor *w, double gain) { return gain / sqrt(fans_of(w).in); }

/* Uniform in [-a, a) has variance a^2 / 3. */
static qp_init uniform_of(double std) { return (qp_init){ .uniform = sqrt(3) * std }; }

qp_init qp_init_xavier_normal(const qp_tensor *w, double gain)
{
    return qp_init_normal(xavier(w, gain));
}
qp_init qp_init_xavier_uniform(const qp_tensor *w, double gain)
{
    return uniform_of(xavier(w, gain));
}
qp_init qp_init_kaiming_normal(const qp_tensor *w, double gain)
{
    return qp_init_normal(kaiming(w, gain));
}
qp_init qp_init_kaiming_uniform(const qp_tensor *w, double gain)
{
    return uniform_of(kaiming(w, gain));
}

enum { BLOCK = 1 << 16 };
typedef struct {
    qp_init init;
    uint64_t key;
    int64_t n;
    qp_storage to;
    void *data;
} job;

static double draw(const job *j, int64_t i)
{
    double v = j->init.constant;
    if (j->init.normal != 0) v += j->init.normal * qp_rng_normal(j->key, 0, (uint64_t)i);
    if (j->init.uniform != 0)
        v += j->init.uniform * (2 * qp_rng_uniform(j->key, 1, (uint64_t)i) - 1);
    return v;
}

static void draw_block(void *arg, int64_t b)
{
    const job *j = arg;
    const int64_t to = (b + 1) * BLOCK < j->n ? (b + 1) * BLOCK : j->n;
    for (int64_t i = b * BLOCK; i < to; i++) {
        if (j->to == QP_F64)
            ((double *)j->data)[i] = draw(j, i);
        else
            ((float *)j->data)[i] = (float)draw(j, i);
    }
}

void qp_init_draw(qp_init init, uint64_t seed, const char *name, qp_storage to, void *data,
                  int64_t n)
{
    job j = { init, qp_rng_key(seed, name), n, to, data };
    const int64_t blocks = (n + BLOCK - 1) / BLOCK;
    qp_parallel_for(blocks > 1 ? qp_cpu_count() : 1, blocks, draw_block, &j);
}
