/* The loops round a micro-kernel, for the file that includes this: strips of B stay in L1, a block
   of A in L2, MR x NR sums in registers, as by Goto & van de Geijn 2008
   (doi:10.1145/1356052.1356053).

   The includer defines: V, a stored value; E, what a strip holds of one line at one step of the
   depth (PER values); S, a sum; MR, NR and STEPS, the steps of a strip; block(steps, a, b, c, ldc,
   add): c (MR, NR) = (add ? c : 0) + sum over the steps of a[step][MR] b[step][NR]; turn(out, in,
   ld, values, lines): out[line] = the E of in[0][line] .. in[values-1][line], values <= PER. */
#ifndef QP_AUTOGRAD_CPU_GEMM_STRIPS_H
#define QP_AUTOGRAD_CPU_GEMM_STRIPS_H
#include "autograd/cpu/product.h"
#include <string.h>

enum { BLOCK_ROWS = 192, BLOCK_BYTES = (BLOCK_ROWS + MR) * STEPS * sizeof(E) };
_Static_assert(BLOCK_BYTES + 512 * STEPS * sizeof(E) <= QP_PACK_BYTES, "a block of A, strips of B");

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* block() where less than MR x NR of c exists. */
static void edge(int64_t steps, const E *a, const E *b, S *c, int64_t ldc, bool add, int64_t rows,
                 int64_t cols)
{
    S whole[MR * NR] = { 0 };
    for (int64_t i = 0; add && i < rows; i++)
        memcpy(whole + i * NR, c + i * ldc, (size_t)cols * sizeof(S));
    block(steps, a, b, whole, NR, add);
    for (int64_t i = 0; i < rows; i++)
        memcpy(c + i * ldc, whole + i * NR, (size_t)cols * sizeof(S));
}

/* One strip of up to `width` lines, zero-padded: out[step][line]. `turned`: stored (depth, lines).
 */
static void strip(E *out, const V *in, int64_t ld, bool turned, int64_t lines, int64_t depth,
                  int64_t width)
{
    int64_t steps = (depth + PER - 1) / PER;
    if (lines < width || depth % PER) memset(out, 0, (size_t)(width * steps) * sizeof(E));
    if (turned) {
        for (int64_t s = 0; s < steps; s++)
            turn(out + s * width, in + s * PER * ld, ld, least(PER, depth - s * PER), lines);
        return;
    }
    for (int64_t i = 0; i < lines; i++) {
        for (int64_t s = 0; s < depth / PER; s++)
            memcpy(out + s * width + i, in + i * ld + s * PER, sizeof(E));
        if (depth % PER)
            memcpy(out + (steps - 1) * width + i, in + i * ld + (steps - 1) * PER,
                   (size_t)(depth % PER) * sizeof(V));
    }
}

static void strips(E *out, const void *m, int64_t ld, bool turned, int64_t first, int64_t lines,
                   int64_t k, int64_t depth, int64_t width)
{
    const V *in = (const V *)m + (turned ? k * ld + first : first * ld + k);
    for (int64_t s = 0; s < lines; s += width, out += width * ((depth + PER - 1) / PER))
        strip(out, in + (turned ? s : s * ld), ld, turned, least(width, lines - s), depth, width);
}

static void multiply(const qp_tile *t)
{
    E *a = t->work, *b = a + BLOCK_BYTES / sizeof(E);
    for (int64_t k = 0; k < t->depth; k += STEPS * PER) {
        int64_t depth = least(STEPS * PER, t->depth - k), steps = (depth + PER - 1) / PER;
        bool add = t->add || k > 0;
        strips(b, t->b, t->ldb, !t->tb, 0, t->cols, k, depth, NR);
        for (int64_t i0 = 0; i0 < t->rows; i0 += BLOCK_ROWS) {
            int64_t rows = least(BLOCK_ROWS, t->rows - i0);
            strips(a, t->a, t->lda, t->ta, i0, rows, k, depth, MR);
            for (int64_t j = 0; j < t->cols; j += NR)
                for (int64_t i = 0; i < rows; i += MR) {
                    S *c = (S *)t->c + (i0 + i) * t->ldc + j;
                    int64_t h = least(MR, rows - i), w = least(NR, t->cols - j);
                    if (h == MR && w == NR)
                        block(steps, a + i * steps, b + j * steps, c, t->ldc, add);
                    else
                        edge(steps, a + i * steps, b + j * steps, c, t->ldc, add, h, w);
                }
        }
    }
}

static int64_t tile_rows(int64_t left, int64_t cols, int64_t depth)
{
    (void)cols, (void)depth;
    return left; /* no count is special */
}
#endif
