/* Which documents share a row. */
#ifndef QP_DATA_PACK_H
#define QP_DATA_PACK_H
#include "data/loader.h"

/* Row r holds the documents document[first[r]] .. document[first[r + 1] - 1], in that order. */
typedef struct {
    int64_t rows;
    int64_t *first;    /* (rows + 1) */
    int64_t *document; /* (documents) */
} qp_packing;

/* A pure function of the document lengths, the options and the epoch. Best fit, online: documents
   in the epoch's order, each into the fullest row that still has room for it; rows then in the
   epoch's order. Documents are not sorted by length first: that would put the long ones together at
   the start of every epoch. No document may be longer than a row. */
void qp_pack(qp_packing *p, const int64_t *start, int64_t documents, const qp_loader_options *o,
             int64_t epoch);
void qp_packing_release(qp_packing *p);
#endif
