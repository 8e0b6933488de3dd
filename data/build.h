/* A corpus while it grows; for the readers of corpus.c's table only. */
#ifndef QP_DATA_BUILD_H
#define QP_DATA_BUILD_H
#include "data/corpus.h"

typedef struct {
    qp_corpus *c;
    const qp_corpus_options *o;
    int64_t cap, cap_documents;
    qp_buf found;
} qp_build;

/* Adds a document as often as weight says: the source's document `index` is taken
   floor((index+1) w) - floor(index w) times, which spreads a fraction evenly. */
void qp_build_add(qp_build *b, double weight, int64_t index, const int32_t *tokens,
                  const int32_t *targets, int64_t rows);

qp_status qp_build_text(qp_build *b, const qp_source *s, qp_err *err) QP_MUST_CHECK;
qp_status qp_build_records(qp_build *b, const qp_source *s, qp_err *err) QP_MUST_CHECK;
#endif
