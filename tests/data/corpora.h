/* Corpora made by hand, for tests of what comes after reading. */
#ifndef QP_TESTS_DATA_CORPORA_H
#define QP_TESTS_DATA_CORPORA_H
#include "data/corpus.h"

/* Documents of lengths spread over 1 .. longest with that many tokens; every token of the corpus is
   another id, every third row has no target. */
qp_corpus test_corpus(int64_t documents, int64_t longest, uint64_t seed);
#endif
