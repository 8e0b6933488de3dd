/* f64 and f32 tiles by OpenBLAS, one thread each. */
#include "autograd/cpu/dispatch.h"
#include "autograd/cpu/product.h"
#include "base/buf.h"
#include <cblas.h>
#include <omp.h>
#include <pthread.h>
#include <stdio.h>

/* OpenBLAS's own threads would change bits. Setting their number sets OpenMP's as well: put that
 * back. */
static void use_one_thread(void)
{
    int threads = omp_get_max_threads();
    openblas_set_num_threads(1);
    omp_set_num_threads(threads);
}

/* Below rows*cols*depth = 100^3 the AVX-512 kernels take another path with another order of sums,
   and the Haswell ones (12 rows at a time) another for every remainder. So a tile has a multiple of
   the least of 12, 24, 48, 96 rows that passes the limit; where none does, always 96. Measured with
   0.3.21 on 1..96 rows. */
static int64_t tile_rows(int64_t left, int64_t cols, int64_t depth)
{
    enum { LIMIT = 1100000 };
    int64_t step = 12;
    while (step < QP_TILE_ROWS && step * cols * depth < LIMIT) step *= 2;
    bool free_choice = step * cols * depth >= LIMIT;
    return free_choice && left > step ? left / step * step : step;
}

static CBLAS_TRANSPOSE trans(bool t) { return t ? CblasTrans : CblasNoTrans; }

static void multiply_f64(const qp_tile *t)
{
    cblas_dgemm(CblasRowMajor, trans(t->ta), trans(t->tb), (int)t->rows, (int)t->cols,
                (int)t->depth, 1, t->a, (int)t->lda, t->b, (int)t->ldb, t->add, t->c, (int)t->ldc);
}

static void multiply_f32(const qp_tile *t)
{
    cblas_sgemm(CblasRowMajor, trans(t->ta), trans(t->tb), (int)t->rows, (int)t->cols,
                (int)t->depth, 1, t->a, (int)t->lda, t->b, (int)t->ldb, t->add, t->c, (int)t->ldc);
}

static char name[80];
static void init(void)
{
    snprintf(name, sizeof name, "openblas %s", openblas_get_corename());
    use_one_thread();
}
static pthread_once_t once = PTHREAD_ONCE_INIT;

const qp_product *qp_blas_f64(void)
{
    static const qp_product p = { .name = name,
                                  .in = QP_F64,
                                  .out = QP_F64,
                                  .rows = 192,
                                  .unit = QP_TILE_ROWS,
                                  .cols = 512,
                                  .depth = 512,
                                  .tile_rows = tile_rows,
                                  .multiply = multiply_f64 };
    pthread_once(&once, init);
    return &p;
}

const qp_product *qp_blas_f32(void)
{
    static const qp_product p = { .name = name,
                                  .in = QP_F32,
                                  .out = QP_F32,
                                  .rows = 576,
                                  .unit = QP_TILE_ROWS,
                                  .cols = 512,
                                  .depth = 1024,
                                  .tile_rows = tile_rows,
                                  .multiply = multiply_f32 };
    pthread_once(&once, init);
    return &p;
}

char *qp_blas_version(void) { return qp_xstrdup(openblas_get_config()); }
