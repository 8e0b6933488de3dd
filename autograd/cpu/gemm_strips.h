/* The loops round a micro-kernel, for the file that includes this: strips of B stay in L1, a block
   of A in L2, MR x NR sums in registers, as by Goto & van de Geijn 2008
   (doi:10.1145/1356052.1356053).

   The includer defines: V, a stored value; E, what a strip holds of one line at one step of the
   depth (PER values); S, a sum; MR, NV vectors of LANES sums = NR, and STEPS, the steps of a strip;
     block(h, nv, steps, a, b, c, ldc, add): c (h, nv*LANES) = (add ? c : 0) + sum over the steps of
       a[step][MR] b[step][NR], for h <= MR rows and nv <= NV vectors, both constant when inlined;
     turn(out, in, ld, values, lines): out[line] = the E of in[0][line] .. in[values-1][line],
   values <= PER. */
#ifndef QP_AUTOGRAD_CPU_GEMM_STRIPS_H
#define QP_AUTOGRAD_CPU_GEMM_STRIPS_H
#include "autograd/cpu/product.h"
#include <string.h>

enum { BLOCK_ROWS = 192, BLOCK_BYTES = (BLOCK_ROWS + MR) * STEPS * sizeof(E) };
_Static_assert(BLOCK_BYTES + 512 * STEPS * sizeof(E) <= QP_PACK_BYTES, "a block of A, strips of B");

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Less than MR x NR of c: few columns are LoRA's, few rows are decoding's; each has a block that
 * wastes less. */
static void edge(int64_t steps, const E *a, const E *b, S *c, int64_t ldc, bool add, int64_t rows,
                 int64_t cols)
{
    S whole[MR * NR] = { 0 };
    for (int64_t i = 0; add && i < rows; i++)
        memcpy(whole + i * NR, c + i * ldc, (size_t)cols * sizeof(S));
    if (rows == 1)
        block(1, NV, steps, a, b, whole, NR, add);
    else if (rows <= 4)
        block(4, NV, steps, a, b, whole, NR, add);
    else if (cols <= LANES)
        block(MR, 1, steps, a, b, whole, NR, add);
    else
        block(MR, NV, steps, a, b, whole, NR, add);
    for (int64_t i = 0; i < rows; i++)
        memcpy(c + i * ldc, whole + i * NR, (size_t)cols * sizeof(S));
}

#if __has_builtin(__builtin_shufflevector)
#    define MIX(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#    define MIX(a, b, ...) __builtin_shuffle(a, b, (word4){ __VA_ARGS__ })
#endif
typedef uint32_t word4 __attribute__((vector_size(16)));
typedef uint32_t word4_loose __attribute__((vector_size(16), aligned(2), may_alias));

/* Four lines of four 4-byte E, in[line][step], to out[step][line]. One value at a time takes three
   times as long, and packing is most of the work where a product has few rows or columns. */
static inline void transpose4(E *out, int64_t width, const V *in, int64_t ld)
{
    word4 r[4], t[4];
    for (int i = 0; i < 4; i++) r[i] = *(const word4_loose *)(in + i * ld);
    for (int i = 0; i < 4; i += 2) {
        t[i] = MIX(r[i], r[i + 1], 0, 4, 1, 5);
        t[i + 1] = MIX(r[i], r[i + 1], 2, 6, 3, 7);
    }
    for (int i = 0; i < 2; i++) {
        *(word4_loose *)(out + 2 * i * width) = MIX(t[i], t[i + 2], 0, 1, 4, 5);
        *(word4_loose *)(out + (2 * i + 1) * width) = MIX(t[i], t[i + 2], 2, 3, 6, 7);
    }
}

/* One strip of up to `width` lines, zero-padded: out[step][line]. The next four lines are fetched
   ahead: a strip reads too little of a line for the processor to see that it goes on, which costs a
   third of one row's speed. */
static void strip(E *out, const V *in, int64_t ld, int64_t lines, int64_t depth, int64_t width)
{
    int64_t full = depth / PER, fours = full / 4 * 4, i = 0;
    for (; sizeof(E) == 4 && i + 4 <= lines; i += 4)
        for (int64_t s = 0; s < fours; s += 4) {
            for (int l = 4; s % 16 == 0 && l < 8; l++)
                __builtin_prefetch(in + (i + l) * ld + s * PER);
            transpose4(out + s * width + i, width, in + i * ld + s * PER, ld);
        }
    for (int64_t l = 0; l < lines; l++)
        for (int64_t s = l < i ? fours : 0; s < full; s++)
            memcpy(out + s * width + l, in + l * ld + s * PER, sizeof(E));
    for (int64_t l = 0; l < lines && depth % PER; l++)
        memcpy(out + full * width + l, in + l * ld + full * PER, (size_t)(depth % PER) * sizeof(V));
}

/* The same from in[step][line]. The two widths that occur are constants, so that turn's loop
 * becomes vectors. */
static void turned_strip(E *out, const V *in, int64_t ld, int64_t lines, int64_t depth,
                         int64_t width)
{
    for (int64_t k = 0; k < depth; k += PER, out += width, in += PER * ld) {
        int64_t values = least(PER, depth - k);
        if (lines == NR)
            turn(out, in, ld, values, NR);
        else if (lines == MR)
            turn(out, in, ld, values, MR);
        else
            turn(out, in, ld, values, lines);
    }
}

/* Lines first .. first+lines-1 of a matrix at depth k .., as strips of `width`. `turned`: it is
 * stored (depth, lines). */
static void strips(E *out, const void *matrix, int64_t ld, bool turned, int64_t first,
                   int64_t lines, int64_t k, int64_t depth, int64_t width)
{
    const V *in = (const V *)matrix + (turned ? k * ld + first : first * ld + k);
    int64_t steps = (depth + PER - 1) / PER;
    for (int64_t l = 0; l < lines; l += width, out += width * steps) {
        int64_t some = least(width, lines - l);
        if (some < width || depth % PER) memset(out, 0, (size_t)(width * steps) * sizeof(E));
        if (turned)
            turned_strip(out, in + l, ld, some, depth, width);
        else
            strip(out, in + l * ld, ld, some, depth, width);
    }
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
                        block(MR, NV, steps, a + i * steps, b + j * steps, c, t->ldc, add);
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
