/* Byte-level byte-pair encoding of one pre-token (Sennrich et al. 2016, arXiv:1508.07909; on bytes
   as in GPT-2): the pair of lowest rank is merged first, of equal ones the leftmost. */
#ifndef QP_DATA_BPE_H
#define QP_DATA_BPE_H
#include "data/tokenizer.h"
#include "data/vocab.h"

typedef struct {
    uint64_t pair; /* left id << 32 | right id */
    int32_t rank, id;
} qp_merge;

typedef struct {
    qp_vocab vocab;
    int32_t byte_id[256]; /* -1: no token; such a byte vanishes before merging, as in Hugging Face's
                             tokenizers */
    bool ignore_merges;   /* a pre-token that is in the vocabulary as a whole is that token */
    qp_merge *merge;      /* open addressing on the pair; rank -1: free */
    int64_t slots, merges;
} qp_bpe;

/* What an encoding call keeps from word to word; zero it to start. */
typedef struct {
    struct qp_symbol *symbol;
    uint64_t *heap;
    int64_t cap, heap_cap;
} qp_bpe_work;

void qp_bpe_release(qp_bpe *b);
void qp_bpe_reserve_merges(qp_bpe *b, int64_t n);
/* Later ranks replace earlier ones of the same pair. False when a piece or their concatenation is
   no token: *missing (if not NULL) gets it. */
bool qp_bpe_add_merge(qp_bpe *b, int32_t rank, const char *left, size_t left_len, const char *right,
                      size_t right_len, qp_buf *missing);
/* All merges by ascending rank; the caller frees. *n: how many. */
qp_merge *qp_bpe_by_rank(const qp_bpe *b, int64_t *n);
void qp_bpe_ready(qp_bpe *b); /* after the last token: fills byte_id */
/* Appends the ids of a word of 1 .. INT32_MAX bytes and, where `at` is not NULL, the byte in it
   where each begins. O(n log n). */
void qp_bpe_word(const qp_bpe *b, qp_bpe_work *w, const char *word, size_t len, uint64_t hash,
                 qp_ids *out, qp_ids *at);
void qp_bpe_work_release(qp_bpe_work *w);
#endif
