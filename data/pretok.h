/* Splitting a text into pre-tokens, none of which a token crosses: stages of patterns, each applied
   to what the one before left. The common patterns are written out in C, others run on PCRE2, with
   its JIT where there is one. */
#ifndef QP_DATA_PRETOK_H
#define QP_DATA_PRETOK_H
#include "base/err.h"
#include <stdbool.h>

typedef enum {
    QP_SPLIT_ISOLATE, /* matches and what lies between are pieces */
    QP_SPLIT_KEEP,    /* matches are pieces, the rest is dropped */
} qp_split;

typedef struct qp_pretok qp_pretok;
qp_pretok *qp_pretok_new(void);
void qp_pretok_free(qp_pretok *p);
/* pattern: Oniguruma's syntax as far as PCRE2 shares it. Bad ones: QP_BADFILE. */
qp_status qp_pretok_add(qp_pretok *p, const char *pattern, size_t len, qp_split split,
                        qp_err *err) QP_MUST_CHECK;

typedef void qp_piece_fn(void *arg, const char *piece, size_t len);
/* Calls fn for every piece, in order, none empty. The text must be valid UTF-8. Thread-safe. */
qp_status qp_pretok_split(const qp_pretok *p, const char *text, size_t len, qp_piece_fn *fn,
                          void *arg, qp_err *err) QP_MUST_CHECK;
int qp_pretok_stages(const qp_pretok *p);
const char *qp_pretok_pattern(const qp_pretok *p, int stage); /* as given */
char *qp_pcre2_version(void);                                 /* the caller frees */

#define QP_PATTERN_GPT2                                                                            \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define QP_PATTERN_LLAMA3                                                                          \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "                     \
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"                                                               \
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define QP_PATTERN_QWEN2                                                                           \
    "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"     \
    "\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define QP_PATTERN_DIGIT "\\p{N}"
#define QP_PATTERN_NUMBER "\\p{N}+"
#endif
