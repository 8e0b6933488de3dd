/* A sample to ids, and which of them are learned. */
#ifndef QP_DATA_ENCODE_H
#define QP_DATA_ENCODE_H
#include "data/corpus.h"
#include "data/format.h"

/* Appends ids and as many mask bytes, 1 where the token is learned. */
qp_status qp_sample_encode(const qp_sample *s, const qp_corpus_options *o, qp_ids *ids,
                           qp_buf *mask, qp_err *err) QP_MUST_CHECK;
/* Whether o has a chat template. */
bool qp_has_template(const qp_corpus_options *o);
#endif
