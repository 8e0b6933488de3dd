/* With p = exp(s - lse) and delta = dy . y:  dv = p^T dy,  ds = p (dy v^T - delta),  dk = ds^T q /
   sqrt(e), dq = ds k / sqrt(e). Scores are computed again, tile by tile, as in forward; each
   product finds its operands as they lie. dk and dv need sums over queries: a document is cut into
   slices of queries by its shape alone, a slice adds its rows in order to sums of its own, and the
   slices are added in order. */
#include "autograd/cpu/attention.h"
#include "autograd/cpu/lanes.h"

/* Queries q0 .. q1-1 add to keys k0 .. k1-1: a slice, the s-th of `slices` of its group. A group is
   a stretch of queries whose keys no other query sees: a packed document, mostly. */
typedef struct {
    int32_t q0, q1, k0, k1, s, slices;
} unit;

typedef struct {
    attn p;
    const T *dy, *y;
    const R *lse;
    T *dq;
    double bq;
    bool want_k, want_v;
    R *sums; /* [slice][head][dk, dv][key][c], rows padded to whole vectors */
} grads;

static R *sums_of(const grads *a, int64_t slice, int64_t head, int which)
{
    return a->sums + ((slice * a->p.g + head) * 2 + which) * a->p.m * a->p.ep;
}

/* A thread's scratch for one tile of rows. */
typedef struct {
    E *q, *dy;      /* across: [block][c][lane] */
    E *qr, *dyr;    /* below: [row][c] */
    R *dq;          /* [row][c] */
    H *k, *v;       /* along: [key][c] */
    E *kb;          /* below: [key][c]. With PAIR 1 k */
    R *s, *ds;      /* [key][lane]: scores, dy v^T */
    H *pa, *dsa;    /* along: [key][row]: p, ds. With PAIR 1 the memory of s and ds */
    E *dsb;         /* below: [key][row]: ds. With PAIR 1 dsa */
    R *lse, *delta; /* [row] */
    R *places;      /* for attn_rows_of */
} scratch;

static scratch scratch_of(const attn *p, R *slot)
{
    const int64_t rows = qp_attn_rows(p->h, p->g), ep = p->ep, tile = KEYS * ep, block = KEYS * W;
    scratch x;
    x.q = (E *)slot;
    x.dy = x.q + rows * p->ee;
    x.qr = x.dy + rows * p->ee;
    x.dyr = x.qr + rows * ep;
    x.dq = (R *)(x.dyr + rows * ep);
    x.k = (H *)(x.dq + rows * ep);
    x.v = x.k + tile;
    x.kb = (E *)(PAIR == 1 ? x.k : x.v + tile);
    x.s = (R *)((E *)(x.v + tile) + (PAIR == 1 ? 0 : tile));
    x.ds = x.s + block;
    x.pa = (H *)(PAIR == 1 ? x.s : x.ds + block);
    x.dsa = x.pa + block;
    x.dsb = (E *)(PAIR == 1 ? x.dsa : x.dsa + block);
    x.lse = x.ds + 3 * block;
    x.delta = x.lse + rows;
    x.places = x.delta + rows;
    return x;
}

static void rows_below(E *to, const attn *p, const attn_rows *w, const T *x)
{
    for (int64_t r = 0; r < w->rows; r += PAIR) {
        const T *next = PAIR == 2 && r + 1 < w->rows ? x + w->at[r + 1] : NULL;
        attn_below(to + r / PAIR * p->ep, p, x + w->at[r], next);
    }
}

static void load(const grads *a, const attn_rows *w, const scratch *x)
{
    const attn *p = &a->p;
    attn_across(x->q, p, w, p->q);
    attn_across(x->dy, p, w, a->dy);
    rows_below(x->qr, p, w, p->q);
    rows_below(x->dyr, p, w, a->dy);
    memset(x->dq, 0, (size_t)(w->rows * p->ep) * sizeof(R));
    for (int64_t r = 0; r < w->rows; r++) {
        const int64_t at = w->at[r];
        const T *dy = a->dy + at, *y = a->y + at;
        SUM(R, x->delta[r], p->e, c, LD(dy[c]) * LD(y[c]));
        x->lse[r] = a->lse[at / p->e];
    }
    /* A lane without a row: its p is 0. */
    for (int64_t r = w->rows; r < w->blocks * W; r++) x->lse[r] = INFINITY, x->delta[r] = 0;
}

/* s to p = 2^(steep * s - lse), ds to p * (ds - delta), in the forms of the products; hidden scores
   give 0. */
static void soften(const attn *a, const scratch *x, int64_t r0, int64_t lanes, int64_t kn)
{
    for (int64_t l = 0; l < lanes; l += VL) {
        const vec lse = *(const vec *)(x->lse + r0 + l), delta = *(const vec *)(x->delta + r0 + l);
        for (int64_t j = 0; j < kn; j += PAIR) {
            vec d[PAIR];
            for (int i = 0; i < PAIR; i++) {
                const vec p = attn_exp2(*attn_vec(x->s, j + i, l) * a->steep - lse);
                d[i] = p * (*attn_vec(x->ds, j + i, l) - delta);
                cut(x->pa + (j + i) * W + l, p);
                cut(x->dsa + (j + i) * W + l, d[i]);
            }
            *(evec *)(x->dsb + j / PAIR * W + l) = join(d[0], d[PAIR - 1]);
        }
    }
}

static void backward_tile(const grads *a, attn_tile t, int64_t head, R *dk, R *dv, const scratch *x)
{
    const attn *p = &a->p;
    const attn_rows w = attn_rows_of(p, t, head, x->places);
    const int64_t e = p->e, ep = p->ep, ee = p->ee;
    load(a, &w, x);
    for (int32_t j = t.k0; j < t.k1; j += KEYS) {
        const int64_t kn = t.k1 - j < KEYS ? t.k1 - j : KEYS;
        attn_keys_along(x->k, p, p->k, head, j, kn);
        attn_keys_along(x->v, p, p->v, head, j, kn);
        const int64_t next = t.k1 - j - kn < KEYS ? t.k1 - j - kn : KEYS;
        attn_fetch(p, p->k, head, j + kn, next);
        attn_fetch(p, p->v, head, j + kn, next);
        if (PAIR == 2 && a->dq) attn_keys_below(x->kb, p, p->k, head, j, kn);
        for (int64_t b = 0; b < w.blocks; b++) {
            const int64_t rows = attn_block_rows(&w, b), lanes = attn_lanes(rows), r0 = b * W;
            const int64_t seen = attn_seen(w.most[b], j, kn), re = (rows + PAIR - 1) / PAIR;
            const E *k = (E *)x->k, *v = (E *)x->v, *pa = (E *)x->pa, *dsa = (E *)x->dsa;
            const E *qr = x->qr + r0 / PAIR * ep, *dyr = x->dyr + r0 / PAIR * ep;
            if (!seen) continue;
            outer(x->s, W, seen, lanes, k, ep / PAIR, 1, x->q + r0 * ee, W, ee, false);
            outer(x->ds, W, seen, lanes, v, ep / PAIR, 1, x->dy + r0 * ee, W, ee, false);
            attn_hide(x->s, -INFINITY, w.last + r0, lanes, w.least[b], j, seen);
            attn_hide(x->ds, 0, w.last + r0, lanes, w.least[b], j, seen);
            soften(p, x, r0, lanes, seen);
            if (a->want_v) outer(dv + j * ep, ep, seen, ep, pa, W / PAIR, 1, dyr, ep, re, true);
            if (a->want_k) outer(dk + j * ep, ep, seen, ep, dsa, W / PAIR, 1, qr, ep, re, true);
            if (a->dq)
                attn_gather(x->dq + r0 * ep, p, x->kb, x->dsb, w.last + r0, rows, w.least[b], j,
                            seen, true);
        }
    }
    for (int64_t r = 0; a->dq && r < w.rows; r++) {
        T *dq = a->dq + w.at[r];
        const R *from = x->dq + r * ep;
        for (int64_t c = 0; c < e; c++) dq[c] = ACC(dq[c], a->bq, from[c] * p->scale);
    }
}

static void backward_unit(const grads *a, const unit *u, int64_t head, R *slot)
{
    const scratch x = scratch_of(&a->p, slot);
    const int64_t ep = a->p.ep;
    R *dk = sums_of(a, u->s, head, 0), *dv = sums_of(a, u->s, head, 1);
    memset(dk + u->k0 * ep, 0, (size_t)((u->k1 - u->k0) * ep) * sizeof(R));
    memset(dv + u->k0 * ep, 0, (size_t)((u->k1 - u->k0) * ep) * sizeof(R));
    for (int32_t i = u->q0; i < u->q1;) {
        const attn_tile t = attn_cut(&a->p, i, u->q1);
        backward_tile(a, t, head, dk, dv, &x);
        i = t.q1;
    }
}

/* Queries to groups, and groups that see one document to slices. Returns the number of units;
   owner[j] is the first unit of key j's group, -1 if nobody sees it. */
static int64_t cut_units(const attn *p, unit *u, int32_t *owner, unit *group)
{
    int64_t groups = 0, units = 0;
    for (int32_t i = 0; i < p->n;) {
        unit now = { i, i, p->first[i], p->first[i], 0, 1 };
        for (; now.q1 < p->n && p->first[now.q1] == now.k0; now.q1++)
            if (p->last[now.q1] >= now.k1) now.k1 = p->last[now.q1] + 1;
        i = now.q1;
        now.slices = (int32_t)qp_attn_slices(now.q1 - now.q0, p->g);
        /* Groups lie in the order of their keys; one that overlaps earlier ones swallows them. */
        for (; groups && group[groups - 1].k1 > now.k0; groups--) {
            const unit *old = &group[groups - 1];
            now.q0 = old->q0;
            now.slices = 1;
            if (old->k0 < now.k0) now.k0 = old->k0;
            if (old->k1 > now.k1) now.k1 = old->k1;
        }
        group[groups++] = now;
    }
    for (int64_t j = 0; j < p->m; j++) owner[j] = -1;
    for (int64_t i = 0; i < groups; i++) {
        const unit all = group[i];
        const int32_t step = (all.q1 - all.q0 + all.slices - 1) / all.slices;
        for (int32_t j = all.k0; j < all.k1; j++) owner[j] = (int32_t)units;
        for (int32_t s = 0; s < all.slices; s++) {
            unit *one = &u[units++];
            *one = all;
            one->s = s;
            one->q0 = all.q0 + s * step;
            one->q1 = all.q1 - one->q0 < step ? all.q1 : one->q0 + step;
            if (all.slices == 1) continue;
            one->k1 = all.k0;
            for (int32_t q = one->q0; q < one->q1; q++)
                if (p->last[q] >= one->k1) one->k1 = p->last[q] + 1;
        }
    }
    return units;
}

/* out = beta*out + scale * the slices' sums, in order. */
static void add_slices(const grads *a, T *out, double beta, R scale, int which, const unit *u,
                       const int32_t *owner)
{
    const int64_t m = a->p.m, g = a->p.g, e = a->p.e, ep = a->p.ep;
    if (!out) return;
#pragma omp parallel for schedule(static) if (m * g * e > QP_GRAIN)
    for (int64_t j = 0; j < m; j++)
        for (int64_t head = 0; head < g; head++) {
            T *to = out + (j * g + head) * e;
            R *sum = sums_of(a, 0, head, which) + j * ep;
            const unit *mine = owner[j] < 0 ? NULL : u + owner[j];
            if (!mine || j >= mine->k1) memset(sum, 0, (size_t)ep * sizeof(R));
            for (int32_t s = 1; mine && s < mine->slices; s++) {
                const R *more = sums_of(a, s, head, which) + j * ep;
                for (int64_t c = 0; j < mine[s].k1 && c < e; c++) sum[c] += more[c];
            }
            for (int64_t c = 0; c < e; c++) to[c] = ACC(to[c], beta, sum[c] * scale);
        }
}

void K(attn_bwd)(void *dq, double bq, void *dk, double bk, void *dv, double bv, void *work,
                 const void *dy, const void *y, const void *lse, const void *q, const void *k,
                 const void *v, const int32_t *first, const int32_t *last, int64_t n, int64_t m,
                 int64_t h, int64_t g, int64_t e)
{
    const int64_t slot = qp_attn_bwd_slot(h, g, e);
    grads a = { attn_of(q, k, v, first, last, n, m, h, g, e), dy, y, lse, dq, bq, dk, dv, NULL };
    a.sums = (R *)work + slot * qp_attn_slots(n, g);
    unit *u = (unit *)(a.sums + qp_attn_slices(n, g) * g * 2 * m * a.p.ep), *group = u + n;
    int32_t *owner = (int32_t *)(group + n);
    const int64_t units = cut_units(&a.p, u, owner, group);
    int64_t pairs = 0;
    for (int64_t i = 0; i < units; i++) pairs += (int64_t)(u[i].q1 - u[i].q0) * (u[i].k1 - u[i].k0);
    const int64_t tasks = units * g;
    const int threads = attn_threads(&a.p, tasks, pairs);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t i = tasks - 1; i >= 0; i--)
        backward_unit(&a, &u[i / g], i % g, (R *)work + slot * omp_get_thread_num());
    add_slices(&a, dk, bk, a.p.scale, 0, u, owner);
    add_slices(&a, dv, bv, 1, 1, u, owner);
}
