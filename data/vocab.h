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
    struct qp_vocab_slot {
        uint32_t tag; /* high half of the bytes' hash */
        int32_t id;   /* -1: free */
    } * slot;         /* open addressing on the low half */
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

/* Up to eight bytes as a number; the lengths differ where the numbers may agree. */
static inline uint64_t qp_load8(const char *s, size_t n)
{
    uint32_t low, high;
    uint64_t x;
    if (n == 8) return memcpy(&x, s, 8), x;
    if (n < 4)
        return n ? (uint8_t)s[0] | (uint64_t)(uint8_t)s[n / 2] << 8 |
                       (uint64_t)(uint8_t)s[n - 1] << 16
                 : 0;
    memcpy(&low, s, 4);
    memcpy(&high, s + n - 4, 4);
    return low | (uint64_t)high << 32;
}

/* memcmp, without a call, for words of a few bytes. */
static inline bool qp_same_bytes(const char *a, const char *b, size_t n)
{
    for (; n > 8; a += 8, b += 8, n -= 8)
        if (qp_load8(a, 8) != qp_load8(b, 8)) return false;
    return qp_load8(a, n) == qp_load8(b, n);
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
