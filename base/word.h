/* Which known word someone meant. */
#ifndef QP_BASE_WORD_H
#define QP_BASE_WORD_H
#include <stddef.h>

/* Levenshtein's distance: insertions, deletions and replacements of a byte. Words longer than 127
   are compared by their first 127. */
int qp_word_distance(const char *a, size_t na, const char *b, size_t nb);
/* The nearest of n words, the first of equals. */
const char *qp_word_nearest(const char *given, const char *const *word, int n);
#endif
