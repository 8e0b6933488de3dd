/* bf16 tiles with f32 sums by AMX. One instruction takes sixteen rows of A, sixteen columns of B
   and 32 values of the depth in sixteen cycles. What the instruction gives, measured on two cores
   of 6,800 GFLOP/s: with operands from L1 that peak, from L2 78 %, from L3 13 %; oneDNN 2.6.3,
   which rearranges B for every call, reaches 13 to 20 %, tiles laid out beforehand and blocked
   naively 37
   %. This file's own rate has not been measured on such a CPU: its bits are tested over emulated
   tiles.

   So a block of A stays in L2 and strips of B pass it. A strip is turned into tiles while the one
   before is multiplied, a step at a time between the instructions, and its memory is asked for
   before that; the first strip's products do the same for A. Sums stay in four tiles over the whole
   depth of a block. Turning costs 27 us of a core's time for a strip's worth of 512 x 1024 from
   cache; the products of that with 512 rows take 158.

   A row's bits depend on nothing beside it: each element is one chain of steps, and rows and
   columns that are missing in a tile are zeros. */
#include "autograd/cpu/amx.h"
#include "autograd/cpu/product.h"
#include <string.h>

enum { SIDE = 16, PAIR = 2 * SIDE, DEEP = 32, TILE = SIDE * DEEP }; /* values */
enum { ROWS = 512, COLS = 512, DEPTH = 1024, WIDE = 4, STRIP = DEPTH * WIDE * SIDE };
enum { AHEAD = 8 }; /* steps from asking for a part of a strip to turning it */
_Static_assert((ROWS * DEPTH + 2 * STRIP) * 2 <= QP_PACK_BYTES, "a block of A, two strips of B");

typedef uint16_t V;
typedef uint32_t E; /* two values, the earlier in the low half */

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Rows of A or columns of B, over a part of the depth. `turned`: stored as (depth, lines). */
typedef struct {
    const V *in;
    int64_t ld, lines, depth;
    bool turned;
} operand;

static const V *at(const operand *m, int64_t line, int64_t k)
{
    return m->in + (m->turned ? k * m->ld + line : line * m->ld + k);
}

/* Sixteen lines and 32 values of the depth where they are; or their copy, zeros beyond the edge. */
static const V *whole(const operand *m, int64_t line, int64_t k, V *pad, int64_t *ld)
{
    int64_t lines = least(SIDE, m->lines - line), depth = least(DEEP, m->depth - k);
    *ld = m->ld;
    if (lines == SIDE && depth == DEEP) return at(m, line, k);
    *ld = m->turned ? SIDE : DEEP;
    memset(pad, 0, TILE * sizeof *pad);
    for (int64_t i = 0; i < (m->turned ? depth : lines); i++)
        memcpy(pad + i * *ld, at(m, line, k) + i * m->ld,
               (size_t)(m->turned ? lines : depth) * sizeof *pad);
    return pad;
}

typedef E row __attribute__((vector_size(64)));
typedef E row_loose __attribute__((vector_size(64), aligned(2), may_alias));
#if __has_builtin(__builtin_shufflevector)
#    define MIX(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#    define MIX(a, b, ...) __builtin_shuffle(a, b, (row){ __VA_ARGS__ })
#endif
#define LANES(f, d)                                                                                \
    f(0, d), f(1, d), f(2, d), f(3, d), f(4, d), f(5, d), f(6, d), f(7, d), f(8, d), f(9, d),      \
        f(10, d), f(11, d), f(12, d), f(13, d), f(14, d), f(15, d)
#define UPPER(lane, d) (((lane) & (d)) ? 16 + (lane) - (d) : (lane))
#define LOWER(lane, d) (((lane) & (d)) ? 16 + (lane) : (lane) + (d))
/* Of every square of 2d x 2d: its upper right and lower left quarters change places. */
#define SWAP_QUARTERS(r, d)                                                                        \
    for (int i = 0; i < SIDE; i++)                                                                 \
        if (!(i & (d))) {                                                                          \
            row upper = (r)[i], lower = (r)[i + (d)];                                              \
            (r)[i] = MIX(upper, lower, LANES(UPPER, d));                                           \
            (r)[i + (d)] = MIX(upper, lower, LANES(LOWER, d));                                     \
        }

/* out[i][j] = in[j][i] of 16 x 16 pairs. */
static inline void transpose(E *out, const V *in, int64_t ld)
{
    row r[SIDE];
    for (int i = 0; i < SIDE; i++) r[i] = *(const row_loose *)(in + i * ld);
    SWAP_QUARTERS(r, 8)
    SWAP_QUARTERS(r, 4)
    SWAP_QUARTERS(r, 2)
    SWAP_QUARTERS(r, 1)
    for (int i = 0; i < SIDE; i++) *(row_loose *)(out + i * SIDE) = r[i];
}

/* out[i][j] = the pair in[2i][j], in[2i + 1][j]. */
static inline void interleave(E *out, const V *in, int64_t ld)
{
    for (int i = 0; i < SIDE; i++, in += 2 * ld, out += SIDE)
        for (int j = 0; j < SIDE; j++) out[j] = in[j] | (E)in[ld + j] << 16;
}

/* A tile of A: [line][pair]. */
static void tile_of_a(E *out, const operand *m, int64_t line, int64_t k)
{
    V pad[TILE];
    E pairs[TILE / 2];
    int64_t ld;
    const V *in = whole(m, line, k, pad, &ld);
    if (m->turned) {
        interleave(pairs, in, ld);
        transpose(out, (const V *)pairs, DEEP);
    } else {
        for (int i = 0; i < SIDE; i++) memcpy(out + i * SIDE, in + i * ld, DEEP * sizeof *in);
    }
}

/* A tile of B: [pair][line]. */
static void tile_of_b(E *out, const operand *m, int64_t line, int64_t k)
{
    V pad[TILE];
    int64_t ld;
    const V *in = whole(m, line, k, pad, &ld);
    if (m->turned)
        interleave(out, in, ld);
    else
        transpose(out, in, ld);
}

/* A strip of WIDE tiles side by side, of A or of B, that is being made: a step of the depth at a
   time, one after `every` steps of the products. Tiles stand as [step][line / 16]. */
typedef struct {
    void (*make)(E *out, const operand *m, int64_t line, int64_t k);
    const operand *m;
    int64_t wide, line, step, steps, wait, every;
    E *out;
} feed;

/* Inline, since gcc deletes calls of functions that do nothing but prefetch. */
static inline __attribute__((always_inline)) void ask_for(const operand *m, int64_t line,
                                                          int64_t lines, int64_t k)
{
    if (line >= m->lines || k >= m->depth) return;
    int64_t n = m->turned ? least(DEEP, m->depth - k) : least(lines, m->lines - line);
    for (int64_t i = 0; i < n; i++) {
        const V *in = at(m, line, k) + i * m->ld;
        __builtin_prefetch(in, 0, 2);
        for (int64_t l = 32; m->turned && l < lines; l += 32) __builtin_prefetch(in + l, 0, 2);
    }
}

static void next_step(feed *f)
{
    int64_t ahead = f->step + AHEAD, next = ahead / f->steps, lines = f->wide * SIDE;
    ask_for(f->m, f->line + next * lines, lines, ahead % f->steps * DEEP);
    for (int w = 0; w < f->wide; w++)
        if (f->line + w * SIDE < f->m->lines)
            f->make(f->out + (f->wide * f->step + w) * (TILE / 2), f->m, f->line + w * SIDE,
                    f->step * DEEP);
    f->wait = ++f->step < f->steps ? f->every : INT64_MAX;
}

static void begin(feed *f, int64_t line, E *out, int64_t every)
{
    bool any = line < f->m->lines;
    f->line = line, f->out = out, f->every = every;
    f->step = any ? 0 : f->steps;
    f->wait = any ? 1 : INT64_MAX;
}

static void end(feed *f)
{
    while (f->step < f->steps) next_step(f);
}

/* Two tiles side by side: the first, bytes from row to row, values from step to step, and to the
   second. */
typedef struct {
    const V *tile;
    int64_t stride, step, second;
} pair;

/* c (16h, 16w) = (add ? c : 0) + a b; h and w are 1 or 2. */
static inline __attribute__((always_inline)) void sweep(const int h, const int w, const pair *a,
                                                        const pair *b, float *c, int64_t ldc,
                                                        bool add, feed *fa, feed *fb)
{
    const V *a0 = a->tile, *a1 = a0 + a->second, *b0 = b->tile;
    const int64_t stride = a->stride, steps = fb->steps, line = ldc * 4;
    const int64_t a_step = a->step, b_step = b->step;
    float *below = c + SIDE * ldc;
    if (add) {
        qp_amx_load(0, c, line);
        if (w == 2) qp_amx_load(1, c + SIDE, line);
        if (h == 2) qp_amx_load(2, below, line);
        if (h == 2 && w == 2) qp_amx_load(3, below + SIDE, line);
    } else {
        qp_amx_zero(0);
        qp_amx_zero(1);
        qp_amx_zero(2);
        qp_amx_zero(3);
    }
    for (int64_t k = 0; k < steps; k++, a0 += a_step, a1 += a_step, b0 += b_step) {
        qp_amx_load(4, a0, stride);
        qp_amx_load(6, b0, 64);
        qp_amx_dot(0, 4, 6);
        if (w == 2) qp_amx_load(7, b0 + TILE, 64);
        if (w == 2) qp_amx_dot(1, 4, 7);
        if (h == 2) qp_amx_load(5, a1, stride);
        if (h == 2) qp_amx_dot(2, 5, 6);
        if (h == 2 && w == 2) qp_amx_dot(3, 5, 7);
        if (--fa->wait == 0) next_step(fa);
        if (--fb->wait == 0) next_step(fb);
    }
    qp_amx_store(0, c, line);
    if (w == 2) qp_amx_store(1, c + SIDE, line);
    if (h == 2) qp_amx_store(2, below, line);
    if (h == 2 && w == 2) qp_amx_store(3, below + SIDE, line);
}

/* The same for any rows and columns up to 32. What fills no tiles is summed elsewhere. */
static void corner(const pair *a, const pair *b, float *c, int64_t ldc, bool add, feed *fa,
                   feed *fb, int64_t rows, int64_t cols)
{
    float square[4 * SIDE * SIDE];
    const bool inside = rows % SIDE == 0 && cols % SIDE == 0;
    float *to = inside ? c : square;
    int64_t ld = inside ? ldc : 2 * SIDE;
    if (!inside && add) memset(square, 0, sizeof square);
    for (int64_t i = 0; !inside && add && i < rows; i++)
        memcpy(to + i * ld, c + i * ldc, (size_t)cols * sizeof *c);
    if (rows > SIDE && cols > SIDE)
        sweep(2, 2, a, b, to, ld, add, fa, fb);
    else if (rows > SIDE)
        sweep(2, 1, a, b, to, ld, add, fa, fb);
    else if (cols > SIDE)
        sweep(1, 2, a, b, to, ld, add, fa, fb);
    else
        sweep(1, 1, a, b, to, ld, add, fa, fb);
    for (int64_t i = 0; !inside && i < rows; i++)
        memcpy(c + i * ldc, to + i * ld, (size_t)cols * sizeof *c);
}

/* Tiles can be loaded from A itself where its rows begin at cache lines, and not all in the same
   few sets of the cache. */
static bool loadable(const operand *a)
{
    const int64_t stride = a->ld * 2;
    return !a->turned && a->depth % DEEP == 0 && (uintptr_t)a->in % 64 == 0 && stride % 64 == 0 &&
           stride % 4096 != 0;
}

static pair in_place(const operand *a, int64_t line)
{
    return (pair){ at(a, line, 0), a->ld * 2, DEEP, SIDE * a->ld };
}

static pair packed(const E *strip, int64_t wide, int64_t line)
{
    return (pair){ (const V *)strip + line / SIDE * TILE, 64, wide * TILE, TILE };
}

/* At most ROWS rows and DEPTH of the depth. The first strip's products make the rest of A as well.
 */
static void block(const operand *a, const operand *b, float *c, int64_t ldc, bool add, E *work)
{
    const int64_t steps = (a->depth + DEEP - 1) / DEEP, pairs = (a->lines + PAIR - 1) / PAIR;
    const int64_t loads = loadable(a) ? a->lines / PAIR * PAIR : 0; /* rows that need no packing */
    E *of_a = work, *strip[] = { work + ROWS * DEPTH / 2, work + (ROWS * DEPTH + STRIP) / 2 };
    feed fa = { tile_of_a, a, .wide = 2, .steps = steps };
    feed fb = { tile_of_b, b, .wide = WIDE, .steps = steps };
    begin(&fa, loads ? a->lines : 0, of_a, 1), end(&fa);
    begin(&fb, 0, strip[0], 1), end(&fb);
    for (int64_t j = 0, s = 0; j < b->lines; j += WIDE * SIDE, s ^= 1) {
        begin(&fb, j + WIDE * SIDE, strip[s ^ 1], pairs * WIDE / 2);
        for (int64_t jj = j; jj < least(b->lines, j + WIDE * SIDE); jj += PAIR)
            for (int64_t i = 0; i < a->lines; i += PAIR) {
                E *mine = of_a + i * steps * SIDE, *next = mine + PAIR * steps * SIDE;
                if (jj == 0 && i + PAIR >= loads) begin(&fa, i + PAIR, next, 1);
                const pair rows = i < loads ? in_place(a, i) : packed(mine, 2, 0);
                const pair cols = packed(strip[s], WIDE, jj - j);
                corner(&rows, &cols, c + i * ldc + jj, ldc, add, &fa, &fb,
                       least(PAIR, a->lines - i), least(PAIR, b->lines - jj));
                end(&fa);
            }
        end(&fb);
    }
}

static operand part(const void *m, int64_t ld, bool turned, int64_t line, int64_t lines, int64_t k,
                    int64_t depth)
{
    const operand all = { m, ld, lines, depth, turned };
    return (operand){ at(&all, line, k), ld, lines, depth, turned };
}

/* Others in this process may use tiles of other shapes, and threads come and go: the configuration
   is loaded each time, some 20 ns. */
static void multiply(const qp_tile *t)
{
    qp_amx_config(&qp_amx_full);
    for (int64_t k = 0; k < t->depth; k += DEPTH) {
        const int64_t depth = least(DEPTH, t->depth - k);
        const operand b = part(t->b, t->ldb, !t->tb, 0, t->cols, k, depth);
        for (int64_t i = 0; i < t->rows; i += ROWS) {
            const operand a = part(t->a, t->lda, t->ta, i, least(ROWS, t->rows - i), k, depth);
            block(&a, &b, (float *)t->c + i * t->ldc, t->ldc, t->add || k > 0, t->work);
        }
    }
    qp_amx_release();
}

static int64_t tile_rows(int64_t left, int64_t cols, int64_t depth)
{
    (void)cols, (void)depth;
    return left; /* no count is special */
}

#define PRODUCT(title)                                                                             \
    {                                                                                              \
        .name = title, .in = QP_BF16, .out = QP_F32, .rows = ROWS, .unit = PAIR, .cols = COLS,     \
        .depth = DEPTH, .any_block = true, .tile_rows = tile_rows, .multiply = multiply            \
    }

#ifdef QP_AMX_EMULATED
const qp_product qp_amx_emulated = PRODUCT("emulated amx_bf16");
#else
const qp_product *qp_amx_bf16(void)
{
    static const qp_product p = PRODUCT("loop amx_bf16");
    return qp_amx_granted() ? &p : NULL;
}
#endif
