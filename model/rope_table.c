#include "model/rope_table.h"
#include "autograd/tensor.h"
#include "base/buf.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct qp_rope_rows {
    qp_rope_rows *smaller; /* kept: see the header */
    int64_t positions;
    void *cos, *sin;
};

void qp_rope_table_init(qp_rope_table *t, const double *inv_freq, int64_t pairs, qp_storage compute)
{
    size_t bytes = (size_t)pairs * sizeof *inv_freq;
    *t = (qp_rope_table){ .storage = qp_sum_storage(compute), .pairs = pairs };
    t->inv_freq = memcpy(qp_xmalloc(bytes), inv_freq, bytes);
}

/* An angle of 131071 needs f64: in f32 its cosine is off by 3e-3. */
static void fill(const qp_rope_table *t, qp_rope_rows *r)
{
    for (int64_t p = 0, at = 0; p < r->positions; p++)
        for (int64_t i = 0; i < t->pairs; i++, at++) {
            double angle = (double)p * t->inv_freq[i];
            if (t->storage == QP_F64) {
                ((double *)r->cos)[at] = cos(angle);
                ((double *)r->sin)[at] = sin(angle);
            } else {
                ((float *)r->cos)[at] = (float)cos(angle);
                ((float *)r->sin)[at] = (float)sin(angle);
            }
        }
}

void qp_rope_table_rows(qp_rope_table *t, int64_t positions, const void **cos, const void **sin)
{
    int64_t have = t->rows ? t->rows->positions : 0;
    if (positions > have) {
        qp_rope_rows *r = qp_xmalloc(sizeof *r);
        r->positions = positions > 2 * have ? positions : 2 * have;
        if (r->positions < 256) r->positions = 256;
        size_t bytes = qp_storage_bytes(t->storage, r->positions * t->pairs);
        r->cos = qp_xmalloc(bytes);
        r->sin = qp_xmalloc(bytes);
        r->smaller = t->rows;
        t->rows = r;
        fill(t, r);
    }
    *cos = t->rows->cos;
    *sin = t->rows->sin;
}

void qp_rope_table_release(qp_rope_table *t)
{
    for (qp_rope_rows *r = t->rows, *next; r; r = next) {
        next = r->smaller;
        free(r->cos);
        free(r->sin);
        free(r);
    }
    free(t->inv_freq);
    *t = (qp_rope_table){ 0 };
}
