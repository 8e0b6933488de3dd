/* The start-up self-test of a product: libraries differ by version and CPU, and some have been
   wrong. A few milliseconds; a product that fails is not used. */
#include "autograd/cpu/product.h"
#include "autograd/cpu/quant.h"
#include "base/err.h"
#include "base/rng.h"
#include <math.h>
#include <omp.h>
#include <stdlib.h>

enum { ROWS = 130 };

typedef struct {
    const qp_product *p;
    int64_t cols, depth;
    bool ta, tb;
    char *a, *b, *c, *tile, *turned; /* `turned`: a's rows in reverse order */
    void *work;
} trial;

static void put(void *m, qp_storage s, int64_t i, double v)
{
    if (s == QP_F64)
        ((double *)m)[i] = v;
    else if (s == QP_F32)
        ((float *)m)[i] = (float)v;
    else
        ((uint16_t *)m)[i] = qp_to_bf16((float)v);
}

static double get(const void *m, qp_storage s, int64_t i)
{
    if (s == QP_F64) return ((const double *)m)[i];
    return s == QP_F32 ? (double)((const float *)m)[i]
                       : (double)qp_from_bf16(((const uint16_t *)m)[i]);
}

/* n rows of a into c, in tiles as gemm.c cuts them. */
static void multiply(const trial *t, const char *a, char *c, int64_t n)
{
    size_t in = qp_storage_bytes(t->p->in, t->depth), out = qp_storage_bytes(t->p->out, t->cols);
    for (int64_t i = 0, rows; i < n; i += rows) {
        rows = t->p->tile_rows(n - i, t->cols, t->depth);
        int64_t real = rows < n - i ? rows : n - i;
        memset(t->tile, 0, (size_t)rows * in);
        memcpy(t->tile, a + (size_t)i * in, (size_t)real * in);
        char *sums = t->tile + QP_TILE_ROWS * 2 * in;
        t->p->multiply(&(qp_tile){ .rows = rows,
                                   .cols = t->cols,
                                   .depth = t->depth,
                                   .a = t->tile,
                                   .b = t->b,
                                   .c = sums,
                                   .lda = t->depth,
                                   .ldb = t->tb ? t->depth : t->cols,
                                   .ldc = t->cols,
                                   .tb = t->tb,
                                   .work = t->work });
        memcpy(c + (size_t)i * out, sums, (size_t)real * out);
    }
}

/* All rows at once from A stored (depth, rows), as weight gradients have it, in two parts of the
   depth of which the second is added. */
static void multiply_turned(const trial *t)
{
    const int64_t half = t->depth / 2;
    for (int64_t k = 0; k < t->depth; k = k ? t->depth : half)
        t->p->multiply(&(qp_tile){ .rows = ROWS,
                                   .cols = t->cols,
                                   .depth = k ? t->depth - half : half,
                                   .a = t->a + qp_storage_bytes(t->p->in, k * ROWS),
                                   .b = t->b + qp_storage_bytes(t->p->in, k * t->cols),
                                   .c = t->c,
                                   .lda = ROWS,
                                   .ldb = t->cols,
                                   .ldc = t->cols,
                                   .ta = true,
                                   .add = k > 0,
                                   .work = t->work });
}

/* Any order of sums errs by at most depth * eps * sum |a||b|. */
static bool values_agree(const trial *t)
{
    double eps = t->p->out == QP_F64 ? 0x1p-52 : 0x1p-23;
    for (int64_t i = 0; i < ROWS; i += 43)
        for (int64_t j = 0; j < t->cols; j++) {
            double sum = 0, size = 0;
            for (int64_t k = 0; k < t->depth; k++) {
                double v = get(t->a, t->p->in, t->ta ? k * ROWS + i : i * t->depth + k) *
                           get(t->b, t->p->in, t->tb ? j * t->depth + k : k * t->cols + j);
                sum += v;
                size += fabs(v);
            }
            double error = fabs(get(t->c, t->p->out, i * t->cols + j) - sum);
            if (!(error <= (double)t->depth * eps * size)) return false; /* NaN too */
        }
    return true;
}

static bool rows_agree(const trial *t, char *some)
{
    static const int64_t counts[] = { 1, 2, 3, 4, 7, 12, 13, 25, 47, 64, 97, ROWS };
    size_t out = qp_storage_bytes(t->p->out, t->cols);
    for (size_t s = 0; s < sizeof counts / sizeof *counts; s++) {
        multiply(t, t->turned, some, counts[s]);
        for (int64_t i = 0; i < counts[s]; i++)
            if (memcmp(some + (size_t)i * out, t->c + (size_t)(ROWS - 1 - i) * out, out) != 0)
                return false;
    }
    return true;
}

/* Sums that are stored as they end, as LoRA's are: 0.3 of them, or y and 0.3 of them, in either
   type, at the end of a tile that has a second pair of operands. t->c holds the plain sums, of
   which no chain's order differs; rounding to y errs by half an ulp, and an unfused multiplication
   too. */
static bool ends_agree(const trial *t, char *y)
{
    enum { SOME = 29 }; /* more than two blocks of registers */
    const qp_product *p = t->p;
    const int64_t own = t->depth / 4 * 2, rest = p->chains ? t->depth - own : 0;
    const qp_tile more = { .depth = rest,
                           .a = t->a + qp_storage_bytes(p->in, own),
                           .b = t->b + qp_storage_bytes(p->in, t->tb ? own : own * t->cols),
                           .lda = t->depth,
                           .ldb = t->tb ? t->depth : t->cols };
    for (int form = 0; form < 4; form++) {
        const bool wide = form & 1, add = form & 2;
        const qp_storage s = wide ? p->out : p->in;
        const double eps = s == QP_BF16 ? 0x1p-8 : s == QP_F32 ? 0x1p-22 : 0x1p-51;
        for (int64_t i = 0; i < SOME * t->cols; i++) put(y, s, i, (double)(i % 7) - 3);
        p->multiply(&(qp_tile){
            .rows = SOME,
            .cols = t->cols,
            .depth = t->depth - rest,
            .a = t->a,
            .b = t->b,
            .c = t->tile,
            .lda = t->depth,
            .ldb = more.ldb,
            .ldc = t->cols,
            .tb = t->tb,
            .more = rest ? &more : NULL,
            .finish = &(qp_finish){ .y = y, .ld = t->cols, .alpha = 0.3, .wide = wide, .add = add },
            .work = t->work });
        for (int64_t i = 0; i < SOME * t->cols; i++) {
            const double before = add ? (double)(i % 7) - 3 : 0, sum = 0.3 * get(t->c, p->out, i);
            const double error = fabs(get(y, s, i) - (before + sum));
            if (!(error <= eps * (fabs(before) + fabs(sum)))) return false;
        }
    }
    return true;
}

/* Decoding's path, with weights stored as the product multiplies them: the bits of many rows. */
static bool few_agree(const trial *t, char *some)
{
    static const int64_t counts[] = { 1, 2, 3, QP_FEW_ROWS };
    const qp_storage in = t->p->in;
    qp_few_fn *few = t->p->few(in, in);
    const qp_tensor w = { .storage = in, .ndim = 2, .shape = { t->cols, t->depth }, .data = t->b };
    for (size_t s = 0; few && s < sizeof counts / sizeof *counts; s++) {
        const size_t bytes = qp_storage_bytes(QP_F32, counts[s] * t->cols);
        memset(some, 0, bytes);
        few(&(qp_few){ .rows = counts[s],
                       .cols = t->cols,
                       .depth = t->depth,
                       .a = t->a,
                       .lda = t->depth,
                       .w = &w,
                       .c = (float *)some,
                       .ldc = t->cols });
        if (memcmp(some, t->c, bytes) != 0) return false;
    }
    return true;
}

static void *room(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    QP_ASSERT(p, "out of memory");
    return p;
}

static const char *check(trial t)
{
    qp_storage in = t.p->in, out = t.p->out;
    size_t a = qp_storage_bytes(in, ROWS * t.depth), b = qp_storage_bytes(in, t.cols * t.depth);
    size_t c = qp_storage_bytes(out, ROWS * t.cols), row = a / ROWS;
    t.a = room(a), t.turned = room(a), t.b = room(b), t.c = room(c), t.work = room(QP_PACK_BYTES);
    t.tile = room(2 * QP_TILE_ROWS * (row + c / ROWS));
    char *some = room(c);
    for (int64_t i = 0; i < ROWS * t.depth; i++)
        put(t.a, in, i, qp_rng_uniform(1, 0, (uint64_t)i) - 0.5);
    for (int64_t i = 0; i < t.cols * t.depth; i++)
        put(t.b, in, i, qp_rng_uniform(2, 0, (uint64_t)i) - 0.5);
    for (size_t i = 0; i < ROWS; i++) memcpy(t.turned + i * row, t.a + (ROWS - 1 - i) * row, row);
    if (t.ta)
        multiply_turned(&t);
    else
        multiply(&t, t.a, t.c, ROWS);
    const char *fault = NULL;
    if (!values_agree(&t))
        fault = "wrong values";
    else if (!t.ta && !rows_agree(&t, some))
        fault = "a row's bits depend on its place";
    else if (!t.ta && t.p->finish && !ends_agree(&t, some))
        fault = "sums end wrong";
    else if (t.tb && t.p->few && !few_agree(&t, some))
        fault = "few rows have other bits than many";
    free(t.a), free(t.turned), free(t.b), free(t.c), free(t.work), free(t.tile), free(some);
    return fault;
}

const char *qp_product_fault(const qp_product *p)
{
    static const struct {
        int64_t cols, depth;
        bool ta, tb;
    } shape[] = { { 40, 70, false, true },   { 70, 33, false, false },
                  { 64, 96, false, true }, /* rows that begin at cache lines */
                  { 70, 131, true, false },  { 130, 270, false, true },
                  { 270, 130, false, false } };
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    const char *fault = NULL;
    for (size_t s = 0; s < sizeof shape / sizeof *shape && !fault; s++)
        fault = check((trial){ .p = p,
                               .cols = shape[s].cols,
                               .depth = shape[s].depth,
                               .ta = shape[s].ta,
                               .tb = shape[s].tb });
    omp_set_num_threads(threads);
    return fault;
}
