/* Numbers in 4 and 8 bits: NF4 for frozen weights (QLoRA, Dettmers et al. 2023, arXiv:2305.14314),
   the dynamic 8-bit code for optimiser state (Dettmers et al. 2022, arXiv:2110.02861), linear int8.

   A block is a run of elements of the flattened tensor, whatever its rows; the last may be short,
   and any count goes, 0 too. Each block keeps absmax, the largest magnitude in it, in f32, and a
   code for x / absmax. Codes are the nearest value's; exactly between two, the lower one's (int8:
   the even one's). A value that is a code's already comes back to the bit.

   A block of zeros gives zeros. One with a NaN or an infinity in it has absmax NaN, so all of it
   comes back as NaN: what diverged is not made finite. -0 comes back as 0.

   Encoding uses all threads and gives the same bytes with any number of them. Decoding takes
   elements first .. first+n-1 of the tensor, where both may cut blocks and bytes, on one thread:
   it is what a panel of rows needs. Nothing is allocated; the caller owns every array. */
#ifndef QP_AUTOGRAD_QUANTIZE_H
#define QP_AUTOGRAD_QUANTIZE_H
#include "base/c.h"
#include <stdint.h>

QP_C_BEGIN

enum { QP_NF4_BLOCK = 64, QP_INT8_BLOCK = 64, QP_DYNAMIC8_BLOCK = 256 };

/* How many absmax n elements have. */
static inline int64_t qp_blocks(int64_t n, int64_t block) { return (n + block - 1) / block; }

/* The values of the codes, ascending. nf4: quantiles of the normal distribution, the largest scaled
   to 1, with an exact 0. dynamic8: seven decades, the lowest with one value of either sign, each
   next one with twice as many, evenly spaced; with 0 and 1. */
extern const float qp_nf4_levels[16], qp_dynamic8_code[256];

/* packed (n+1)/2 bytes: two codes a byte, the first in the high four bits; behind an odd count
   the low ones are 0. absmax (qp_blocks(n, 64)). */
void qp_nf4_encode(uint8_t *packed, float *absmax, const float *x, int64_t n);
void qp_nf4_decode(float *y, const uint8_t *packed, const float *absmax, int64_t first, int64_t n);

/* y = q * (absmax / 127), q in -127 .. 127. absmax (qp_blocks(n, 64)). */
void qp_int8_encode(int8_t *q, float *absmax, const float *x, int64_t n);
void qp_int8_decode(float *y, const int8_t *q, const float *absmax, int64_t first, int64_t n);

/* absmax (qp_blocks(n, 256)). */
void qp_dynamic8_encode(uint8_t *q, float *absmax, const float *x, int64_t n);
void qp_dynamic8_decode(float *y, const uint8_t *q, const float *absmax, int64_t first, int64_t n);

/* Double quantisation: NF4's absmax in 8 bits as well, 4.127 bits a weight instead of 4.5. The mean
   is taken off, what is left goes to the dynamic code. One NaN among the absmax makes the mean, and
   so the whole tensor, NaN. */
typedef struct {
    uint8_t *q;     /* (m), m = qp_blocks(n, 64) */
    float *absmax2; /* (qp_blocks(m, 256)) */
    float offset;   /* the mean of absmax */
} qp_absmax8;

/* Fills a's arrays, and the offset, from m absmax; `absmax` itself has the offset taken off. */
void qp_absmax8_encode(qp_absmax8 *a, float *absmax, int64_t m);
void qp_absmax8_decode(float *absmax, const qp_absmax8 *a, int64_t first, int64_t m);
/* qp_nf4_decode from a doubly quantised absmax. */
void qp_nf4_decode8(float *y, const uint8_t *packed, const qp_absmax8 *a, int64_t first, int64_t n);

QP_C_END
#endif
