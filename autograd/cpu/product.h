/* What multiplies one tile on the calling thread, always with the same order of sums: a library
   (gemm_blas.c, gemm_dnnl.c) or our own loops (gemm_loop.c, gemm_bf16.c). gemm.c cuts matrices into
   tiles; dispatch.c chooses. */
#ifndef QP_AUTOGRAD_CPU_PRODUCT_H
#define QP_AUTOGRAD_CPU_PRODUCT_H
#include "autograd/tensor.h"
#include <math.h>
#include <stdbool.h>

/* QP_TILE_ROWS: every row count that tile_rows returns divides it or is a multiple, but for the
   last tile's. QP_COPIED_ROWS: the most rows of A that are unpacked at once. Then a thread's share
   of the work area: a tile of A, a panel of B, a block of C with room for padding, and the
   product's own scratch. */
enum {
    QP_TILE_ROWS = 96,
    QP_COPIED_ROWS = 192,
    QP_A_BYTES = QP_COPIED_ROWS * 4096,
    QP_B_BYTES = 512 * 4096,
    QP_C_BYTES = (576 + QP_TILE_ROWS) * 512 * 4,
    QP_PACK_BYTES = (1024 + 256) * 1024,
    QP_PRODUCT_BYTES = QP_A_BYTES + QP_B_BYTES + QP_C_BYTES + QP_PACK_BYTES,
};

/* Where sums end when their last part is done: y = alpha*sums, or y + alpha*sums if `add`, rounded
   once. y is of the product's `out` type if `wide`, else of its `in`. */
typedef struct {
    void *y;
    int64_t ld;
    double alpha;
    bool wide, add;
} qp_finish;

/* y + a b, fused where the CPU can. Left to the compiler, some loops would be fused and some not,
   and an element's bits would depend on its place: gcc 12 fuses the ends of blocks with AVX2 and
   nothing else. */
#if defined __FMA__ || defined __ARM_FEATURE_FMA
#    define QP_MULTIPLY_ADD(a, b, y) _Generic((y), float : fmaf, double : fma)(a, b, y)
#else
#    define QP_MULTIPLY_ADD(a, b, y) ((y) + (a) * (b))
#endif

/* C (rows, cols) = A (rows, depth) B (depth, cols), added to C if `add`; row-major, ld elements
   from row to row. ta: A is stored (depth, rows); tb: B is stored (cols, depth). */
typedef struct qp_tile qp_tile;
struct qp_tile {
    int64_t rows, cols, depth;
    const void *a, *b;
    void *c;
    int64_t lda, ldb, ldc;
    bool ta, tb, add;
    const qp_tile *more; /* NULL, or whose product is added behind: its a, b, lda, ldb, depth */
    const qp_tensor *w;  /* not NULL: B^T is w's rows from w0 on, from depth k0 on, instead of b */
    int64_t w0, k0;
    const qp_finish *finish; /* NULL: C is the end; else C holds only what is read if `add` */
    void *work;              /* QP_PACK_BYTES of scratch, 64-byte aligned */
};

/* C (rows, cols) = A (rows, depth) W^T for up to QP_FEW_ROWS rows and the rows w0 .. w0+cols-1 of a
   weight as it is stored; cols at least 16, or rows of w lie before w0. On the calling thread,
   without a work area; its bits are those that multiply gives. */
enum { QP_FEW_ROWS = 8 };
typedef struct {
    int64_t rows, cols, depth;
    const void *a;
    int64_t lda;
    const qp_tensor *w;
    int64_t w0;
    float *c;
    int64_t ldc;
} qp_few;
typedef void qp_few_fn(const qp_few *f);

typedef struct {
    const char *name;    /* "openblas SkylakeX"; for `quipu env` */
    qp_storage in, out;  /* of A and B, of C */
    int64_t rows;        /* largest block of C; a multiple of QP_TILE_ROWS */
    int64_t unit;        /* a block's rows are a multiple of it, but the last's */
    int64_t cols, depth; /* largest panel of B */
    bool any_block;      /* an element's bits do not depend on the columns beside it either */
    bool chains;         /* heeds a tile's `more` */
    bool dense;          /* wants A, B and C without gaps between rows */
    /* Rows of the next tile when `left` remain; more than left: the tile is padded with zero rows.
       Row counts that it returns for one shape of B give a row the same bits. */
    int64_t (*tile_rows)(int64_t left, int64_t cols, int64_t depth);
    void (*multiply)(const qp_tile *t);
    /* What is done with sums of a tile whose `finish` is set, for sums that are made elsewhere; C
       may hold anything then. NULL: such tiles are not for this product. */
    void (*finish)(const qp_finish *f, const void *sums, int64_t ld, int64_t rows, int64_t cols);
    /* Whether it takes weights so stored as they are (qp_tile.w), at depths that cut no block.
       NULL: none. */
    bool (*reads)(qp_storage weight);
    /* For weights so stored, when values of `compute` are multiplied; NULL, or gives it: has none.
     */
    qp_few_fn *(*few)(qp_storage weight, qp_storage compute);
} qp_product;

/* NULL where this CPU cannot. Each must be asked for from one thread first. */
const qp_product *qp_blas_f64(void);
const qp_product *qp_blas_f32(void);
/* With constant_rows every tile has QP_TILE_ROWS rows: AMX's product needs that to keep its
 * promise. */
const qp_product *qp_dnnl_bf16(bool constant_rows);
bool qp_dnnl_has_amx(void);
/* How many of oneDNN's primitives the calling thread keeps: QP_DNNL_KEPT at most. */
enum { QP_DNNL_KEPT = 512 };
int qp_dnnl_kept(void);
/* x86-64 only, and only after the CPU was asked for AVX-512, or for AVX512-BF16. */
const qp_product *qp_amx_bf16(void);
extern const qp_product qp_avx512_bf16;
/* Few rows with AVX-512: for qp_avx512_bf16, for the f32 loops. */
qp_few_fn *qp_few_bf16(qp_storage weight, qp_storage compute);
qp_few_fn *qp_few_f32(qp_storage weight, qp_storage compute);
/* The product of gemm_amx.c over emulated tiles; the test program alone has it. */
extern const qp_product qp_amx_emulated __attribute__((weak, visibility("hidden")));

/* Why p must not be used, by a test of a few milliseconds: NULL if it may. */
const char *qp_product_fault(const qp_product *p);

/* What may serve a compute type on this CPU, untested, in the order in which it is tried; how many.
 */
enum { QP_CANDIDATES = 6 };
int qp_product_candidates(qp_storage compute, const qp_product *candidate[QP_CANDIDATES]);

/* The product that serves a compute type, chosen and tested on the first call. Its `in` is the
   compute type or a wider one. */
const qp_product *qp_product_for(qp_storage compute);
#endif
