/* bf16 tiles with f32 sums by oneDNN. Every thread keeps the primitives that it used last, so that
   looking one up takes no lock. Within a parallel region, or with one thread set, oneDNN starts no
   threads of its own. */
#include "autograd/cpu/dispatch.h"
#include "autograd/cpu/product.h"
#include "base/buf.h"
#include <dnnl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(call)                                                                                 \
    do {                                                                                           \
        dnnl_status_t status_ = (call);                                                            \
        QP_ASSERT(status_ == dnnl_success, "oneDNN: %s: status %d", #call, (int)status_);          \
    } while (0)

/* What a primitive depends on: everything but the addresses. */
typedef struct {
    int64_t rows, cols, depth, lda, ldb, ldc;
    int64_t ta, tb, add;
} shape;

typedef struct {
    shape key;
    dnnl_primitive_t primitive;
    dnnl_memory_t a, b, c, scratch;
    void *own;     /* scratch, where QP_PACK_BYTES are too few */
    uint64_t used; /* when, counted in products */
} entry;

/* A shape belongs to one set, in which the entry that was used longest ago makes way. Weight
   gradients have another depth with every packed length: without an end a run would keep them all.
   A step of one length has a hundred shapes or so. */
enum { SETS = QP_DNNL_KEPT / 8, WAYS = 8 };
typedef struct {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    entry (*set)[WAYS];
    uint64_t now;
} cache;

/* oneDNN 3 made the memory descriptor a handle and dropped the operation descriptor. */
#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t desc;
static void desc_init(desc *d, const dnnl_dims_t dims, dnnl_data_type_t type,
                      const dnnl_dims_t strides)
{
    MUST(dnnl_memory_desc_create_with_strides(d, 2, dims, type, strides));
}
static void desc_release(desc *d) { MUST(dnnl_memory_desc_destroy(*d)); }
static dnnl_memory_t memory_new(const desc *d, dnnl_engine_t engine)
{
    dnnl_memory_t m;
    MUST(dnnl_memory_create(&m, *d, engine, DNNL_MEMORY_NONE));
    return m;
}
static dnnl_primitive_desc_t matmul_new(dnnl_engine_t engine, const desc *a, const desc *b,
                                        const desc *c, dnnl_primitive_attr_t attr)
{
    dnnl_primitive_desc_t pd = NULL;
    return dnnl_matmul_primitive_desc_create(&pd, engine, *a, *b, NULL, *c, attr) ? NULL : pd;
}
static desc scratch_desc(dnnl_primitive_desc_t pd)
{
    return (desc)dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
}
static size_t desc_bytes(const desc *d) { return dnnl_memory_desc_get_size(*d); }
static dnnl_status_t append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1, 0, dnnl_data_type_undef);
}
#else
typedef dnnl_memory_desc_t desc;
static void desc_init(desc *d, const dnnl_dims_t dims, dnnl_data_type_t type,
                      const dnnl_dims_t strides)
{
    MUST(dnnl_memory_desc_init_by_strides(d, 2, dims, type, strides));
}
static void desc_release(desc *d) { (void)d; }
static dnnl_memory_t memory_new(const desc *d, dnnl_engine_t engine)
{
    dnnl_memory_t m;
    MUST(dnnl_memory_create(&m, d, engine, DNNL_MEMORY_NONE));
    return m;
}
static dnnl_primitive_desc_t matmul_new(dnnl_engine_t engine, const desc *a, const desc *b,
                                        const desc *c, dnnl_primitive_attr_t attr)
{
    dnnl_matmul_desc_t d;
    MUST(dnnl_matmul_desc_init(&d, a, b, NULL, c));
    dnnl_primitive_desc_t pd = NULL;
    return dnnl_primitive_desc_create(&pd, &d, attr, engine, NULL) ? NULL : pd;
}
static desc scratch_desc(dnnl_primitive_desc_t pd)
{
    return *dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
}
static size_t desc_bytes(const desc *d) { return dnnl_memory_desc_get_size(d); }
static dnnl_status_t append_sum(dnnl_post_ops_t ops) { return dnnl_post_ops_append_sum(ops, 1); }
#endif

static desc matrix(int64_t rows, int64_t cols, int64_t ld, bool transposed, dnnl_data_type_t type)
{
    desc d;
    dnnl_dims_t dims = { rows, cols }, plain = { ld, 1 }, turned = { 1, ld };
    desc_init(&d, dims, type, transposed ? turned : plain);
    return d;
}

static dnnl_primitive_attr_t attributes(bool add)
{
    dnnl_primitive_attr_t attr;
    MUST(dnnl_primitive_attr_create(&attr));
    MUST(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user));
    if (add) {
        dnnl_post_ops_t ops;
        MUST(dnnl_post_ops_create(&ops));
        MUST(append_sum(ops));
        MUST(dnnl_primitive_attr_set_post_ops(attr, ops));
        MUST(dnnl_post_ops_destroy(ops));
    }
    return attr;
}

static void make(entry *e, const shape *s, dnnl_engine_t engine)
{
    desc a = matrix(s->rows, s->depth, s->lda, s->ta, dnnl_bf16);
    desc b = matrix(s->depth, s->cols, s->ldb, s->tb, dnnl_bf16);
    desc c = matrix(s->rows, s->cols, s->ldc, false, dnnl_f32);
    dnnl_primitive_attr_t attr = attributes(s->add);
    dnnl_primitive_desc_t pd = matmul_new(engine, &a, &b, &c, attr);
    QP_ASSERT(pd, "oneDNN has no bf16 product of %ld x %ld x %ld", (long)s->rows, (long)s->cols,
              (long)s->depth);
    e->key = *s;
    MUST(dnnl_primitive_create(&e->primitive, pd));
    desc work = scratch_desc(pd);
    size_t bytes = (desc_bytes(&work) + 63) / 64 * 64;
    e->own = bytes > QP_PACK_BYTES ? qp_xaligned(64, bytes) : NULL;
    e->a = memory_new(&a, engine);
    e->b = memory_new(&b, engine);
    e->c = memory_new(&c, engine);
    e->scratch = memory_new(&work, engine);
    MUST(dnnl_primitive_desc_destroy(pd));
    MUST(dnnl_primitive_attr_destroy(attr));
    desc_release(&a);
    desc_release(&b);
    desc_release(&c);
}

static size_t hash(const shape *s)
{
    const int64_t *v = (const int64_t *)s;
    uint64_t h = 0;
    for (size_t i = 0; i < sizeof *s / sizeof *v; i++)
        h = (h ^ (uint64_t)v[i]) * 0x9e3779b97f4a7c15;
    return (size_t)(h >> 32);
}

static void drop(entry *e)
{
    if (!e->primitive) return;
    dnnl_memory_t memory[] = { e->a, e->b, e->c, e->scratch };
    for (int k = 0; k < 4; k++) MUST(dnnl_memory_destroy(memory[k]));
    MUST(dnnl_primitive_destroy(e->primitive));
    free(e->own);
    *e = (entry){ 0 };
}

/* A thread that ends takes what it kept along. */
static void cache_release(void *arg)
{
    cache *c = arg;
    for (int i = 0; i < SETS * WAYS; i++) drop(&c->set[i / WAYS][i % WAYS]);
    free(c->set);
    MUST(dnnl_stream_destroy(c->stream));
    MUST(dnnl_engine_destroy(c->engine));
    *c = (cache){ 0 };
}

static pthread_key_t thread_end;
static void make_key(void)
{
    int failed = pthread_key_create(&thread_end, cache_release);
    QP_ASSERT(!failed, "no room for a thread's own products: error %d", failed);
}

static void begin(cache *c)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_key);
    pthread_setspecific(thread_end, c);
    c->set = qp_xcalloc(SETS, sizeof *c->set);
    MUST(dnnl_engine_create(&c->engine, dnnl_cpu, 0));
    MUST(dnnl_stream_create(&c->stream, c->engine, dnnl_stream_default_flags));
}

static entry *find(cache *c, const shape *s)
{
    if (!c->engine) begin(c);
    entry *set = c->set[hash(s) % SETS], *oldest = set, *e = set;
    for (; e < set + WAYS && memcmp(&e->key, s, sizeof *s) != 0; e++)
        if (e->used < oldest->used) oldest = e;
    if (e == set + WAYS) {
        e = oldest;
        drop(e);
        make(e, s, c->engine);
    }
    e->used = ++c->now;
    return e;
}

static _Thread_local cache own;

int qp_dnnl_kept(void)
{
    int n = 0;
    for (int i = 0; own.set && i < SETS * WAYS; i++) n += own.set[i / WAYS][i % WAYS].used > 0;
    return n;
}

static void multiply(const qp_tile *t)
{
    shape s = { t->rows, t->cols, t->depth, t->lda, t->ldb, t->ldc, t->ta, t->tb, t->add };
    entry *e = find(&own, &s);
    MUST(dnnl_memory_set_data_handle(e->a, (void *)t->a));
    MUST(dnnl_memory_set_data_handle(e->b, (void *)t->b));
    MUST(dnnl_memory_set_data_handle(e->c, t->c));
    MUST(dnnl_memory_set_data_handle(e->scratch, e->own ? e->own : t->work));
    dnnl_exec_arg_t args[] = { { DNNL_ARG_SRC, e->a },
                               { DNNL_ARG_WEIGHTS, e->b },
                               { DNNL_ARG_DST, e->c },
                               { DNNL_ARG_SCRATCHPAD, e->scratch } };
    MUST(dnnl_primitive_execute(e->primitive, own.stream, 4, args));
    MUST(dnnl_stream_wait(own.stream));
}

/* Few row counts, because each is a primitive of its own (0.2 ms to make). avx512_bf16 gives a row
   the same bits whatever the count, measured on 1..96. */
static int64_t tile_rows(int64_t left, int64_t cols, int64_t depth)
{
    (void)cols, (void)depth;
    static const int64_t size[] = { 192, 96, 48, 24, 12, 6, 3, 2, 1 };
    int i = left >= 48 ? 0 : 8;
    if (left >= 48)
        while (size[i] > left) i++;
    else
        while (size[i] < left) i--;
    return size[i];
}

static int64_t constant_rows(int64_t left, int64_t cols, int64_t depth)
{
    (void)left, (void)cols, (void)depth;
    return QP_TILE_ROWS;
}

static bool has(dnnl_cpu_isa_t isa) { return (dnnl_get_effective_cpu_isa() & isa) == isa; }

bool qp_dnnl_has_amx(void) { return has(dnnl_cpu_isa_avx512_core_amx); }

/* Its fast product takes dense matrices only; any stride falls to one of 60 % of its speed. */
#define PRODUCT(title, choice)                                                                     \
    {                                                                                              \
        .name = title, .in = QP_BF16, .out = QP_F32, .rows = 384, .unit = QP_TILE_ROWS,            \
        .cols = 256, .depth = 2048, .dense = true, .tile_rows = choice, .multiply = multiply       \
    }

const qp_product *qp_dnnl_bf16(bool constant)
{
    static const qp_product p[2][2] = {
        { PRODUCT("onednn avx512_bf16", tile_rows),
          PRODUCT("onednn avx512_bf16, constant rows", constant_rows) },
        { PRODUCT("onednn amx_bf16", tile_rows),
          PRODUCT("onednn amx_bf16, constant rows", constant_rows) }
    };
    return has(dnnl_cpu_isa_avx512_core_bf16) ? &p[qp_dnnl_has_amx()][constant] : NULL;
}

char *qp_dnnl_version(void)
{
    const dnnl_version_t *v = dnnl_version();
    return qp_xformat("%d.%d.%d", v->major, v->minor, v->patch);
}
