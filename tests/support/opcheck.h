/* What must hold for every op, checked on random cases: an op is a row that says how to draw a
   case, how to run the op on it and what the result is, by a formula of the test's own. */
#ifndef QP_TESTS_SUPPORT_OPCHECK_H
#define QP_TESTS_SUPPORT_OPCHECK_H
#include "autograd/general.h"

enum { OP_INPUTS = 4 };

/* SMALL cases are checked against differences, element by element. TAILS are long and odd, so that
   vector loops have remainders; PARALLEL are beyond QP_GRAIN, so that threads share them. */
typedef enum { OP_SMALL, OP_TAILS, OP_PARALLEL } op_size;
/* What a case is for; drawing helpers see to it. */
typedef enum {
    OP_ANY,
    OP_EMPTY,
    OP_RANK_0,
    OP_LEFT,
    OP_RIGHT
} op_special; /* LEFT, RIGHT: repeated */

/* An input's values: numbers that bf16 holds, so that every type has the same ones. */
typedef enum {
    OP_NORMAL,
    OP_POSITIVE, /* 0.5 to 4 */
    OP_AWAY,     /* 0.25 to 3 of either sign: away from a kink or pole at 0 */
    OP_GRID,     /* multiples of 1/16 in -8 .. 8, all different up to 255 of them: no ties */
    OP_BETWEEN,  /* the same plus 1/32: never equal to OP_GRID's */
    OP_MASK,     /* 0, 1 or -2; no gradient */
} op_values;

typedef struct {
    int ndim;
    int64_t shape[QP_MAX_DIMS];
    double *v; /* owned; NULL before they are drawn */
} op_array;

typedef struct op_row op_row;
typedef struct {
    const op_row *op;
    int turn; /* the case's number, which is its seed */
    op_size size;
    op_special special;
    uint64_t drawn; /* random numbers so far */
    int count;      /* inputs */
    op_array in[OP_INPUTS];
    bool constant[OP_INPUTS]; /* gets no gradient */
    /* What the row's own functions make of these: */
    double p, q;
    int axis, order[QP_MAX_DIMS];
    int64_t n[4];
    bool flag[2];
    qp_axes axes;
    int ndim; /* of an index or a wanted shape */
    int64_t shape[QP_MAX_DIMS];
    int32_t *index[2]; /* owned */
    void *table[4];    /* owned */
} op_case;

enum {
    OP_NO_GRADIENT = 1,     /* nothing is recorded */
    OP_PRODUCT = 2,         /* builds may add in another order: not the same bits */
    OP_RANDOM = 4,          /* another value while recording is off */
    OP_NO_EMPTY = 8,        /* cannot have: inputs or result of size 0, */
    OP_NO_RANK_0 = 16,      /* an input of rank 0, */
    OP_NO_REPEAT = 32,      /* inputs broadcast to each other */
    OP_NO_DIFFERENCES = 64, /* its results have no f64 */
    OP_COMPOSITE = 128,     /* of several nodes: each leaves its structs */
};
struct op_row {
    const char *name; /* the op is qp_name */
    unsigned flags;
    op_values values[OP_INPUTS];
    double f32, bf16; /* tolerances over the usual ones, 0: 1 */
    void (*draw)(op_case *k);
    qp_tensor *(*run)(qp_ctx *c, qp_tensor **in, const op_case *k);
    /* What the result is; v may stay NULL where only the shape is known. */
    op_array (*value)(const op_case *k, const op_array *in);
    double (*of_one)(double x, double p, double q); /* for op_value_of_one */
    double (*of_two)(double a, double b);           /* for op_value_of_two */
};

/* ---- For draw: all from the case's seed ---- */

double op_rounded(double v); /* to bf16 */
enum {
    OP_PERIOD = 1021
}; /* values repeat, for speed, with a prime period: no two rows are alike */
int64_t op_below(op_case *k, int64_t n); /* 0 .. n-1 */
bool op_coin(op_case *k);
/* Input i's shape, of `least` to `most` dimensions. k->count grows to i+1. */
void op_shape(op_case *k, int i, int least, int most);
void op_shape_is(op_case *k, int i, int ndim, const int64_t *shape);
/* Two shapes that broadcast to each other, of rank 0 to 5. */
void op_broadcast(op_case *k, int i, int j);
int op_axis(op_case *k, int i); /* an axis of input i, counted from either end */
void op_draw_one(op_case *k);   /* one input of rank 0 to 5 */
void op_draw_two(op_case *k);   /* two that broadcast */

/* ---- For value ---- */

op_array op_array_new(int ndim, const int64_t *shape);
int64_t op_array_size(const op_array *a);
void op_array_at(const op_array *a, int64_t i,
                 int64_t *at); /* element i's place in each dimension */
/* The element that stands at a place of an array of rank ndim when a is broadcast to it. */
double op_array_get(const op_array *a, int ndim, const int64_t *at);
op_array op_array_joint(const op_array *a,
                        const op_array *b); /* unfilled, of the broadcast shape */
op_array op_value_of_one(const op_case *k, const op_array *in);
op_array op_value_of_two(const op_case *k, const op_array *in);

/* ---- Checks; they fail the running test, naming op, case and element ---- */

enum { OP_CASES = 42 };
op_case op_case_draw(const op_row *op, int turn);
void op_case_free(op_case *k);

void op_check_gradients(const op_row *op);        /* and values, shapes: f64 against formulas */
void op_check_rules(const op_row *op, int type);  /* beta, subsets, parameters, recompute */
void op_check_build(const op_row *op, int build); /* test_build's index */

/* Rows, ended by NULL; one list a file of tests/autograd/ops. */
extern const op_row *const op_elementwise[],
    *const op_shapes[], *const op_reductions[], *const op_products[], *const op_networks[];
#endif
