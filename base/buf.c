#include "base/buf.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void no_memory(size_t bytes)
{
    qp_fatal(QP_NOMEM, __FILE__, __LINE__, "out of memory: %zu bytes wanted", bytes);
}

/* Doubles, so that n small additions cost O(n). */
void qp_buf_reserve(qp_buf *b, size_t more)
{
    if (more > SIZE_MAX / 2 - b->len - 1) no_memory(more);
    size_t need = b->len + more + 1;
    if (need <= b->cap) return;
    size_t cap = b->cap < 32 ? 64 : 2 * b->cap;
    if (cap < need) cap = need;
    b->data = qp_xrealloc(b->data, cap, 1);
    b->data[b->len] = '\0';
    b->cap = cap;
}

void qp_buf_add(qp_buf *b, const void *data, size_t len)
{
    qp_buf_reserve(b, len);
    if (len) memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void qp_buf_str(qp_buf *b, const char *s) { qp_buf_add(b, s, strlen(s)); }

void qp_buf_char(qp_buf *b, char c) { qp_buf_add(b, &c, 1); }

void qp_buf_printf(qp_buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    QP_ASSERT(n >= 0, "format \"%s\" cannot be printed", fmt);
    qp_buf_reserve(b, (size_t)n);
    va_start(ap, fmt);
    vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
}

void qp_buf_clear(qp_buf *b)
{
    b->len = 0;
    if (b->data) b->data[0] = '\0';
}

void qp_buf_release(qp_buf *b)
{
    free(b->data);
    *b = (qp_buf){ 0 };
}

void *qp_xmalloc(size_t bytes)
{
    void *p = malloc(bytes ? bytes : 1);
    if (!p) no_memory(bytes);
    return p;
}

void *qp_xaligned(size_t alignment, size_t bytes)
{
    void *p = NULL;
    if (posix_memalign(&p, alignment, bytes ? bytes : 1)) no_memory(bytes);
    return p;
}

void *qp_xcalloc(size_t count, size_t bytes)
{
    size_t total; /* calloc checks it too, but sanitizers stop the program there */
    bool fits = !__builtin_mul_overflow(count, bytes, &total);
    void *p = fits ? calloc(count ? count : 1, bytes ? bytes : 1) : NULL;
    if (!p)
        qp_fatal(QP_NOMEM, __FILE__, __LINE__, "out of memory: %zu x %zu bytes wanted", count,
                 bytes);
    return p;
}

void *qp_xrealloc(void *p, size_t count, size_t bytes)
{
    size_t total;
    bool fits = !__builtin_mul_overflow(count, bytes, &total);
    p = fits ? realloc(p, total ? total : 1) : NULL;
    if (!p)
        qp_fatal(QP_NOMEM, __FILE__, __LINE__, "out of memory: %zu x %zu bytes wanted", count,
                 bytes);
    return p;
}

char *qp_xstrdup(const char *s)
{
    size_t n = strlen(s) + 1;
    return memcpy(qp_xmalloc(n), s, n);
}

char *qp_xformat(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    QP_ASSERT(n >= 0, "format \"%s\" cannot be printed", fmt);
    char *s = qp_xmalloc((size_t)n + 1);
    va_start(ap, fmt);
    vsnprintf(s, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return s;
}
