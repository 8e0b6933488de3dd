/* Token ids and their bytes, both ways. */
#ifndef QP_DATA_VOCAB_H
#define QP_DATA_VOCAB_H
#include "base/buf.h"
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
    QP_VOCAB_MAX_ID = (1 << 24) - 1
}; /* a file's word for an id is not enough to allocate more */

typedef struct {
    uint32_t at, len;
    uint8_t flags; /* QP_TOKEN_* */
} qp_token;
/* BYTES: made of bytes, and found by them; else known by id only. */
enum { QP_TOKEN_PRESENT = 1, QP_TOKEN_SPECIAL = 2, QP_TOKEN_BYTES = 4 };

typedef struct {
    qp_buf bytes; /* of all tokens */
    qp_token *token;
    int64_t n, cap; /* n: highest id + 1; ids between may be absent */
    int32_t *slot;  /* open addressing on the bytes' hash: id or -1 */
    int64_t slots, used;
} qp_vocab;

void qp_vocab_release(qp_vocab *v);
/* Searchable tokens are found by qp_vocab_find; the others are known by id only (special tokens,
   text that no bytes map to). Returns false when the id is taken, or a searchable token with these
   bytes exists. */
bool qp_vocab_add(qp_vocab *v, int32_t id, const char *s, size_t len, bool searchable);
int32_t qp_vocab_find(const qp_vocab *v, const char *s, size_t len,
                      uint64_t hash);        /* -1: not there */
void qp_vocab_hide(qp_vocab *v, int32_t id); /* no longer found by its bytes */
/* NULL when there is no such id. */
const char *qp_vocab_bytes(const qp_vocab *v, int64_t id, size_t *len);

static inline uint64_t qp_load8(const char *s, size_t n)
{
    uint64_t x = 0;
    memcpy(&x, s, n);
    return x;
}

/* Multiply and fold, eight bytes at a time; for tables that live in memory only. */
static inline uint64_t qp_hash_bytes(const char *s, size_t n)
{
    const uint64_t k = 0x9E3779B97F4A7C15ull;
    uint64_t h = n * k;
    for (; n > 8; s += 8, n -= 8) {
        h = (h ^ qp_load8(s, 8)) * k;
        h ^= h >> 29;
    }
    h = (h ^ qp_load8(s, n)) * k;
    h ^= h >> 32;
    h *= k;
    return h ^ h >> 29;
}
#endif
