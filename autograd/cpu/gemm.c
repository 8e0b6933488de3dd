/* Products of any shape from products of tiles, with one promise: a row's bits depend on
   that row and the other operand alone, not on the rows beside it, its place, their number or the
   thread count.

   C (rows, cols) = A (rows, depth) B (depth, cols) is cut into tasks, blocks of rows by columns. A
   task goes over the depth in even steps, again a function of the shape, and in each over its rows
   in tiles of counts that give equal bits (qp_product.tile_rows). The last tile is padded with zero
   rows in the work area. What is not stored as the library wants it (another storage, a row range
   that needs padding) is unpacked there too; all else is multiplied in place.

   A second pair of operands may be added, C = A B + A2 B2: an element is then one chain over both
   depths, rounded once. LoRA's x W^T + h b^T costs some steps more so, where a product of its own
   read C and wrote it again: in steps of SmolLM2 with adapters of rank 16 linears and adapters took
   4 to 6 % less time in bf16, 4 to 12 % in f32, by calls on a drifting clock. */
#include "autograd/cpu/kernel.h"
#include "autograd/cpu/product.h"
#include "autograd/cpu/weight.h"
#include "base/err.h"
#include <omp.h>

typedef struct {
    const qp_product *p;
    int64_t rows, cols, depth;
    const qp_tensor *a, *b; /* as stored: see ta, tb of qp_tile */
    bool ta, tb;
    int64_t b0; /* b's first row that takes part */
    struct {    /* the second pair, stored as the first is; b2's values are T */
        const qp_tensor *a, *b;
        int64_t depth; /* 0: there is none */
    } more;
    void *c;
    qp_storage cs;
    double beta, alpha;
    int64_t block_rows, block_cols; /* a task's */
    bool in_place;                  /* C needs no scaling, adding or rounding */
} job;

/* Splits n into the fewest even parts of at most `most`, each a multiple of `unit` but the last. */
static int64_t even(int64_t n, int64_t most, int64_t unit)
{
    int64_t parts = (n + most - 1) / most, part = (n + parts - 1) / parts;
    return (part + unit - 1) / unit * unit;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* A wider product must see what the compute type holds, or bits would tell which product served. */
static void round_to_t(void *panel, int64_t n)
{
    R *v = panel;
    for (int64_t i = 0; i < n; i++) v[i] = LD(ST(v[i]));
}

/* rows x cols from (r, c) of t, as the product wants it: in place, or as a panel in buf. */
static const void *part(const qp_product *p, const qp_tensor *t, int64_t r, int64_t rows, int64_t c,
                        int64_t cols, bool copy, void *buf, int64_t *ld)
{
    bool gaps = qp_cols(t) != cols, same = p->in == QP_T;
    const char *direct = copy || !same || (p->dense && gaps) ? NULL : qp_weight_direct(t, QP_T, r);
    *ld = direct ? qp_cols(t) : cols;
    if (direct) return direct + qp_storage_bytes(p->in, c);
    qp_weight_panel(buf, p->in, cols, t, r, rows, c, cols);
    if (!same && t->storage != QP_T) round_to_t(buf, rows * cols);
    return buf;
}

/* Rows i .. i+rows-1 of A at depth k .. k+depth-1, with zero rows below up to t->rows. */
static void tile_of_a(const job *j, qp_tile *t, int64_t i, int64_t rows, int64_t k, void *buf)
{
    int64_t pad = t->rows - rows;
    t->ta = j->ta;
    if (j->ta) {
        t->a = part(j->p, j->a, k, t->depth, i, rows, false, buf, &t->lda);
        return;
    }
    t->a = part(j->p, j->a, i, rows, k, t->depth, pad > 0, buf, &t->lda);
    if (pad > 0)
        memset((char *)buf + qp_storage_bytes(j->p->in, rows * t->depth), 0,
               qp_storage_bytes(j->p->in, pad * t->depth));
}

/* C = beta*C + alpha*sums for rows x cols, rounded once; beta is 0 or 1. */
static void store(const job *j, const R *sums, int64_t ld, int64_t i0, int64_t rows, int64_t c0,
                  int64_t cols)
{
    R alpha = (R)j->alpha;
    for (int64_t i = 0; i < rows; i++) {
        const R *s = sums + i * ld;
        if (j->cs == QP_R) {
            R *c = (R *)j->c + (i0 + i) * j->cols + c0;
            for (int64_t l = 0; l < cols; l++)
                c[l] = j->beta != 0 ? QP_MULTIPLY_ADD(alpha, s[l], c[l]) : alpha * s[l];
        } else {
            T *c = (T *)j->c + (i0 + i) * j->cols + c0;
            for (int64_t l = 0; l < cols; l++)
                c[l] = ST(j->beta != 0 ? QP_MULTIPLY_ADD(alpha, s[l], LD(c[l])) : alpha * s[l]);
        }
    }
}

/* Whether the product stores as well: sums need not go through memory then. */
static bool finishes(const job *j)
{
    return j->p->finish && !j->p->dense && (j->cs == j->p->out || j->cs == j->p->in);
}

static qp_finish finish(const job *j, int64_t i, int64_t c)
{
    return (qp_finish){ .y = (char *)j->c + qp_storage_bytes(j->cs, i * j->cols + c),
                        .ld = j->cols,
                        .alpha = j->alpha,
                        .wide = j->cs == j->p->out,
                        .add = j->beta != 0 };
}

/* The rows of the next tile when A's tile must fit the work area. */
static int64_t next_rows(const job *j, int64_t left, int64_t cols, int64_t depth)
{
    bool copied = j->p->in != QP_T || j->p->dense;
    if (copied) left = least(left, QP_COPIED_ROWS);
    return j->ta ? left
                 : j->p->tile_rows(left, cols, depth); /* A^T's columns are no rows of ours */
}

/* Steps of the depth cut no block of a weight. */
static int64_t step_of(const job *j, int64_t depth) { return even(depth, j->p->depth, 32); }

/* The last step's depth. */
static int64_t shallow(const job *j, int64_t depth)
{
    return depth - (depth - 1) / step_of(j, depth) * step_of(j, depth);
}

/* B is a weight that the product takes as it is stored. */
static bool as_stored(const job *j) { return j->tb && j->p->reads && j->p->reads(j->b->storage); }

/* A product that chains takes the second pair as steps of the first's last tile: but not behind a
   stored weight's, whose steps are others. */
static bool chained(const job *j)
{
    return j->more.depth && j->p->chains && j->p->in == QP_T && !j->p->dense && !as_stored(j);
}

/* The second pair of C's block from (i, c0) on. */
static qp_tile more_of(const job *j, int64_t i, int64_t c0)
{
    const int64_t depth = j->more.depth;
    return (qp_tile){ .depth = depth,
                      .a = (const T *)j->more.a->data + i * depth,
                      .lda = depth,
                      .b = (const T *)j->more.b->data + (j->tb ? c0 * depth : c0),
                      .ldb = j->tb ? depth : j->cols };
}

/* A block of C; `begun`: it holds sums, `more`: others will be added. */
static void block(const job *j, int64_t i0, int64_t c0, int64_t least_depth, bool begun, bool more,
                  char *work)
{
    char *buf_a = work, *buf_b = buf_a + QP_A_BYTES;
    R *sums = (R *)(buf_b + QP_B_BYTES);
    const int64_t rows = least(j->rows - i0, j->block_rows), step = step_of(j, j->depth);
    const int64_t cols = least(j->cols - c0, j->block_cols);
    qp_tile t = { .cols = cols, .tb = j->tb, .work = (char *)sums + QP_C_BYTES };
    for (int64_t k = 0; k < j->depth; k += step) {
        t.depth = least(j->depth - k, step);
        t.add = begun || k > 0;
        const bool last = !more && k + step >= j->depth;
        if (as_stored(j))
            t.w = j->b, t.w0 = j->b0 + c0, t.k0 = k;
        else if (j->tb)
            t.b = part(j->p, j->b, j->b0 + c0, cols, k, t.depth, false, buf_b, &t.ldb);
        else
            t.b = part(j->p, j->b, j->b0 + k, t.depth, c0, cols, false, buf_b, &t.ldb);
        for (int64_t i = 0, take; i < rows; i += take) {
            t.rows = next_rows(j, rows - i, cols, least_depth);
            take = least(t.rows, rows - i);
            bool in_place = j->in_place && take == t.rows && !j->p->dense;
            bool finished = !in_place && take == t.rows && finishes(j);
            qp_finish f = finish(j, i0 + i, c0);
            qp_tile second = last && chained(j) ? more_of(j, i0 + i, c0) : (qp_tile){ 0 };
            tile_of_a(j, &t, i0 + i, take, k, buf_a);
            t.c = in_place ? (R *)j->c + (i0 + i) * j->cols + c0 : sums + i * cols;
            t.ldc = in_place ? j->cols : cols;
            t.more = second.depth ? &second : NULL;
            t.finish = last && finished ? &f : NULL;
            j->p->multiply(&t);
            if (last && !in_place && !finished)
                store(j, sums + i * cols, cols, i0 + i, take, c0, cols);
        }
    }
}

static void task(const job *j, int64_t i0, int64_t c0, char *work)
{
    if (!j->more.depth || chained(j)) {
        block(j, i0, c0, shallow(j, j->depth), false, false, work);
        return;
    }
    job second = *j;
    second.a = j->more.a, second.b = j->more.b, second.depth = j->more.depth, second.b0 = 0;
    second.more.depth = 0;
    const int64_t both = least(shallow(j, j->depth), shallow(j, second.depth));
    block(j, i0, c0, both, false, true, work);
    block(&second, i0, c0, both, true, false, work);
}

static int64_t parts_of(int64_t n, int64_t part) { return (n + part - 1) / part; }

/* The largest blocks that a task may have, then smaller ones until every thread has two tasks and
   as many as the others, all `batches` together. The thread count may decide only what no bit
   depends on: the block of a row, and with some products the block of a column. */
static void cut(job *j, int64_t batches, int64_t threads)
{
    const qp_product *p = j->p;
    int64_t across = parts_of(j->cols, p->cols), down = parts_of(j->rows, p->rows), tasks;
    while ((tasks = across * down * batches) < 2 * threads ||
           (tasks % threads && tasks < 8 * threads)) {
        bool rows = (!j->ta || p->any_block) && j->rows / down > QP_TILE_ROWS,
             cols = p->any_block && j->cols / across > 64;
        if (!rows && !cols) break;
        if (rows && (!cols || j->rows / down >= j->cols / across))
            down++;
        else
            across++;
    }
    j->block_cols = even(j->cols, parts_of(j->cols, across), 16);
    j->block_rows = even(j->rows, parts_of(j->rows, down), p->unit);
}

/* Task i of product `number` of a batch: the same job elsewhere. */
static void task_of_batch(const job *all, const qp_loops *batch, int64_t number, int64_t i,
                          char *work)
{
    job j = *all;
    qp_tensor a = *j.a, b = *j.b;
    a.data = (T *)a.data + qp_loops_at(batch, 1, number);
    if (b.storage == QP_T) b.data = (T *)b.data + qp_loops_at(batch, 2, number);
    j.a = &a;
    j.b = &b;
    j.c = (char *)j.c + qp_storage_bytes(j.cs, qp_loops_at(batch, 0, number));
    const int64_t across = parts_of(j.cols, j.block_cols);
    task(&j, i / across * j.block_rows, i % across * j.block_cols, work);
}

/* One product for every round of the loops: operand 0 is C, 1 A, 2 B. Tasks of all products share
   the threads, so that many small ones use them as well as one large. */
static void run_batch(job *j, const qp_loops *batch, void *work)
{
    const int64_t batches = qp_loops_count(batch);
    if (j->depth == 0 && j->beta == 0)
        memset(j->c, 0, qp_storage_bytes(j->cs, batches * j->rows * j->cols));
    if (j->rows == 0 || j->cols == 0 || j->depth == 0 || batches == 0) return;
    int threads = omp_get_max_threads();
    bool parallel = threads > 1 && batches * j->rows * j->cols * j->depth > 64 * QP_GRAIN;
    cut(j, batches, parallel ? threads : 1);
    const int64_t tasks = parts_of(j->cols, j->block_cols) * parts_of(j->rows, j->block_rows);
    if (!parallel)
        omp_set_num_threads(1); /* outside a region the library would start threads itself */
    qp_on_fatal_hold(true);     /* a library's failure below must not jump out of the region */
#pragma omp parallel for schedule(dynamic) if (parallel)
    for (int64_t i = 0; i < batches * tasks; i++)
        task_of_batch(j, batch, i / tasks, i % tasks,
                      (char *)work + (size_t)omp_get_thread_num() * QP_PRODUCT_BYTES);
    qp_on_fatal_hold(false);
    omp_set_num_threads(threads);
}

static void run(job *j, void *work)
{
    const qp_loops one = { 0 };
    run_batch(j, &one, work);
}

/* x for a product that wants it wider: in the work area, rows side by side. */
static const void *widened(const qp_product *p, const qp_tensor *x, void *work)
{
    if (p->in != QP_T) qp_weight_panel(work, p->in, qp_cols(x), x, 0, qp_rows(x), 0, qp_cols(x));
    return p->in == QP_T ? x->data : work;
}

/* Few rows: columns between two stores, whose sums stay in L1; the most depth of a second pair. */
enum { FEW_COLS = 512, FEW_MORE = 512 };

/* The second pair of few rows, added to sums of the first, which begin `work`. */
static void add_more(const job *j, char *work, int64_t c0, int64_t cols)
{
    char *buf_a = work + QP_FEW_ROWS * FEW_COLS * sizeof(R);
    char *buf_b = buf_a + QP_FEW_ROWS * FEW_MORE * sizeof(R);
    qp_tile t = { .rows = j->rows,
                  .cols = cols,
                  .depth = j->more.depth,
                  .c = work,
                  .ldc = cols,
                  .tb = true,
                  .add = true,
                  .work = work + QP_B_BYTES + QP_C_BYTES };
    t.a = part(j->p, j->more.a, 0, j->rows, 0, t.depth, false, buf_a, &t.lda);
    t.b = part(j->p, j->more.b, c0, cols, 0, t.depth, false, buf_b, &t.ldb);
    j->p->multiply(&t);
}

/* How few rows meet this weight; NULL: as many rows do. */
static qp_few_fn *few_of(const job *j)
{
    const bool possible = j->p->few && j->rows > 0 && j->rows <= QP_FEW_ROWS && j->cols >= 16 &&
                          j->depth > 0 && j->depth % qp_storages[j->b->storage].block == 0 &&
                          j->rows * j->depth * (int64_t)sizeof(R) <= QP_A_BYTES &&
                          j->more.depth <= FEW_MORE;
    return possible ? j->p->few(j->b->storage, QP_T) : NULL;
}

/* This thread's stretch of one weight. */
static void share_of_few(const job *j, const void *x, char *work)
{
    const int id = omp_get_thread_num(), threads = omp_get_num_threads();
    const int64_t units = (j->cols + 15) / 16;
    const int64_t end = least(units * (id + 1) / threads * 16, j->cols);
    R *sums = (R *)(work + (size_t)id * QP_PRODUCT_BYTES + QP_A_BYTES);
    qp_few_fn *few = few_of(j);
    for (int64_t c0 = units * id / threads * 16, cols; c0 < end; c0 += cols) {
        cols = least(FEW_COLS, end - c0);
        few(&(qp_few){ .rows = j->rows,
                       .cols = cols,
                       .depth = j->depth,
                       .a = x,
                       .lda = j->depth,
                       .w = j->b,
                       .w0 = j->b0 + c0,
                       .c = (float *)sums,
                       .ldc = cols });
        if (j->more.depth) add_more(j, (char *)sums, c0, cols);
        const qp_finish f = finish(j, 0, c0);
        if (finishes(j)) /* rounded as those of a tile, whatever this file is built for */
            j->p->finish(&f, sums, cols, j->rows, cols);
        else
            store(j, sums, cols, 0, j->rows, c0, cols);
    }
}

/* Few rows: the time is the weights' way from memory. Every thread reads one stretch of each; all
   products have the same A. */
static void run_few(const job *all, int count, void *work)
{
    const void *x = widened(all->p, all->a, work);
    int64_t values = 0;
    for (int i = 0; i < count; i++) values += all[i].cols * all[i].depth;
#pragma omp parallel if (values > QP_GRAIN)
    for (int i = 0; i < count; i++) share_of_few(&all[i], x, work);
}

/* A matrix over the caller's memory. */
static qp_tensor matrix(const void *data, int64_t rows, int64_t cols)
{
    return (qp_tensor){ .storage = QP_T, .ndim = 2, .shape = { rows, cols }, .data = (void *)data };
}

static bool plain(qp_storage cs, double beta, double alpha)
{
    return cs == QP_R && beta == 0 && alpha == 1;
}

/* a2 and b2, when there is depth in them, as a second pair: or as the first if that has none. */
static void add_pair(job *j, const qp_tensor *a2, const qp_tensor *b2, int64_t depth)
{
    if (j->depth > 0) {
        j->more.a = a2, j->more.b = b2, j->more.depth = depth;
    } else if (depth > 0) {
        j->a = a2, j->b = b2, j->depth = depth, j->b0 = 0;
    }
}

/* y = x w^T over m rows of w from r0 on. */
static job job_nt(void *y, qp_storage ys, double beta, double alpha, const qp_tensor *x,
                  const qp_tensor *w, int64_t r0, int64_t m)
{
    return (job){ .p = qp_product_for(QP_T),
                  .rows = x->shape[0],
                  .cols = m,
                  .depth = x->shape[1],
                  .a = x,
                  .b = w,
                  .tb = true,
                  .b0 = r0,
                  .c = y,
                  .cs = ys,
                  .beta = beta,
                  .alpha = alpha,
                  .in_place = plain(ys, beta, alpha) };
}

void K(matmul_nt_more)(void *y, qp_storage ys, double beta, double alpha, const void *x,
                       const qp_tensor *w, int64_t r0, const void *h, const void *b, int64_t n,
                       int64_t m, int64_t k, int64_t r, void *work)
{
    const qp_tensor a1 = matrix(x, n, k), a2 = matrix(h, n, r), b2 = matrix(b, m, r);
    job j = job_nt(y, ys, beta, alpha, &a1, w, r0, m);
    add_pair(&j, &a2, &b2, r);
    if (few_of(&j))
        run_few(&j, 1, work);
    else
        run(&j, work);
}

void K(matmul_nt)(void *y, qp_storage ys, double beta, double alpha, const void *x,
                  const qp_tensor *w, int64_t r0, int64_t n, int64_t m, int64_t k, void *work)
{
    K(matmul_nt_more)(y, ys, beta, alpha, x, w, r0, NULL, NULL, n, m, k, 0, work);
}

void K(matmul_nt_all)(void *const *y, int count, const void *x, const qp_tensor *const *w,
                      int64_t n, int64_t k, void *work)
{
    const qp_tensor a = matrix(x, n, k);
    job all[QP_NT_ALL];
    bool few = count > 0;
    for (int i = 0; i < count; i++) {
        all[i] = job_nt(y[i], QP_T, 0, 1, &a, w[i], 0, qp_rows(w[i]));
        few = few && few_of(&all[i]);
    }
    if (few) run_few(all, count, work);
    for (int i = 0; !few && i < count; i++) run(&all[i], work);
}

void K(matmul_nn_more)(void *dx, qp_storage xs, double beta, double alpha, const void *dy,
                       const qp_tensor *w, int64_t r0, const void *dh, const void *a, int64_t n,
                       int64_t m, int64_t k, int64_t r, void *work)
{
    qp_tensor a1 = matrix(dy, n, m), a2 = matrix(dh, n, r), b2 = matrix(a, r, k);
    job j = { .p = qp_product_for(QP_T),
              .rows = n,
              .cols = k,
              .depth = m,
              .a = &a1,
              .b = w,
              .b0 = r0,
              .c = dx,
              .cs = xs,
              .beta = beta,
              .alpha = alpha,
              .in_place = plain(xs, beta, alpha) };
    add_pair(&j, &a2, &b2, r);
    run(&j, work);
}

void K(matmul_nn)(void *dx, qp_storage xs, double beta, double alpha, const void *dy,
                  const qp_tensor *w, int64_t r0, int64_t n, int64_t m, int64_t k, void *work)
{
    K(matmul_nn_more)(dx, xs, beta, alpha, dy, w, r0, NULL, NULL, n, m, k, 0, work);
}

void K(matmul_tn)(void *dw, double beta, double alpha, const void *dy, const void *x, int64_t n,
                  int64_t m, int64_t k, void *work)
{
    qp_tensor a = matrix(dy, n, m), b = matrix(x, n, k);
    job j = { .p = qp_product_for(QP_T),
              .rows = m,
              .cols = k,
              .depth = n,
              .a = &a,
              .b = &b,
              .ta = true,
              .c = dw,
              .cs = QP_R,
              .beta = beta,
              .alpha = alpha,
              .in_place = plain(QP_R, beta, alpha) };
    run(&j, work);
}

void K(matmul_batch)(void *y, qp_storage ys, double beta, const void *a_, const void *b_, bool ta,
                     bool tb, int64_t m, int64_t n, int64_t k, const qp_loops *batch, void *work)
{
    qp_tensor a = matrix(a_, ta ? k : m, ta ? m : k), b = matrix(b_, tb ? n : k, tb ? k : n);
    job j = { .p = qp_product_for(QP_T),
              .rows = m,
              .cols = n,
              .depth = k,
              .a = &a,
              .b = &b,
              .ta = ta,
              .tb = tb,
              .c = y,
              .cs = ys,
              .beta = beta,
              .alpha = 1,
              .in_place = plain(ys, beta, 1) };
    run_batch(&j, batch, work);
}
