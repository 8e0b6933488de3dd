#include "autograd/work.h"
#include "tests/suites.h"
#include "tests/support/gradcheck.h"
#include <math.h>
#include <omp.h>
#include <string.h>

/* Attention over given rows: inputs are copied from arrays of one type, results are the context's.
 */
typedef struct {
    qp_storage type;
    int64_t n, m, h, g, e;
    const int32_t *first, *last;
    const char *q, *k, *v, *dy;
} task;
typedef struct {
    char *y, *dq, *dk, *dv;
} result;

static qp_tensor *leaf(qp_ctx *c, qp_storage type, int64_t rows, int64_t cols, const char *data)
{
    qp_tensor *t = qp_new(c, type, 2, (int64_t[]){ rows, cols });
    memcpy(t->data, data, qp_value_bytes(t));
    t->needs_grad = true;
    return t;
}

static result run(qp_ctx *c, const task *t)
{
    qp_tensor *q = leaf(c, t->type, t->n, t->h * t->e, t->q),
              *k = leaf(c, t->type, t->m, t->g * t->e, t->k),
              *v = leaf(c, t->type, t->m, t->g * t->e, t->v);
    c->recording = t->dy != NULL;
    qp_tensor *y = qp_attention(c, q, k, v, (qp_span){ t->first, t->last }, t->h, t->g);
    result r = { .y = qp_arena_alloc(&c->arena, qp_value_bytes(y)) };
    memcpy(r.y, y->data, qp_value_bytes(y)); /* backward gives y's own memory back */
    if (t->dy) qp_backward_from(c, y, t->dy);
    r.dq = q->grad, r.dk = k->grad, r.dv = v->grad;
    return r;
}

static char *normals(qp_ctx *c, qp_storage type, int64_t rows, int64_t cols, uint64_t seed)
{
    return test_leaf(c, type, 2, (int64_t[]){ rows, cols }, seed)->data;
}

static task random_task(qp_ctx *c, qp_storage type, int64_t n, int64_t m, int64_t h, int64_t g,
                        int64_t e, const int32_t *first, const int32_t *last)
{
    return (task){ type,
                   n,
                   m,
                   h,
                   g,
                   e,
                   first,
                   last,
                   normals(c, type, n, h * e, 1),
                   normals(c, type, m, g * e, 2),
                   normals(c, type, m, g * e, 3),
                   normals(c, type, n, h * e, 4) };
}

/* The task's rows from row0 on, seeing keys from key0 on as if nothing else were there. */
static task part(qp_ctx *c, const task *t, int64_t row0, int64_t n, int64_t key0, int64_t m)
{
    const size_t q = qp_storage_bytes(t->type, t->h * t->e),
                 k = qp_storage_bytes(t->type, t->g * t->e);
    int32_t *first = qp_arena_alloc(&c->arena, (size_t)n * sizeof *first),
            *last = qp_arena_alloc(&c->arena, (size_t)n * sizeof *last);
    for (int64_t i = 0; i < n; i++) {
        first[i] = t->first[row0 + i] - (int32_t)key0;
        last[i] = t->last[row0 + i] - (int32_t)key0;
    }
    task p = *t;
    p.n = n, p.m = m, p.first = first, p.last = last;
    p.q += row0 * q, p.k += key0 * k, p.v += key0 * k;
    if (p.dy) p.dy += row0 * q;
    return p;
}

static void ck_same(const char *what, const char *a, const char *b, size_t bytes)
{
    ck_assert_msg(memcmp(a, b, bytes) == 0, "%s differs", what);
}

static const int documents[] = { 1, 2, 63, 64, 65, 130, 300 };
enum { DOCUMENTS = sizeof documents / sizeof *documents, ROWS = 625 };

/* Spans of causal documents one after the other. */
static void pack(int32_t *first, int32_t *last)
{
    for (int32_t d = 0, i = 0, start = 0; d < DOCUMENTS; start += documents[d++])
        for (; i < start + documents[d]; i++) first[i] = start, last[i] = i;
}

static const int64_t head_sizes[] = { 3, 20, 64, 65 };
enum { HEAD_SIZES = sizeof head_sizes / sizeof *head_sizes };

enum { MOST = 72 };
static int32_t some_first[MOST], some_last[MOST];
static int64_t some_heads = 4;
static qp_tensor *op(qp_ctx *c, qp_tensor **in)
{
    return qp_attention(c, in[0], in[1], in[2], (qp_span){ some_first, some_last }, some_heads,
                        some_heads / 2);
}

static double check_gradient(int64_t n, int64_t m)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[] = { test_leaf(&c, QP_F64, 2, (int64_t[]){ n, some_heads * 3 }, 1),
                        test_leaf(&c, QP_F64, 2, (int64_t[]){ m, some_heads / 2 * 3 }, 2),
                        test_leaf(&c, QP_F64, 2, (int64_t[]){ m, some_heads / 2 * 3 }, 3) };
    double worst = gradcheck(&c, op, 3, in);
    qp_ctx_release(&c);
    return worst;
}

START_TEST(gradient_matches_differences_over_packed_documents)
{
    for (int i = 0; i < 20; i++) some_first[i] = i < 5 ? 0 : 5, some_last[i] = i;
    ck_assert_double_lt(check_gradient(20, 20), 1e-9);
    some_heads = 2; /* over more than one tile of keys */
    for (int i = 0; i < 68; i++) some_first[i] = i < 2 ? 0 : 2, some_last[i] = i;
    ck_assert_double_lt(check_gradient(68, 68), 1e-9);
}
END_TEST

START_TEST(gradient_matches_differences_with_more_keys_than_queries)
{
    for (int i = 0; i < 5; i++) some_first[i] = 0, some_last[i] = i + 66;
    ck_assert_double_lt(check_gradient(5, 73), 1e-9);
}
END_TEST

/* Windows, overlaps, documents in any order, keys that nobody sees. */
START_TEST(gradient_matches_differences_over_any_spans)
{
    for (int i = 0; i < 20; i++) some_first[i] = i > 4 ? i - 4 : 0, some_last[i] = i;
    ck_assert_double_lt(check_gradient(20, 22), 1e-9);
    for (int i = 0; i < 20; i++) {
        some_first[i] = (i * 7) % 19;
        some_last[i] = some_first[i] + (i * 5) % (22 - some_first[i]);
    }
    ck_assert_double_lt(check_gradient(20, 22), 1e-9);
    for (int i = 0; i < 20; i++) some_first[i] = i < 10 ? 10 : 0, some_last[i] = some_first[i] + 9;
    ck_assert_double_lt(check_gradient(20, 22), 1e-9);
}
END_TEST

/* The same values in f64. */
static task widened(qp_ctx *c, const task *t)
{
    const int64_t q = t->n * t->h * t->e, k = t->m * t->g * t->e;
    task wide = *t;
    const char **from[] = { &wide.q, &wide.dy, &wide.k, &wide.v };
    wide.type = QP_F64;
    for (int i = 0; i < 4; i++) {
        const int64_t n = i < 2 ? q : k;
        double *to = qp_arena_alloc(&c->arena, (size_t)n * sizeof *to);
        for (int64_t j = 0; j < n; j++) to[j] = test_get(*from[i], t->type, j);
        *from[i] = (const char *)to;
    }
    return wide;
}

/* f32 sums of up to 300 keys and 900 rows; bf16 results are rounded to 1/256 and dq, dk depend on y
   through delta. */
START_TEST(every_build_agrees_with_f64)
{
    static const double tolerance[] = { 1e-14, 3e-6, 8e-3 };
    qp_storage type;
    if (!test_build(_i, &type)) return;
    int32_t first[ROWS], last[ROWS];
    pack(first, last);
    for (int s = 0; s < HEAD_SIZES; s++) {
        qp_ctx c;
        test_ctx(&c, NULL);
        const int64_t e = head_sizes[s], q = ROWS * 6 * e, k = ROWS * 2 * e;
        const task t = random_task(&c, type, ROWS, ROWS, 6, 2, e, first, last), w = widened(&c, &t);
        const result got = run(&c, &t), exact = run(&c, &w);
        ck_assert_double_lt(test_difference(got.y, type, exact.y, QP_F64, q), tolerance[type]);
        ck_assert_double_lt(test_difference(got.dq, type, exact.dq, QP_F64, q), tolerance[type]);
        ck_assert_double_lt(test_difference(got.dk, type, exact.dk, QP_F64, k), tolerance[type]);
        ck_assert_double_lt(test_difference(got.dv, type, exact.dv, QP_F64, k), tolerance[type]);
        qp_ctx_release(&c);
    }
}
END_TEST

START_TEST(packed_documents_equal_each_alone)
{
    qp_storage type;
    if (!test_build(_i, &type)) return;
    int32_t first[ROWS], last[ROWS];
    pack(first, last);
    for (int s = 0; s < HEAD_SIZES; s++) {
        qp_ctx c;
        test_ctx(&c, NULL);
        const int64_t e = head_sizes[s];
        const task all = random_task(&c, type, ROWS, ROWS, 6, 2, e, first, last);
        const result packed = run(&c, &all);
        const size_t q = qp_storage_bytes(type, 6 * e), k = qp_storage_bytes(type, 2 * e);
        for (int64_t d = 0, at = 0; d < DOCUMENTS; at += documents[d++]) {
            const int64_t n = documents[d];
            const task one = part(&c, &all, at, n, at, n);
            const result alone = run(&c, &one);
            ck_same("y", packed.y + at * q, alone.y, n * q);
            ck_same("dq", packed.dq + at * q, alone.dq, n * q);
            ck_same("dk", packed.dk + at * k, alone.dk, n * k);
            ck_same("dv", packed.dv + at * k, alone.dv, n * k);
        }
        qp_ctx_release(&c);
    }
}
END_TEST

/* A document long enough for its dk and dv to be sums of several slices, between two others. */
START_TEST(a_sliced_document_has_its_bits_in_any_company_and_with_any_threads)
{
    enum { BEFORE = 37, N = 530, ALL = BEFORE + N + 70, E = 5 };
    qp_storage type;
    if (!test_build(_i, &type)) return;
    int32_t first[ALL], last[ALL];
    for (int32_t i = 0; i < ALL; i++) {
        first[i] = i < BEFORE ? 0 : i < BEFORE + N ? BEFORE : BEFORE + N;
        last[i] = i;
    }
    qp_ctx c;
    test_ctx(&c, NULL);
    const task all = random_task(&c, type, ALL, ALL, 4, 2, E, first, last),
               one = part(&c, &all, BEFORE, N, BEFORE, N);
    const size_t q = qp_storage_bytes(type, 4 * E), k = qp_storage_bytes(type, 2 * E);
    omp_set_num_threads(1);
    const result alone = run(&c, &one);
    for (int threads = 1; threads <= 3; threads++) {
        omp_set_num_threads(threads);
        const result packed = run(&c, &all);
        ck_same("y", packed.y + BEFORE * q, alone.y, N * q);
        ck_same("dq", packed.dq + BEFORE * q, alone.dq, N * q);
        ck_same("dk", packed.dk + BEFORE * k, alone.dk, N * k);
        ck_same("dv", packed.dv + BEFORE * k, alone.dv, N * k);
    }
    qp_ctx_release(&c);
}
END_TEST

/* More heads share a key head than a tile has rows. */
START_TEST(each_head_equals_itself_alone)
{
    enum { N = 70, H = 150, E = 20 };
    qp_storage type;
    if (!test_build(_i, &type)) return;
    int32_t first[N] = { 0 }, last[N];
    for (int32_t i = 0; i < N; i++) last[i] = i;
    qp_ctx c;
    test_ctx(&c, NULL);
    task all = random_task(&c, type, N, N, H, 1, E, first, last);
    all.dy = NULL;
    const char *y = run(&c, &all).y;
    const size_t head = qp_storage_bytes(type, E);
    char *q = qp_arena_alloc(&c.arena, N * head), *expected = qp_arena_alloc(&c.arena, N * head);
    task one = all;
    one.h = 1, one.q = q;
    for (int h = 0; h < H; h += 37) {
        for (int i = 0; i < N; i++) {
            memcpy(q + i * head, all.q + (i * H + h) * head, head);
            memcpy(expected + i * head, y + (i * H + h) * head, head);
        }
        ck_same("a head", expected, run(&c, &one).y, N * head);
    }
    qp_ctx_release(&c);
}
END_TEST

/* Rows one at a time, and in pieces of 50, against all rows in one pass. */
START_TEST(decoding_from_a_cache_equals_one_pass)
{
    enum { N = 150 };
    qp_storage type;
    if (!test_build(_i, &type)) return;
    int32_t first[N] = { 0 }, last[N];
    for (int32_t i = 0; i < N; i++) last[i] = i;
    for (int s = 0; s < HEAD_SIZES; s++) {
        qp_ctx c;
        test_ctx(&c, NULL);
        const int64_t e = head_sizes[s];
        task all = random_task(&c, type, N, N, 4, 2, e, first, last);
        all.dy = NULL;
        const char *y = run(&c, &all).y;
        const size_t q = qp_storage_bytes(type, 4 * e);
        for (int64_t at = 0; at < N; at++) {
            const task one = part(&c, &all, at, 1, 0, N);
            ck_same("a row", y + at * q, run(&c, &one).y, q);
        }
        for (int64_t at = 0; at < N; at += 50) {
            const task piece = part(&c, &all, at, 50, 0, N);
            ck_same("a piece", y + at * q, run(&c, &piece).y, 50 * q);
        }
        qp_ctx_release(&c);
    }
}
END_TEST

/* Up to eight rows take a way of their own where the CPU has AVX-512: one to three queries of heads
   that share a key head alone, with two, three or seven others, in documents about as long as tiles
   of keys, two of which a piece may touch. */
START_TEST(few_queries_have_the_bits_of_many)
{
    enum { G = 2, N = 195 };
    static const int64_t reps[] = { 1, 3, 4, 8 }, sizes[] = { 20, 64, 96, 3 };
    qp_storage type;
    if (!test_build(_i, &type)) return;
    int32_t first[ROWS], last[ROWS];
    pack(first, last);
    for (int64_t i = 0; i < 16; i++) {
        qp_ctx c;
        test_ctx(&c, NULL);
        const int64_t h = reps[i / 4] * G, e = sizes[i % 4];
        task all = random_task(&c, type, N, N, h, G, e, first, last);
        all.dy = NULL;
        const char *y = run(&c, &all).y;
        const size_t q = qp_storage_bytes(type, h * e);
        for (int64_t n = 1; n <= 3; n++)
            for (int64_t at = 0; at + n <= N; at += n) {
                qp_scope scope;
                qp_scope_open(&c.arena, &scope);
                const int64_t key0 = first[at], m = last[at + n - 1] + 1 - key0;
                const task few = part(&c, &all, at, n, key0, m);
                ck_assert_msg(!memcmp(y + at * q, run(&c, &few).y, n * q),
                              "%lld rows from %lld of %lld heads of %lld", (long long)n,
                              (long long)at, (long long)h, (long long)e);
                qp_scope_close(&c.arena, &scope);
            }
        qp_ctx_release(&c);
    }
}
END_TEST

/* A long document's dk and dv are sums of several slices of its queries; here each is run alone. */
START_TEST(gradients_of_keys_add_up_over_pieces_of_queries)
{
    enum { N = 600, PIECE = 100, G = 2, E = 3, KV = N * G * E };
    int32_t first[N] = { 0 }, last[N];
    for (int32_t i = 0; i < N; i++) last[i] = i;
    qp_ctx c;
    test_ctx(&c, NULL);
    const task all = random_task(&c, QP_F64, N, N, 4, G, E, first, last);
    const result whole = run(&c, &all);
    double dk[KV] = { 0 }, dv[KV] = { 0 };
    for (int at = 0; at < N; at += PIECE) {
        const task some = part(&c, &all, at, PIECE, 0, N);
        const result r = run(&c, &some);
        for (int i = 0; i < KV; i++) {
            dk[i] += test_get(r.dk, QP_F64, i);
            dv[i] += test_get(r.dv, QP_F64, i);
        }
    }
    ck_assert_double_lt(test_difference(whole.dk, QP_F64, dk, QP_F64, KV), 1e-13);
    ck_assert_double_lt(test_difference(whole.dv, QP_F64, dv, QP_F64, KV), 1e-13);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(thread_count_does_not_change_a_bit)
{
    qp_storage type;
    if (!test_build(_i, &type)) return;
    int32_t first[ROWS], last[ROWS];
    pack(first, last);
    qp_ctx c;
    test_ctx(&c, NULL);
    const task t = random_task(&c, type, ROWS, ROWS, 4, 2, 20, first, last);
    const size_t q = qp_storage_bytes(type, ROWS * 4 * 20), k = q / 2;
    result r[3];
    for (int i = 0; i < 3; i++) {
        omp_set_num_threads(i + 1);
        r[i] = run(&c, &t);
        ck_same("y", r[0].y, r[i].y, q);
        ck_same("dq", r[0].dq, r[i].dq, q);
        ck_same("dk", r[0].dk, r[i].dk, k);
        ck_same("dv", r[0].dv, r[i].dv, k);
    }
    qp_ctx_release(&c);
}
END_TEST

/* Row 40's results when all later keys and values are NaN: its own forward and dq must not notice,
   though its neighbours in the tile see them. */
START_TEST(keys_that_a_row_does_not_see_may_be_anything)
{
    enum { N = 80, AT = 40, H = 4, G = 2, E = 20 };
    qp_storage type;
    if (!test_build(_i, &type)) return;
    int32_t first[N] = { 0 }, last[N];
    for (int32_t i = 0; i < N; i++) last[i] = i;
    qp_ctx c;
    test_ctx(&c, NULL);
    const task t = random_task(&c, type, N, N, H, G, E, first, last);
    const result sound = run(&c, &t);
    for (int64_t i = (AT + 1) * G * E; i < N * G * E; i++) {
        test_set((void *)t.k, type, i, NAN);
        test_set((void *)t.v, type, i, i % 2 ? NAN : INFINITY);
    }
    const result poisoned = run(&c, &t);
    const size_t bytes = qp_storage_bytes(type, (AT + 1) * H * E);
    ck_same("y", sound.y, poisoned.y, bytes);
    ck_same("dq", sound.dq, poisoned.dq, bytes);
    ck_assert(isnan(test_get(poisoned.y, type, N * H * E - 1)));
    qp_ctx_release(&c);
}
END_TEST

/* Largest |a - base - b|. One assertion for many values: each writes to a file. */
static double off(const float *a, double base, const float *b, int64_t n)
{
    double worst = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs(a[i] - (base + (b ? b[i] : 0)));
        if (!(d <= worst)) worst = isnan(d) ? INFINITY : d;
    }
    return worst;
}

/* The kernel itself: which gradients are wanted changes none of them; beta 1 adds, beta 0 does not
   read; keys that nobody sees get 0; nothing is written behind the work area. */
START_TEST(gradients_are_independent_and_obey_beta)
{
    enum { N = 70, M = 75, H = 4, G = 2, E = 5, Q = N * H * E, KV = M * G * E, SEEN = N * G * E };
    int32_t first[N] = { 0 }, last[N];
    for (int32_t i = 0; i < N; i++) last[i] = i;
    qp_ctx c;
    test_ctx(&c, NULL);
    const task t = random_task(&c, QP_F32, N, M, H, G, E, first, last);
    const qp_kernels *k = c.be->k[QP_F32];
    const size_t fwd = qp_attn_fwd_work(QP_F32, N, M, H, G, E),
                 bwd = qp_attn_bwd_work(QP_F32, N, M, H, G, E);
    unsigned char *work = qp_arena_alloc(&c.arena, fwd + bwd + 64);
    float y[Q], lse[N * H], dq[Q], dk[KV], dv[KV], q1[Q], k1[KV], v1[KV];
    memset(work, 0xff, fwd + bwd + 64); /* NaN */
    memset(dq, 0xff, sizeof dq), memset(dk, 0xff, sizeof dk), memset(dv, 0xff, sizeof dv);
    for (int i = 0; i < Q; i++) q1[i] = 1;
    for (int i = 0; i < KV; i++) k1[i] = v1[i] = 1;
    k->attn_fwd(y, lse, work, t.q, t.k, t.v, first, last, N, M, H, G, E);
    ck_assert(work[fwd] == 0xff && memcmp(work + fwd, work + fwd + 1, bwd + 63) == 0);
    memset(work, 0xff, fwd);
#define BACK(dq, bq, dk, bk, dv, bv)                                                               \
    k->attn_bwd(dq, bq, dk, bk, dv, bv, work, t.dy, y, lse, t.q, t.k, t.v, first, last, N, M, H,   \
                G, E)
    BACK(dq, 0, dk, 0, dv, 0);
    ck_assert(work[bwd] == 0xff && memcmp(work + bwd, work + bwd + 1, fwd + 63) == 0);
    ck_assert(off(dk + SEEN, 0, NULL, KV - SEEN) == 0 && off(dv + SEEN, 0, NULL, KV - SEEN) == 0);
    BACK(q1, 1, NULL, 0, NULL, 0);
    BACK(NULL, 0, k1, 1, NULL, 0);
    BACK(NULL, 0, NULL, 0, v1, 1);
#undef BACK
    /* Values below 8, whose sum is rounded once to f32. */
    ck_assert_double_lt(off(q1, 1, dq, Q), 4e-7);
    ck_assert_double_lt(off(k1, 1, dk, KV), 4e-7);
    ck_assert_double_lt(off(v1, 1, dv, KV), 4e-7);
    qp_ctx_release(&c);
}
END_TEST

/* Shapes that fill the scratch in different ways: heads of any size, more heads than rows of a
   tile, one query, slices; every thread with its own. */
START_TEST(nothing_is_written_behind_the_work_area)
{
    static const int64_t shapes[][4] = { { 1, 6, 2, 64 },  { 70, 4, 2, 5 },    { 33, 150, 1, 1 },
                                         { 40, 9, 3, 16 }, { 65, 300, 2, 17 }, { 600, 4, 4, 3 },
                                         { 513, 3, 1, 31 } };
    enum { GUARD = 256 };
    qp_storage type;
    if (!test_build(_i, &type)) return;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        const int64_t n = shapes[s][0], h = shapes[s][1], g = shapes[s][2], e = shapes[s][3];
        int32_t first[600] = { 0 }, last[600];
        for (int32_t i = 0; i < n; i++) last[i] = i;
        qp_ctx c;
        test_ctx(&c, NULL);
        omp_set_num_threads(3);
        const task t = random_task(&c, type, n, n, h, g, e, first, last);
        const size_t work[] = { qp_attn_fwd_work(type, n, n, h, g, e),
                                qp_attn_bwd_work(type, n, n, h, g, e) };
        void *y = normals(&c, type, n, h * e, 5), *dq = normals(&c, type, n, h * e, 5);
        void *dk = normals(&c, type, n, g * e, 5), *dv = normals(&c, type, n, g * e, 5);
        void *lse = qp_arena_alloc(&c.arena, (size_t)(n * h) * sizeof(double));
        for (int back = 0; back < 2; back++) {
            unsigned char *area = qp_arena_alloc(&c.arena, work[back] + GUARD);
            memset(area, 0xff, work[back] + GUARD);
            if (back)
                c.be->k[type]->attn_bwd(dq, 0, dk, 0, dv, 0, area, t.dy, y, lse, t.q, t.k, t.v,
                                        first, last, n, n, h, g, e);
            else
                c.be->k[type]->attn_fwd(y, lse, area, t.q, t.k, t.v, first, last, n, n, h, g, e);
            for (int i = 0; i < GUARD; i++)
                ck_assert_msg(area[work[back] + (size_t)i] == 0xff, "shape %d, %s: byte %d", (int)s,
                              back ? "backward" : "forward", i);
        }
        qp_ctx_release(&c);
    }
}
END_TEST

Suite *suite_attention(void)
{
    Suite *s = suite_create("attention");
    TCase *t = tcase_create("attention");
    tcase_set_timeout(t, 30); /* seconds of a machine that does other things too */
    tcase_add_test(t, gradient_matches_differences_over_packed_documents);
    tcase_add_test(t, gradient_matches_differences_with_more_keys_than_queries);
    tcase_add_test(t, gradient_matches_differences_over_any_spans);
    tcase_add_loop_test(t, every_build_agrees_with_f64, 0, TEST_BUILDS);
    tcase_add_loop_test(t, packed_documents_equal_each_alone, 0, TEST_BUILDS);
    tcase_add_loop_test(t, a_sliced_document_has_its_bits_in_any_company_and_with_any_threads, 0,
                        TEST_BUILDS);
    tcase_add_loop_test(t, each_head_equals_itself_alone, 0, TEST_BUILDS);
    tcase_add_loop_test(t, decoding_from_a_cache_equals_one_pass, 0, TEST_BUILDS);
    tcase_add_loop_test(t, few_queries_have_the_bits_of_many, 0, TEST_BUILDS);
    tcase_add_test(t, gradients_of_keys_add_up_over_pieces_of_queries);
    tcase_add_loop_test(t, thread_count_does_not_change_a_bit, 0, TEST_BUILDS);
    tcase_add_loop_test(t, keys_that_a_row_does_not_see_may_be_anything, 0, TEST_BUILDS);
    tcase_add_test(t, gradients_are_independent_and_obey_beta);
    tcase_add_loop_test(t, nothing_is_written_behind_the_work_area, 0, TEST_BUILDS);
    suite_add_tcase(s, t);
    return s;
}
