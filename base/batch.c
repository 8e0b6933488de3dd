#include "base/batch.h"
#include "base/buf.h"
#include <stdlib.h>

void qp_batch_reserve(qp_batch *b, int64_t rows)
{
    if (rows <= b->cap) return;
    /* Row indices are int32. */
    QP_ASSERT(rows <= INT32_MAX, "batch of %lld rows", (long long)rows);
    int32_t **array[] = { &b->tokens, &b->targets, &b->pos, &b->first, &b->last };
    for (size_t i = 0; i < sizeof array / sizeof *array; i++)
        *array[i] = qp_xrealloc(*array[i], (size_t)rows, sizeof(int32_t));
    b->cap = rows;
}

void qp_batch_clear(qp_batch *b) { b->n = b->targets_n = b->documents = 0; }

void qp_batch_add(qp_batch *b, const int32_t *tokens, const int32_t *targets, int64_t n)
{
    if (n <= 0) return;
    int64_t start = b->n;
    if (start + n > b->cap) qp_batch_reserve(b, start + n > 2 * b->cap ? start + n : 2 * b->cap);
    for (int64_t i = 0; i < n; i++) {
        int64_t row = start + i;
        int32_t target = targets ? targets[i] : i + 1 < n ? tokens[i + 1] : -1;
        b->tokens[row] = tokens[i];
        b->targets[row] = target < 0 ? -1 : target;
        b->pos[row] = (int32_t)i;
        b->first[row] = (int32_t)start;
        b->last[row] = (int32_t)row;
        b->targets_n += target >= 0;
    }
    b->n += n;
    b->documents++;
}

void qp_batch_release(qp_batch *b)
{
    free(b->tokens);
    free(b->targets);
    free(b->pos);
    free(b->first);
    free(b->last);
    *b = (qp_batch){ 0 };
}
