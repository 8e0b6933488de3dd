/* The loops round a micro-kernel, for the file that includes this: a strip of B stays in L1, a
   block of A in L2, MR x NR sums in registers, as by Goto & van de Geijn 2008
   (doi:10.1145/1356052.1356053).

   The includer defines: V, a stored value; E, what a strip holds of one line at one step of the
   depth (PER values); S, a sum; VECTOR, the bytes of one; MR, NV vectors of LANES sums = NR, and
   STEPS, the steps of a strip;
     block(scaled, h, nv, steps, a, line, step, b, from, ldf, to, ldt): to (h, nv*LANES) = from
       (zeros where NULL) + sum over the steps s of a[i*line + s*step] b[s][NR], for h <= MR rows
       and nv <= NV vectors; the E of A lie `line` and `step` values apart;
     turn(out, in, ld, values, lines): out[line] = the E of in[0][line] .. in[values-1][line],
       values <= PER;
     READS, whether tiles may bring a weight as it is stored. Its strips have a line of scales after
       every SCALED steps, and block is told so by `scaled`;
     strip_of_w(out, t, first, lines, k, depth): such a strip;
     widen(v), narrow(s): a V as S, and back. */
#ifndef QP_AUTOGRAD_CPU_GEMM_STRIPS_H
#define QP_AUTOGRAD_CPU_GEMM_STRIPS_H
#include "autograd/cpu/gemm_pack.h"
#include "autograd/cpu/product.h"
#include <stdint.h>

enum { MOST = 2 * MR / 3 }; /* rows of a block that fills the registers well enough */
/* A's strips lie a line of cache further apart than they are long: else all would share one set. */
enum { APART = MR * STEPS + 64 / sizeof(E), A_BYTES = BLOCK_ROWS / MR * APART * sizeof(E) };
/* Where B is a single strip it may come from L2, so that A's rows are read to their end: x a^T of
   LoRA from memory, (2048, 576) by 16 columns, took 60 us and takes 47, in f32 191 and 119. */
enum { THIN_STEPS = 4 * STEPS };
enum { SCALED = 16, B_LINES = THIN_STEPS + READS * THIN_STEPS / SCALED };
_Static_assert(A_BYTES + NR * B_LINES * sizeof(E) <= QP_PACK_BYTES, "a block of A, strips of B");
_Static_assert(BLOCK_ROWS >= 5 * MR, "room for the rows that a thin block of A leaves over");
_Static_assert(A_BYTES % 64 == 0 && BLOCK_ROWS % MR == 0, "whole strips");

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* What the blocks of one strip of B share. `packed` A is strips, else lies as the caller has it. */
typedef struct {
    const qp_tile *t;
    const V *a;
    const E *b;
    int64_t i0, j, steps;
    bool packed, add, last;
} strip;

/* rows x cols of the tile, from its row i, column j on, out of sums (rows, ld). */
static inline __attribute__((always_inline)) void put(const qp_finish *f, const S *restrict sums,
                                                      int64_t ld, int64_t i, int64_t j,
                                                      int64_t rows, const int64_t cols)
{
    const S alpha = (S)f->alpha;
    V *restrict y = (V *)f->y + i * f->ld + j;
    S *restrict z = (S *)f->y + i * f->ld + j;
    for (int64_t r = 0; r < rows; r++, y += f->ld, z += f->ld, sums += ld)
        if (f->wide && f->add)
            for (int64_t l = 0; l < cols; l++) z[l] = QP_MULTIPLY_ADD(alpha, sums[l], z[l]);
        else if (f->wide)
            for (int64_t l = 0; l < cols; l++) z[l] = alpha * sums[l];
        else if (f->add)
            for (int64_t l = 0; l < cols; l++)
                y[l] = narrow(QP_MULTIPLY_ADD(alpha, sums[l], widen(y[l])));
        else
            for (int64_t l = 0; l < cols; l++) y[l] = narrow(alpha * sums[l]);
}

static void finish(const qp_finish *f, const void *sums, int64_t ld, int64_t rows, int64_t cols)
{
    put(f, sums, ld, 0, 0, rows, cols);
}

/* A block of h <= MR rows by w <= NR columns. Few columns are LoRA's, few rows decoding's or the
   end of a block: each has a block that wastes less. */
static inline __attribute__((always_inline)) void one_of(const bool scaled, const strip *s,
                                                         int64_t i, int64_t h, int64_t w)
{
    const qp_tile *t = s->t;
    const bool ends = s->last && t->finish;
    const int64_t lda = t->lda;
    S *c = (S *)t->c + (s->i0 + i) * t->ldc + s->j, whole[MR * NR] __attribute__((aligned(64)));
    const V *a = s->packed ? s->a + i / MR * APART * PER : s->a + i * lda;
    const S *from = s->add ? c : NULL;
    if (h == MR && w == NR && s->packed) {
        block(scaled, MR, NV, s->steps, a, PER, MR * PER, s->b, from, t->ldc, ends ? whole : c,
              ends ? NR : t->ldc);
        if (ends) put(t->finish, whole, NR, s->i0 + i, s->j, MR, NR);
        return;
    }
    for (int64_t l = 0; from && l < h; l++)
        memcpy(whole + l * NR, c + l * t->ldc, (size_t)w * sizeof(S));
    if (from) from = whole;
    if (!s->packed && w > LANES)
        block(scaled, MR, NV, s->steps, a, lda, PER, s->b, from, NR, whole, NR);
    else if (!s->packed)
        block(scaled, MR, 1, s->steps, a, lda, PER, s->b, from, NR, whole, NR);
    else if (h == 1)
        block(scaled, 1, NV, s->steps, a, PER, MR * PER, s->b, from, NR, whole, NR);
    else if (h <= 4)
        block(scaled, 4, NV, s->steps, a, PER, MR * PER, s->b, from, NR, whole, NR);
    else if (w <= LANES)
        block(scaled, MR, 1, s->steps, a, PER, MR * PER, s->b, from, NR, whole, NR);
    else if (h <= MOST)
        block(scaled, MOST, NV, s->steps, a, PER, MR * PER, s->b, from, NR, whole, NR);
    else
        block(scaled, MR, NV, s->steps, a, PER, MR * PER, s->b, from, NR, whole, NR);
    if (ends)
        put(t->finish, whole, NR, s->i0 + i, s->j, h, w);
    else
        for (int64_t l = 0; l < h; l++)
            memcpy(c + l * t->ldc, whole + l * NR, (size_t)w * sizeof(S));
}

static void one(const strip *s, int64_t i, int64_t h, int64_t w)
{
    if (READS && s->t->w)
        one_of(true, s, i, h, w);
    else
        one_of(false, s, i, h, w);
}

static int64_t steps_of(const qp_tile *t) { return (t->depth + PER - 1) / PER; }

/* Lines first .. first+lines-1 of a matrix as strips, `steps` of them from step k on. */
static void strips_of_a(E *out, const qp_tile *t, int64_t first, int64_t lines, int64_t k,
                        int64_t steps)
{
    const int64_t depth = least(steps * PER, t->depth - k * PER);
    const V *a = (const V *)t->a + (t->ta ? k * PER * t->lda + first : first * t->lda + k * PER);
    if (t->ta) pack_columns(out, APART, a, t->lda, lines, depth, MR);
    for (int64_t l = 0; !t->ta && l < lines; l += MR, out += APART)
        pack_rows(out, a + l * t->lda, t->lda, least(MR, lines - l), depth, MR);
}

static void strip_of_b(E *out, const qp_tile *t, int64_t first, int64_t lines, int64_t k,
                       int64_t steps)
{
    const int64_t depth = least(steps * PER, t->depth - k * PER);
    const V *b = (const V *)t->b + (t->tb ? first * t->ldb + k * PER : k * PER * t->ldb + first);
    if (READS && t->w)
        strip_of_w(out, t, first, lines, k * PER, depth);
    else if (t->tb)
        pack_rows(out, b, t->ldb, lines, depth, NR);
    else
        pack_columns(out, 0, b, t->ldb, lines, depth, NR);
}

/* The same of a chain: what a tile's own steps do not fill `more` does. */
typedef void pack_fn(E *out, const qp_tile *t, int64_t first, int64_t lines, int64_t k,
                     int64_t steps);
static inline __attribute__((always_inline)) void chain(pack_fn *pack, const int width, E *out,
                                                        const qp_tile *t, int64_t first,
                                                        int64_t lines, int64_t k, int64_t steps)
{
    const int64_t own = steps_of(t), mine = least(steps, own - k);
    if (mine > 0) pack(out, t, first, lines, k, mine);
    if (mine >= steps) return;
    qp_tile more = *t->more;
    more.ta = t->ta;
    more.tb = t->tb;
    const int64_t done = mine > 0 ? mine : 0;
    pack(out + done * width, &more, first, lines, k + done - own, steps - done);
}

/* The block that is stored two blocks on: a line that comes from memory takes as long as a block.
   A step of the 15M shape is 3 % faster for it. */
static void fetch_end(const strip *s, int64_t i, int64_t rows)
{
    const qp_tile *t = s->t;
    const qp_finish *f = s->last ? t->finish : NULL;
    const size_t size = !f || f->wide ? sizeof(S) : sizeof(V);
    const int64_t ld = f ? f->ld : t->ldc;
    const char *y = (const char *)(f ? f->y : t->c);
    for (int64_t l = i; l < i + MR && l < rows; l++)
        for (size_t at = 0; at < NR * size; at += 64)
            __builtin_prefetch(y + (size_t)((s->i0 + l) * ld + s->j) * size + at, 1);
}

/* All columns of `rows` rows from i0 on, at step k; as many strips of B at once as fill L1, so
   that rows of a product of little depth are stored as they lie. */
static void rows_of_tile(strip s, int64_t rows, int64_t k)
{
    E *a = s.t->work, *b = a + A_BYTES / sizeof(E);
    const int64_t cols = s.t->cols, wide = (s.steps < STEPS ? STEPS / s.steps : 1) * NR;
    const int64_t size = (s.steps + (READS && s.t->w ? s.steps / SCALED : 0)) * NR;
    if (s.packed) chain(strips_of_a, MR, a, s.t, s.i0, rows, k, s.steps);
    s.a = s.packed ? (const V *)a : (const V *)s.t->a + s.i0 * s.t->lda + k * PER;
    for (int64_t j = 0; j < cols; j += wide) {
        const int64_t end = least(cols, j + wide);
        for (s.b = b, s.j = j; s.j < end; s.j += NR)
            chain(strip_of_b, NR, b + (s.j - j) / NR * size, s.t, s.j, least(NR, end - s.j), k,
                  s.steps);
        for (int64_t i = 0; i < rows; i += MR)
            for (s.b = b, s.j = j; s.j < end; s.j += NR, s.b += size) {
                fetch_end(&s, i + 2 * MR, rows);
                one(&s, i, least(MR, rows - i), least(NR, end - s.j));
            }
    }
}

static void multiply(const qp_tile *t)
{
    enum { EVEN = 32 / PER };
    /* A packed line of A serves all columns: where those are one strip, it is used where it lies.
       x a^T of LoRA in bf16, 2,048 deep and 576: 370 to 660 and 385 to 770 GFLOP/s; f32 the same.
     */
    const bool thin = !t->ta && t->cols <= NR && t->depth % PER == 0 && !t->more;
    const int64_t steps = steps_of(t) + (t->more ? steps_of(t->more) : 0);
    const int64_t room = thin ? THIN_STEPS : STEPS, parts = (steps + room - 1) / room;
    const int64_t most = ((steps + parts - 1) / parts + EVEN - 1) / EVEN * EVEN; /* no short end */
    for (int64_t k = 0; k < steps; k += most) {
        strip s = { .t = t,
                    .steps = least(most, steps - k),
                    .add = t->add || k > 0,
                    .last = k + most >= steps };
        if (thin) rows_of_tile(s, t->rows / MR * MR, k);
        if (thin) s.i0 = t->rows / MR * MR;
        for (s.packed = true; s.i0 < t->rows; s.i0 += BLOCK_ROWS)
            rows_of_tile(s, least(BLOCK_ROWS, t->rows - s.i0), k);
    }
}

static int64_t tile_rows(int64_t left, int64_t cols, int64_t depth)
{
    (void)cols, (void)depth;
    return left; /* no count is special */
}
#endif
