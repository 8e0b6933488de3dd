/* The common patterns, written out: several times as fast as a regular expression, and by this
   program's own Unicode tables. */
#ifndef QP_DATA_PRETOK_KNOWN_H
#define QP_DATA_PRETOK_KNOWN_H
#include <stdbool.h>
#include <stddef.h>

/* The first match in text[from..len), which is valid UTF-8 and may be looked at whole. */
typedef bool qp_find_fn(const char *text, size_t len, size_t from, size_t *start, size_t *end);
/* NULL: not one of them. */
qp_find_fn *qp_pretok_known(const char *pattern, size_t len);
#endif
