/* Sources to documents. */
#include "data/corpus.h"
#include "base/sha256.h"
#include "data/build.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void add_document(qp_build *b, const int32_t *tokens, const int32_t *targets, int64_t rows)
{
    qp_corpus *c = b->c;
    if (c->n + rows > b->cap) {
        b->cap = b->cap + b->cap / 2 + rows;
        c->tokens = qp_xrealloc(c->tokens, (size_t)b->cap, sizeof *c->tokens);
        c->targets = qp_xrealloc(c->targets, (size_t)b->cap, sizeof *c->targets);
    }
    if (c->documents + 1 >= b->cap_documents) {
        b->cap_documents = 2 * b->cap_documents + 64;
        c->start = qp_xrealloc(c->start, (size_t)b->cap_documents, sizeof *c->start);
    }
    if (rows) memcpy(c->tokens + c->n, tokens, (size_t)rows * sizeof *tokens);
    if (rows) memcpy(c->targets + c->n, targets, (size_t)rows * sizeof *targets);
    for (int64_t i = 0; i < rows; i++) c->trained += targets[i] >= 0;
    c->start[c->documents++] = c->n;
    c->n += rows;
    c->start[c->documents] = c->n;
}

void qp_build_add(qp_build *b, double weight, int64_t index, const int32_t *tokens,
                  const int32_t *targets, int64_t rows)
{
    double w = weight > 0 ? weight : 1;
    double times = floor((double)(index + 1) * w) - floor((double)index * w);
    for (int64_t k = (int64_t)times; k > 0; k--) add_document(b, tokens, targets, rows);
}

static const struct {
    const char *suffix;
    qp_status (*load)(qp_build *, const qp_source *, qp_err *);
} kinds[] = { { ".jsonl", qp_build_records },  { ".json", qp_build_records },
              { ".ndjson", qp_build_records }, { ".txt", qp_build_text },
              { ".text", qp_build_text },      { ".md", qp_build_text } };

static qp_status load_source(qp_build *b, const qp_source *given, qp_err *err)
{
    char *path;
    qp_status rc = qp_source_resolve(given->path, "train", &path, err);
    if (rc) return rc;
    qp_source s = *given;
    s.path = path;
    rc = QP_USAGE;
    size_t k, n = strlen(path);
    for (k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        size_t len = strlen(kinds[k].suffix);
        if (n > len && !strcasecmp(path + n - len, kinds[k].suffix)) break;
    }
    if (k < sizeof kinds / sizeof *kinds)
        rc = kinds[k].load(b, &s, err);
    else
        qp_fail(err, rc, "%s: unknown kind of data (wanted .jsonl, .json or .txt)", path);
    free(path);
    return rc;
}

qp_status qp_corpus_load(qp_corpus *c, const qp_source *sources, int n, const qp_corpus_options *o,
                         qp_err *err)
{
    *c = (qp_corpus){ 0 };
    qp_build b = { .c = c, .o = o };
    qp_status rc = QP_OK;
    if (o->sequence_len < 1)
        rc = qp_fail(err, QP_USAGE, "sequence_len %lld: wanted at least 1",
                     (long long)o->sequence_len);
    for (int i = 0; i < n && !rc; i++) rc = load_source(&b, &sources[i], err);
    if (!rc && !c->documents)
        rc = qp_fail(
            err, QP_BADFILE,
            "no documents: %lld records skipped, %lld dropped as longer than sequence_len %lld",
            (long long)c->skipped, (long long)c->dropped, (long long)o->sequence_len);
    c->found = b.found.data;
    if (rc) qp_corpus_release(c);
    return rc;
}

void qp_corpus_hash(const qp_corpus *c, char hex[65])
{
    qp_sha256 h;
    qp_sha256_init(&h);
    qp_sha256_add(&h, c->start, (size_t)(c->documents + 1) * sizeof *c->start);
    qp_sha256_add(&h, c->tokens, (size_t)c->n * sizeof *c->tokens);
    qp_sha256_add(&h, c->targets, (size_t)c->n * sizeof *c->targets);
    qp_sha256_hex(&h, hex);
}
