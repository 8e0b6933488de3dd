/* Tokens that stand in the text as they are: special ones, and words added after training. Where
   several fit, the leftmost and of those the longest is taken, as in Hugging Face's tokenizers. */
#ifndef QP_DATA_ADDED_H
#define QP_DATA_ADDED_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    char *text;
    size_t len;
    int32_t id;
    bool special;
    bool lstrip, rstrip; /* takes the white space before, after it in */
} qp_added_token;

typedef struct {
    qp_added_token *token; /* sorted by text once ready */
    int64_t n, cap;
    bool starts[256]; /* a token begins with this byte */
} qp_added;

/* Copies the text; nothing is done when it is empty. */
void qp_added_add(qp_added *a, const char *text, size_t len, qp_added_token flags);
void qp_added_ready(qp_added *a); /* after the last: sorts */
void qp_added_release(qp_added *a);
/* The first token at or after `from`, or NULL; *at: where it begins. */
const qp_added_token *qp_added_find(const qp_added *a, const char *text, size_t len, size_t from,
                                    size_t *at);
const qp_added_token *qp_added_exact(const qp_added *a, const char *text, size_t len); /* or NULL */
#endif
