/* Packing for gemm_strips.h: lines of a matrix to strips, out[step][line], with zeros below the
   last line. Where lines are rows it is a transpose, else a copy. Where few rows or columns use
   what was packed it takes much of the time (a quarter at 64 rows), so it moves whole vectors:
   squares of WORDS x WORDS 4-byte E are turned in registers. Against plain loops, bf16 with
   AVX-512: products of 512 rows 730 to 860 GFLOP/s, of 64 rows 440 to 600; f32 no difference.

   The includer defines VECTOR, the bytes of one, besides what gemm_strips.h names. */
#ifndef QP_AUTOGRAD_CPU_GEMM_PACK_H
#define QP_AUTOGRAD_CPU_GEMM_PACK_H
#include <stdint.h>
#include <string.h>

enum { WORDS = VECTOR / 4 };
typedef uint32_t words __attribute__((vector_size(VECTOR)));
typedef uint32_t words_loose __attribute__((vector_size(VECTOR), aligned(2), may_alias));

#if VECTOR == 64
#    define EACH(f, s)                                                                             \
        f(0, s), f(1, s), f(2, s), f(3, s), f(4, s), f(5, s), f(6, s), f(7, s), f(8, s), f(9, s),  \
            f(10, s), f(11, s), f(12, s), f(13, s), f(14, s), f(15, s)
#elif VECTOR == 32
#    define EACH(f, s) f(0, s), f(1, s), f(2, s), f(3, s), f(4, s), f(5, s), f(6, s), f(7, s)
#else
#    define EACH(f, s) f(0, s), f(1, s), f(2, s), f(3, s)
#endif
#if __has_builtin(__builtin_shufflevector)
#    define MIX(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#    define MIX(a, b, ...) __builtin_shuffle(a, b, (words){ __VA_ARGS__ })
#endif
/* Lane l where two vectors trade every second run of s lanes. */
#define STAY(l, s) ((l) & (s) ? WORDS + (l) - (s) : (l))
#define MOVE(l, s) ((l) & (s) ? WORDS + (l) : (l) + (s))
/* Lane l where the first two (s = 0) or last two (s = 2) of every four lanes are interleaved: one
   instruction, where a trade of single lanes takes several. */
#define WEAVE(l, s) (((l) & ~3) + (s) + ((l)&3) / 2 + ((l)&1) * WORDS)
#define PAIRS(s, low, high)                                                                        \
    for (int i = 0; i < WORDS; i++)                                                                \
        if (!(i & (s))) {                                                                          \
            const words a = r[i], b = r[i + (s)];                                                  \
            r[i] = MIX(a, b, low);                                                                 \
            r[i + (s)] = MIX(a, b, high);                                                          \
        }

/* out[step][line] = in[line][step] for WORDS steps; of the lines `width` are written, those from
   `lines` on as zeros. */
static inline __attribute__((always_inline)) void
square(E *out, int64_t step, const V *in, int64_t ld, const int64_t lines, const int width)
{
    words r[WORDS];
    for (int i = 0; i < WORDS; i++)
        r[i] = i < lines ? (words) * (const words_loose *)(in + i * ld) : (words){ 0 };
    PAIRS(1, EACH(WEAVE, 0), EACH(WEAVE, 2))
    PAIRS(2, EACH(STAY, 2), EACH(MOVE, 2))
#if VECTOR >= 32
    PAIRS(4, EACH(STAY, 4), EACH(MOVE, 4))
#endif
#if VECTOR >= 64
    PAIRS(8, EACH(STAY, 8), EACH(MOVE, 8))
#endif
    for (int i = 0; i < WORDS; i++) {
        const words v = r[(i & ~3) | (i & 1) << 1 | (i & 2) >> 1]; /* weaving left them so */
        memcpy(out + i * step, &v, (size_t)width * sizeof(E));
    }
}

/* `lines` rows of `depth` values to one strip of `width` lines, a constant. */
static inline __attribute__((always_inline)) void
pack_rows(E *out, const V *in, int64_t ld, int64_t lines, int64_t depth, const int width)
{
    const int64_t full = depth / PER, steps = (depth + PER - 1) / PER;
    int64_t s = 0;
    for (; sizeof(E) == sizeof(uint32_t) && s + WORDS <= full; s += WORDS)
        for (int l = 0; l < width; l += WORDS) {
            const int some = width - l < WORDS ? width - l : WORDS;
            E *to = out + s * width + l;
            const V *from = in + l * ld + s * PER;
            if (lines - l >= some)
                square(to, width, from, ld, some, some);
            else
                square(to, width, from, ld, lines - l, some);
        }
    memset(out + s * width, 0, (size_t)((steps - s) * width) * sizeof(E));
    for (int64_t l = 0; l < lines && s < steps; l++) {
        for (int64_t i = s; i < full; i++)
            memcpy(out + i * width + l, in + l * ld + i * PER, sizeof(E));
        if (full < steps)
            memcpy(out + full * width + l, in + l * ld + full * PER,
                   (size_t)(depth % PER) * sizeof(V));
    }
}

/* The same of lines that are columns. A row of them is as long as the strips of a whole block, so
   that no row of the matrix is read twice: `count` strips, `apart` E from one to the next. */
static inline __attribute__((always_inline)) void pack_columns(E *out, int64_t apart, const V *in,
                                                               int64_t ld, int64_t lines,
                                                               int64_t depth, const int width)
{
    for (int64_t k = 0; k < depth; k += PER, in += PER * ld, out += width) {
        const int64_t values = depth - k < PER ? depth - k : PER;
        E *to = out;
        int64_t l = 0;
        for (; l + width <= lines; l += width, to += apart) turn(to, in + l, ld, values, width);
        if (l == lines) continue;
        turn(to, in + l, ld, values, lines - l);
        memset(to + (lines - l), 0, (size_t)(width - (lines - l)) * sizeof(E));
    }
}
#endif
