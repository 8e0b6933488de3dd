#include "base/pages.h"
#include <sys/mman.h>

void *qp_pages_new(size_t bytes)
{
    if (!bytes) return NULL;
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return NULL;
    (void)madvise(p, bytes, MADV_HUGEPAGE); /* advice: without it all works as well */
    return p;
}

void qp_pages_free(void *pages, size_t bytes)
{
    if (pages) (void)munmap(pages, bytes);
}
