/* A step's memory: one reserved range, bumped forward, given back in scopes (last opened, first
   closed). Blocks are 64-byte aligned and uninitialised. Nothing is freed one by one;
   qp_arena_recycle lets the rest of the same scope reuse a block of the same size. Pages are
   touched only when used and never given back before qp_arena_release. Not thread-safe: one arena
   belongs to one tape. */
#ifndef QP_BASE_ARENA_H
#define QP_BASE_ARENA_H
#include "base/err.h"
QP_C_BEGIN

enum { QP_ARENA_BINS = 64 };
typedef struct qp_scope {
    struct qp_scope *outer;
    size_t start, live;
    struct {
        size_t size;
        void *head; /* recycled blocks of that size */
    } bin[QP_ARENA_BINS];
    void *rest; /* recycled blocks of more sizes than there are bins */
} qp_scope;

typedef struct {
    char *base;
    size_t cap, used, peak; /* bytes */
    size_t live;            /* in blocks handed out and not recycled */
    size_t live_most;       /* its largest value since someone wrote here */
    qp_scope *scope;
    qp_scope root;
    const void *tape; /* where a pointer is to a block that no scope may close over; or NULL */
} qp_arena;

/* The arena must not move in memory after qp_arena_init: scopes point into it. */
qp_status qp_arena_init(qp_arena *a, size_t budget_bytes, qp_err *err) QP_MUST_CHECK;
void qp_arena_release(qp_arena *a);
/* For one that is counted in, not filled: a touch of each block then costs a small page. */
void qp_arena_small_pages(qp_arena *a);
void qp_arena_reset(qp_arena *a); /* every scope closed, every block given back; the peak stays */
void *qp_arena_alloc(qp_arena *a, size_t bytes); /* fatal (71) when over budget; size 0 is legal */
void qp_arena_recycle(qp_arena *a, void *p,
                      size_t bytes); /* NULL and outer scopes' blocks: no-op */
void qp_scope_open(qp_arena *a, qp_scope *s);
void qp_scope_close(qp_arena *a, qp_scope *s);
QP_C_END
#endif
