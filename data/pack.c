#include "data/pack.h"
#include "base/rng.h"
#include <stdlib.h>
#include <string.h>

/* Fisher and Yates, with counter-based numbers: the same on every machine. */
static void permute(int64_t *v, int64_t n, uint64_t key, int64_t epoch)
{
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = (int64_t)qp_rng_below(key, (uint64_t)epoch, (uint64_t)i, (uint64_t)i + 1),
                t = v[i];
        v[i] = v[j];
        v[j] = t;
    }
}

static int64_t *in_order(int64_t n, const qp_loader_options *o, int64_t epoch, const char *purpose)
{
    int64_t *v = qp_xmalloc((size_t)(n + 1) * sizeof *v);
    for (int64_t i = 0; i < n; i++) v[i] = i;
    if (o->shuffle) permute(v, n, qp_rng_key(o->seed, purpose), epoch);
    return v;
}

/* Open rows by the room they have left: a stack a size, and a bit a size that is set where the
 * stack is not empty. */
typedef struct {
    int64_t *top;   /* (sequence_len + 1) last row with that room, or -1 */
    int64_t *below; /* (rows) the row under it */
    uint64_t *some; /* bits */
    int64_t words;
} shelf;

static void shelf_push(shelf *s, int64_t room, int64_t row)
{
    s->below[row] = s->top[room];
    s->top[room] = row;
    s->some[room / 64] |= UINT64_C(1) << room % 64;
}

/* Takes the row with the least room of at least `need`; *room is what it had. -1: there is none. */
static int64_t shelf_take(shelf *s, int64_t need, int64_t *room)
{
    uint64_t bits = s->some[need / 64] >> need % 64 << need % 64;
    for (int64_t w = need / 64;; bits = s->some[w]) {
        if (bits) {
            *room = 64 * w + __builtin_ctzll(bits);
            break;
        }
        if (++w == s->words) return -1;
    }
    int64_t row = s->top[*room];
    s->top[*room] = s->below[row];
    if (s->top[*room] < 0) s->some[*room / 64] &= ~(UINT64_C(1) << *room % 64);
    return row;
}

/* row_of[d] for every document; returns the number of rows. */
static int64_t best_fit(int64_t *row_of, const int64_t *order, const int64_t *start,
                        int64_t documents, int64_t length)
{
    shelf s = { .words = length / 64 + 1 };
    s.top = qp_xmalloc((size_t)(length + 1) * sizeof *s.top);
    s.below = qp_xmalloc((size_t)(documents + 1) * sizeof *s.below);
    s.some = qp_xcalloc((size_t)s.words, sizeof *s.some);
    for (int64_t i = 0; i <= length; i++) s.top[i] = -1;
    int64_t rows = 0;
    for (int64_t i = 0; i < documents; i++) {
        int64_t d = order[i], need = start[d + 1] - start[d], room;
        row_of[d] = shelf_take(&s, need, &room);
        if (row_of[d] < 0) row_of[d] = rows++, room = length;
        shelf_push(&s, room - need, row_of[d]);
    }
    free(s.top);
    free(s.below);
    free(s.some);
    return rows;
}

void qp_pack(qp_packing *p, const int64_t *start, int64_t documents, const qp_loader_options *o,
             int64_t epoch)
{
    for (int64_t d = 0; d < documents; d++)
        QP_ASSERT(start[d + 1] - start[d] <= o->sequence_len,
                  "document %lld has %lld rows, a row holds %lld", (long long)d,
                  (long long)(start[d + 1] - start[d]), (long long)o->sequence_len);
    int64_t *order = in_order(documents, o, epoch, "documents");
    int64_t *row_of = qp_xmalloc((size_t)(documents + 1) * sizeof *row_of);
    int64_t rows = documents;
    if (o->packing)
        rows = best_fit(row_of, order, start, documents, o->sequence_len);
    else
        for (int64_t i = 0; i < documents; i++) row_of[order[i]] = i;

    /* Rows opened last are the emptiest: a permutation of their own spreads them over the epoch. */
    int64_t *place = in_order(rows, o, epoch, "rows");
    *p = (qp_packing){ .rows = rows };
    p->first = qp_xcalloc((size_t)rows + 2, sizeof *p->first); /* one more while counting */
    p->document = qp_xmalloc((size_t)(documents + 1) * sizeof *p->document);
    for (int64_t d = 0; d < documents; d++) p->first[place[row_of[d]] + 2]++;
    for (int64_t r = 2; r <= rows; r++) p->first[r] += p->first[r - 1];
    for (int64_t i = 0; i < documents; i++)
        p->document[p->first[place[row_of[order[i]]] + 1]++] = order[i];
    free(place);
    free(order);
    free(row_of);
}

void qp_packing_release(qp_packing *p)
{
    free(p->first);
    free(p->document);
    *p = (qp_packing){ 0 };
}
