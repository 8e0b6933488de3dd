#include "optim/optim.h"
#include <math.h>
#include <string.h>

/* Each curve is a function of t, the steps done, on [0, total]; warm-up is the same for all but
 * wsd. */

static double share(int64_t part, int64_t whole)
{
    double p = (double)part / (double)(whole > 1 ? whole : 1);
    return p < 0 ? 0 : p > 1 ? 1 : p;
}

/* 1 at progress 0, `low` at progress 1, along half a cosine */
static double half_cosine(double progress, double low)
{
    return low + (1 - low) * 0.5 * (1 + cos(M_PI * progress));
}

static double constant(const qp_schedule *s, int64_t t)
{
    return t < s->warmup ? share(t, s->warmup) : 1;
}

static double linear(const qp_schedule *s, int64_t t)
{
    if (t < s->warmup) return share(t, s->warmup);
    return s->min_ratio + (1 - s->min_ratio) * share(s->total - t, s->total - s->warmup);
}

static double cosine(const qp_schedule *s, int64_t t)
{
    if (t < s->warmup) return share(t, s->warmup);
    return half_cosine(share(t - s->warmup, s->total - s->warmup), s->min_ratio);
}

static double wsd(const qp_schedule *s, int64_t t)
{
    if (t < s->warmup) return s->min_ratio + (1 - s->min_ratio) * share(t, s->warmup);
    int64_t falling = llround(s->decay_ratio * (double)s->total);
    if (t < s->total - falling) return 1;
    return half_cosine(share(t - (s->total - falling), falling), s->min_ratio);
}

static const struct {
    const char *name;
    double (*factor)(const qp_schedule *s, int64_t t);
} schedules[QP_SCHEDULES] = {
    [QP_SCHEDULE_CONSTANT] = { "constant", constant },
    [QP_SCHEDULE_LINEAR] = { "linear", linear },
    [QP_SCHEDULE_COSINE] = { "cosine", cosine },
    [QP_SCHEDULE_WSD] = { "wsd", wsd },
};

bool qp_schedule_find(const char *name, qp_schedule_kind *kind)
{
    for (int i = 0; i < QP_SCHEDULES; i++)
        if (!strcmp(name, schedules[i].name)) {
            *kind = (qp_schedule_kind)i;
            return true;
        }
    return false;
}

double qp_schedule_factor(const qp_schedule *s, int64_t step)
{
    return schedules[s->kind].factor(s, step - s->lag);
}
