/* What data makes and the model reads: N token rows, whatever the documents in them; no padding. */
#ifndef QP_BASE_BATCH_H
#define QP_BASE_BATCH_H
#include "base/c.h"
#include <stdint.h>
QP_C_BEGIN

typedef struct {
    int64_t n;         /* token rows */
    int64_t targets_n; /* rows with a target (target >= 0) */
    int64_t documents;
    int32_t *tokens;  /* (N) ids */
    int32_t *targets; /* (N) the id to predict at this row, or -1: nothing is learned here */
    int32_t *pos;     /* (N) position in its document: RoPE */
    int32_t *first;   /* (N) first key row this query sees: its document's first row */
    int32_t *last;    /* (N) last key row it sees: its own */
    int64_t cap;      /* rows allocated */
} qp_batch;

void qp_batch_reserve(qp_batch *b, int64_t rows); /* grows the five arrays; n unchanged */
void qp_batch_clear(qp_batch *b);
/* Appends one document: positions from 0, causal. targets NULL: predict the next token, last row
 * none. */
void qp_batch_add(qp_batch *b, const int32_t *tokens, const int32_t *targets, int64_t n);
void qp_batch_release(qp_batch *b);
QP_C_END
#endif
