/* The program's own malloc stands before the C library's, whose other name does the work.
   Sanitizers have a malloc of their own. */
#include "tests/support/allocations.h"
#include "base/asan.h"
#include <stdatomic.h>
#include <stdlib.h>

#if defined QP_ASAN || !defined __GLIBC__
int64_t test_allocations(void) { return -1; }
#else
static _Atomic int64_t asked;
int64_t test_allocations(void) { return asked; }

extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *p, size_t bytes);
extern void *__libc_memalign(size_t alignment, size_t bytes);

void *malloc(size_t bytes)
{
    asked++;
    return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
    asked++;
    return __libc_calloc(count, bytes);
}

void *realloc(void *p, size_t bytes)
{
    asked++;
    return __libc_realloc(p, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    asked++;
    return __libc_memalign(alignment, bytes);
}

int posix_memalign(void **p, size_t alignment, size_t bytes)
{
    asked++;
    *p = __libc_memalign(alignment, bytes);
    return *p ? 0 : 12; /* ENOMEM */
}
#endif
