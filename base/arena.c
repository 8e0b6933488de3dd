#include "base/arena.h"
#include "base/asan.h"
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

/* Hidden behind the last block, so that ASan sees a write past it into memory never used before. */
enum { GUARD = 4096 };

/* What a recycled block holds. */
typedef struct {
    void *next;
    size_t size;
} free_block;

/* Blocks are whole cache lines; one for size 0 too, so that no two blocks share an address. */
static size_t block_size(size_t bytes)
{
    if (bytes > SIZE_MAX - 64) return SIZE_MAX & ~(size_t)63;
    return bytes ? (bytes + 63) & ~(size_t)63 : 64;
}

qp_status qp_arena_init(qp_arena *a, size_t budget, qp_err *err)
{
    *a = (qp_arena){ .cap = block_size(budget) };
    a->scope = &a->root;
    /* NORESERVE: the budget is a promise; pages are taken only when a step touches them. */
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *p = mmap(NULL, a->cap, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (p == MAP_FAILED) {
        size_t cap = a->cap;
        *a = (qp_arena){ 0 };
        return qp_fail(err, QP_NOMEM, "step memory: cannot reserve %zu bytes: %s", cap,
                       strerror(errno));
    }
    a->base = p;
    (void)madvise(p, a->cap,
                  MADV_HUGEPAGE); /* advice: fewer page faults where the kernel has them */
    return QP_OK;
}

void qp_arena_release(qp_arena *a)
{
    if (a->base) {
        QP_SHOW(a->base, a->cap - a->peak > GUARD ? a->peak + GUARD : a->cap);
        munmap(a->base, a->cap);
    }
    *a = (qp_arena){ 0 };
}

void qp_arena_small_pages(qp_arena *a) { (void)madvise(a->base, a->cap, MADV_NOHUGEPAGE); }

void qp_arena_reset(qp_arena *a)
{
    QP_HIDE(a->base, a->used);
    a->used = a->live = 0;
    a->root = (qp_scope){ 0 };
    a->scope = &a->root;
}

/* Unlinks the first block of size n from the list at *head. */
static void *take(void **head, size_t n)
{
    for (void **at = head; *at;) {
        free_block *block = *at;
        QP_SHOW(block, sizeof *block);
        if (block->size == n) {
            *at = block->next;
            return block;
        }
        at = &block->next; /* stays readable until the arena hides it again: only in the list `rest`
                            */
    }
    return NULL;
}

static void *reuse(qp_scope *s, size_t n)
{
    for (int i = 0; i < QP_ARENA_BINS && s->bin[i].size; i++)
        if (s->bin[i].size == n && s->bin[i].head) return take(&s->bin[i].head, n);
    return s->rest ? take(&s->rest, n) : NULL;
}

void *qp_arena_alloc(qp_arena *a, size_t bytes)
{
    size_t n = block_size(bytes);
    char *p = reuse(a->scope, n);
    if (!p) {
        if (n > a->cap - a->used)
            qp_fatal(QP_NOMEM, __FILE__, __LINE__,
                     "step memory: %zu bytes wanted, %zu in use, budget %zu", n, a->used, a->cap);
        p = a->base + a->used;
        a->used += n;
        if (a->used > a->peak) a->peak = a->used;
        QP_HIDE(a->base + a->used, a->cap - a->used > GUARD ? GUARD : a->cap - a->used);
    }
    a->live += n;
    if (a->live > a->live_most) a->live_most = a->live;
    QP_SHOW(p, bytes);
    QP_HIDE(p + bytes, n - bytes);
    return p;
}

/* The list for blocks of n bytes: their bin, else a bin that is new or empty, else the mixed one.
 */
static void **list_for(qp_scope *s, size_t n)
{
    int empty = -1;
    for (int i = 0; i < QP_ARENA_BINS; i++) {
        if (s->bin[i].size == n) return &s->bin[i].head;
        if (!s->bin[i].head && empty < 0) empty = i;
        if (!s->bin[i].size) break;
    }
    if (empty < 0) return &s->rest;
    s->bin[empty].size = n;
    return &s->bin[empty].head;
}

void qp_arena_recycle(qp_arena *a, void *p, size_t bytes)
{
    if (!p || (uintptr_t)p < (uintptr_t)a->base || (uintptr_t)p >= (uintptr_t)a->base + a->cap)
        return;
    size_t n = block_size(bytes), at = (size_t)((char *)p - a->base);
    if (at < a->scope->start) return;
    QP_ASSERT(at % 64 == 0 && at < a->used && n <= a->used - at,
              "recycled block of %zu bytes at %zu is not in the open scope (%zu in use)", bytes, at,
              a->used);
    QP_ASSERT(!bytes || !QP_HIDDEN(p), "block of %zu bytes at %zu recycled twice", bytes, at);
    void **list = list_for(a->scope, n);
    a->live -= n;
    QP_SHOW(p, sizeof(free_block));
    *(free_block *)p = (free_block){ *list, n };
    *list = p;
    QP_HIDE(p, n);
}

void qp_scope_open(qp_arena *a, qp_scope *s)
{
    *s = (qp_scope){ .outer = a->scope, .start = a->used, .live = a->live };
    a->scope = s;
}

static bool holds_tape(const qp_arena *a, const qp_scope *s)
{
    const char *last = NULL;
    if (a->tape) memcpy(&last, a->tape, sizeof last);
    return last && last >= a->base + s->start;
}

void qp_scope_close(qp_arena *a, qp_scope *s)
{
    QP_ASSERT(a->scope == s && s->outer, "scopes close in the order they opened, innermost first");
    QP_ASSERT(!holds_tape(a, s), "a scope closes over a tape that was not walked: run backward, "
                                 "drop it with c->tape = NULL, or do not record");
    QP_HIDE(a->base + s->start, a->used - s->start);
    a->used = s->start;
    a->live = s->live;
    a->scope = s->outer;
}
