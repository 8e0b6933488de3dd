/* Logits to a token. As in transformers: penalty, temperature, top-k, top-p of what is left, min-p.
 */
#include "base/rng.h"
#include "eval/generate.h"
#include <math.h>
#include <stdlib.h>

/* Keskar et al. 2019, arXiv:1909.05858: a seen token's logit is divided by the penalty when
   positive, multiplied when negative; once, however often it was seen. */
static void penalise(float *logits, int64_t v, const int32_t *past, int64_t n, double penalty)
{
    if (penalty == 1 || n == 0) return;
    uint8_t *seen = qp_xcalloc((size_t)v, 1);
    for (int64_t i = 0; i < n; i++) {
        int32_t id = past[i];
        if (id < 0 || id >= v || seen[id]) continue;
        seen[id] = 1;
        double l = (double)logits[id];
        logits[id] = (float)(l > 0 ? l / penalty : l * penalty);
    }
    free(seen);
}

static int32_t largest(const float *logits, int64_t v)
{
    int64_t best = 0;
    for (int64_t i = 1; i < v; i++)
        if (logits[i] > logits[best]) best = i;
    return (int32_t)best;
}

typedef struct {
    double mass; /* exp((logit - largest) / temperature) */
    int32_t id;
} candidate;

static bool before(candidate a, candidate b)
{
    return a.mass > b.mass || (a.mass == b.mass && a.id < b.id);
}

/* A heap instead of a sort: a nucleus is a few dozen of 128,000 candidates. */
static void sift(candidate *h, int64_t n, int64_t i)
{
    for (int64_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && before(h[child + 1], h[child])) child++;
        if (before(h[i], h[child])) return;
        candidate t = h[i];
        h[i] = h[child];
        h[child] = t;
    }
}

/* Moves the best of the first n to h[n - 1] and returns its mass. */
static double pop(candidate *h, int64_t n)
{
    candidate best = h[0];
    h[0] = h[n - 1];
    h[n - 1] = best;
    sift(h, n - 1, 0);
    return best.mass;
}

/* Gathers what the filters keep at the array's end, best last. Returns how many; *kept is their
 * mass. */
static int64_t filter(candidate *h, int64_t n, double total, const qp_sampling *s, double *kept)
{
    int64_t most = s->top_k > 0 && s->top_k < n ? s->top_k : n, popped = 0, taken = 0;
    double nucleus = s->top_p > 0 && s->top_p < 1 ? s->top_p : INFINITY;
    for (int64_t i = n / 2 - 1; i >= 0; i--) sift(h, n, i);
    if (most < n) /* the nucleus is a share of what top-k leaves */
        for (total = 0; popped < most; popped++) total += pop(h, n - popped);
    *kept = 0;
    while (taken < most && !(taken && *kept >= nucleus * total)) {
        if (taken == popped) pop(h, n - popped++);
        double mass = h[n - 1 - taken].mass;
        if (mass < s->min_p * h[n - 1].mass) break;
        *kept += mass;
        taken++;
    }
    return taken;
}

static int32_t draw(const candidate *c, int64_t n, double mass, double u)
{
    double at = u * mass;
    int32_t id = c[n - 1].id;
    for (int64_t i = n - 1; i >= 0 && at >= 0; i--) {
        if (!(c[i].mass > 0))
            continue; /* underflow; and rounding may leave `at` above 0 at the end */
        id = c[i].id;
        at -= c[i].mass;
    }
    return id;
}

int32_t qp_sample(float *logits, int64_t v, const int32_t *past, int64_t n_past,
                  const qp_sampling *s, int64_t step)
{
    penalise(logits, v, past, n_past, s->repetition_penalty > 0 ? s->repetition_penalty : 1);
    int32_t greedy = largest(logits, v);
    if (!(s->temperature > 0)) return greedy;
    candidate *all = qp_xmalloc((size_t)v * sizeof *all);
    double total = 0;
    for (int64_t i = 0; i < v; i++) {
        double mass = exp(((double)logits[i] - (double)logits[greedy]) / s->temperature);
        all[i] = (candidate){ mass, (int32_t)i };
        total += mass;
    }
    int64_t n = v;
    if (s->top_k > 0 || (s->top_p > 0 && s->top_p < 1) || s->min_p > 0)
        n = filter(all, v, total, s, &total);
    double u = qp_rng_uniform(qp_rng_key(s->seed, "sample"), 0, (uint64_t)step);
    int32_t id = draw(all + v - n, n, total, u);
    free(all);
    return id;
}
