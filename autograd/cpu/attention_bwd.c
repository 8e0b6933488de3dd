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
    T *dq, *dk, *dv;
    double bq, bk, bv;
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
    E *dsb;         /* below: [key][lane]: ds. With PAIR 1 the same memory as ds */
    H *pa, *dsa;    /* along: [key][row], all rows of the tile: p, ds */
    int64_t width;  /* from key to key there */
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
    x.dsb = (E *)(PAIR == 1 ? x.ds : x.ds + block);
    x.pa = (H *)(x.ds + 2 * block);
    x.dsa = x.pa + KEYS * rows;
    x.width = rows;
    x.lse = x.ds + 2 * block + 2 * KEYS * rows;
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
                cut(x->pa + (j + i) * x->width + r0 + l, p);
                cut(x->dsa + (j + i) * x->width + r0 + l, d[i]);
            }
            *(evec *)(x->dsb + j / PAIR * W + l) = join(d[0], d[PAIR - 1]);
        }
    }
}

/* out = beta*out + scale * sum, one row of one head. */
static inline void put(const attn *p, T *out, double beta, const R *sum, R scale)
{
    for (int64_t c = 0; c < p->e; c++) out[c] = ACC(out[c], beta, sum[c] * scale);
}

/* Rows r0 .. r1-1 of a tile add to dk and dv of `seen` keys. */
static void add_rows(const grads *a, const scratch *x, R *dk, R *dv, int64_t r0, int64_t r1,
                     int64_t seen)
{
    const int64_t ep = a->p.ep, pairs = (r1 - r0 + PAIR - 1) / PAIR;
    const E *p = (E *)(x->pa + r0), *ds = (E *)(x->dsa + r0);
    const E *q = x->qr + r0 / PAIR * ep, *dy = x->dyr + r0 / PAIR * ep;
    if (r0 >= r1) return;
    if (dv) outer(dv, ep, seen, ep, p, x->width / PAIR, 1, dy, ep, pairs, true);
    if (dk) outer(dk, ep, seen, ep, ds, x->width / PAIR, 1, q, ep, pairs, true);
}

/* Blocks of rows that see every key of a tile of keys add to dk and dv together: the sums are
   loaded and stored less often (backward 3 % faster). */
static void backward_tile(const grads *a, attn_tile t, int64_t head, R *dk, R *dv, const scratch *x)
{
    const attn *p = &a->p;
    const attn_rows w = attn_rows_of(p, t, head, x->places);
    const int64_t ep = p->ep, ee = p->ee;
    load(a, &w, x);
    for (int32_t j = t.k0; j < t.k1; j += KEYS) {
        const int64_t kn = t.k1 - j < KEYS ? t.k1 - j : KEYS;
        const int64_t next = t.k1 - j - kn < KEYS ? t.k1 - j - kn : KEYS;
        R *dkj = a->dk ? dk + j * ep : NULL, *dvj = a->dv ? dv + j * ep : NULL;
        int64_t waiting = 0; /* the first row that has not added yet */
        attn_keys_along(x->k, p, p->k, head, j, kn);
        attn_keys_along(x->v, p, p->v, head, j, kn);
        if (PAIR == 2 && a->dq) attn_keys_below(x->kb, p, p->k, head, j, kn);
        attn_fetch(p, p->k, head, j + kn, next);
        attn_fetch(p, p->v, head, j + kn, next);
        for (int64_t b = 0; b < w.blocks; b++) {
            const int64_t rows = attn_block_rows(&w, b), lanes = attn_lanes(rows), r0 = b * W;
            const int64_t seen = attn_seen(w.most[b], j, kn);
            const int32_t *last = w.last + r0, least = w.least[b];
            const E *k = (E *)x->k, *v = (E *)x->v;
            if (seen < kn) {
                add_rows(a, x, dkj, dvj, waiting, r0, kn);
                waiting = r0 + rows;
            }
            if (!seen) continue;
            outer(x->s, W, seen, lanes, k, ep / PAIR, 1, x->q + r0 * ee, W, ee, false);
            outer(x->ds, W, seen, lanes, v, ep / PAIR, 1, x->dy + r0 * ee, W, ee, false);
            attn_hide(x->s, -INFINITY, last, lanes, least, j, seen);
            attn_hide(x->ds, 0, last, lanes, least, j, seen);
            soften(p, x, r0, lanes, seen);
            if (seen < kn) add_rows(a, x, dkj, dvj, r0, r0 + rows, seen);
            if (a->dq)
                attn_gather(x->dq + r0 * ep, p, x->kb, x->dsb, last, rows, least, j, seen,
                            j > t.k0);
        }
        add_rows(a, x, dkj, dvj, waiting, w.rows, kn);
    }
    for (int64_t r = 0; a->dq && r < w.rows; r++)
        put(p, a->dq + w.at[r], a->bq, x->dq + r * ep, p->scale);
}

/* A group of one slice is put where it belongs while it is in cache. */
static void backward_unit(const grads *a, const unit *u, int64_t head, R *slot)
{
    const attn *p = &a->p;
    const scratch x = scratch_of(p, slot);
    const int64_t ep = p->ep, bytes = (u->k1 - u->k0) * ep * (int64_t)sizeof(R);
    R *dk = sums_of(a, u->s, head, 0), *dv = sums_of(a, u->s, head, 1);
    memset(dk + u->k0 * ep, 0, (size_t)bytes);
    memset(dv + u->k0 * ep, 0, (size_t)bytes);
    for (int32_t i = u->q0; i < u->q1;) {
        const attn_tile t = attn_cut(p, i, u->q1);
        backward_tile(a, t, head, dk, dv, &x);
        i = t.q1;
    }
    for (int64_t j = u->k0; u->slices == 1 && j < u->k1; j++) {
        const int64_t at = (j * p->g + head) * p->e;
        if (a->dk) put(p, a->dk + at, a->bk, dk + j * ep, p->scale);
        if (a->dv) put(p, a->dv + at, a->bv, dv + j * ep, 1);
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

/* dk and dv of keys that nobody sees, or several slices: these are added in order. */
static void add_slices(const grads *a, T *out, double beta, R scale, int which, const unit *u,
                       const int32_t *owner)
{
    const int64_t m = a->p.m, g = a->p.g, ep = a->p.ep;
    if (!out) return;
#pragma omp parallel for schedule(static) if (m * g * ep > QP_GRAIN)
    for (int64_t j = 0; j < m; j++) {
        const unit *mine = owner[j] < 0 ? NULL : u + owner[j];
        for (int64_t head = 0; head < g && !(mine && mine->slices == 1); head++) {
            R *sum = sums_of(a, 0, head, which) + j * ep;
            if (!mine || j >= mine->k1) memset(sum, 0, (size_t)ep * sizeof(R));
            for (int32_t s = 1; mine && s < mine->slices; s++) {
                const R *more = sums_of(a, s, head, which) + j * ep;
                for (int64_t c = 0; j < mine[s].k1 && c < ep; c++) sum[c] += more[c];
            }
            put(&a->p, out + (j * g + head) * a->p.e, beta, sum, scale);
        }
    }
}

void K(attn_bwd)(void *dq, double bq, void *dk, double bk, void *dv, double bv, void *work,
                 const void *dy, const void *y, const void *lse, const void *q, const void *k,
                 const void *v, const int32_t *first, const int32_t *last, int64_t n, int64_t m,
                 int64_t h, int64_t g, int64_t e)
{
    const int64_t slot = qp_attn_bwd_slot(h, g, e);
    grads a = {
        attn_of(q, k, v, first, last, n, m, h, g, e), dy, y, lse, dq, dk, dv, bq, bk, bv, NULL
    };
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
