#include "tests/data/corpora.h"
#include "base/rng.h"

qp_corpus test_corpus(int64_t documents, int64_t longest, uint64_t seed)
{
    qp_corpus c = { .documents = documents };
    c.start = qp_xcalloc((size_t)documents + 1, sizeof *c.start);
    for (int64_t d = 0; d < documents; d++)
        c.start[d + 1] =
            c.start[d] + 1 +
            (int64_t)qp_rng_below(qp_rng_key(seed, "lengths"), 0, (uint64_t)d, (uint64_t)longest);
    c.n = c.start[documents];
    c.tokens = qp_xmalloc((size_t)c.n * sizeof *c.tokens);
    c.targets = qp_xmalloc((size_t)c.n * sizeof *c.targets);
    for (int64_t i = 0; i < c.n; i++) {
        c.tokens[i] = (int32_t)i;
        c.targets[i] = i % 3 ? (int32_t)(i + 1) : -1;
        c.trained += c.targets[i] >= 0;
    }
    return c;
}
