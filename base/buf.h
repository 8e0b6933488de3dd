/* A growing byte string, always followed by a NUL that is not counted. Zero it to start; one owner.
   Running out of memory here is fatal (71): such buffers hold text and headers, not tensors. */
#ifndef QP_BASE_BUF_H
#define QP_BASE_BUF_H
#include "base/err.h"
QP_C_BEGIN

typedef struct {
    char *data; /* NULL when empty and never written */
    size_t len, cap;
} qp_buf;

void qp_buf_reserve(qp_buf *b,
                    size_t more); /* room for `more` bytes and the NUL behind data + len */
void qp_buf_add(qp_buf *b, const void *data, size_t len);
void qp_buf_str(qp_buf *b, const char *s);
void qp_buf_char(qp_buf *b, char c);
void qp_buf_printf(qp_buf *b, const char *fmt, ...) QP_PRINTF(2, 3);
void qp_buf_clear(qp_buf *b); /* length 0, memory kept */
void qp_buf_release(qp_buf *b);

/* malloc, realloc, calloc, strdup for edges that cannot go on without; fatal (71) when there is
   none. Sizes that overflow are fatal too. */
void *qp_xmalloc(size_t bytes);
void *qp_xaligned(size_t alignment, size_t bytes);
void *qp_xcalloc(size_t count, size_t bytes);
void *qp_xrealloc(void *p, size_t count, size_t bytes);
char *qp_xstrdup(const char *s);
char *qp_xformat(const char *fmt, ...) QP_PRINTF(1, 2);
QP_C_END
#endif
