/* A product of blocks that lie in cache, MR x NR vectors of the result at a time in registers.
   Every element of c is one chain of additions over k, first to last, from zero or from what c
   held: its bits depend neither on its place nor on how many rows and columns are computed with it.

   It multiplies elements E. An element is a value widened to R; or, where the CPU adds products of
   bf16 pairs to f32 (AVX512-BF16: twice as fast), two values that are neighbours along k, the
   earlier one low. H is half of such an element, or all of the other kind. */
#ifndef QP_AUTOGRAD_CPU_OUTER_H
#define QP_AUTOGRAD_CPU_OUTER_H
#include "autograd/cpu/kernel.h"
#include <stdbool.h>

/* The widest register of this build. */
#if defined __AVX512F__
#    define VEC_BYTES 64
#elif defined __AVX2__
#    define VEC_BYTES 32
#else
#    define VEC_BYTES 16
#endif
typedef R vec __attribute__((vector_size(VEC_BYTES), may_alias));
enum {
    VL = sizeof(vec) / sizeof(R),
    MR = VEC_BYTES == 64 ? 8 : 4, /* 32 registers, else 16 */
    NR = 2,
    WIDE = 3,
};

#if defined QP_T_BF16 && defined __AVX512BF16__
#    include <immintrin.h>
enum { PAIR = 2 };
typedef T H;
typedef uint32_t E __attribute__((may_alias));
typedef __m512i evec;
static inline H take(T v) { return v; }
static inline E two(H low, H high) { return low | (uint32_t)high << 16; }
static inline E both(const T *v)
{
    E x;
    memcpy(&x, v, sizeof x);
    return x;
}
static inline vec madd(vec sum, E a, evec b)
{
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32((int)a), (__m512bh)b);
}
/* The same where a row sees `seen` of the element's values; the sum alone where it sees none. No
   masked product: gcc 12 may keep eight of such a mask's sixteen bits, and drop half the lanes. */
static inline vec madd_seen(vec sum, E a, evec b, int64_t seen)
{
    const __m512i own = _mm512_and_si512(b, _mm512_set1_epi32(seen > 1 ? -1 : 0xffff));
    return seen > 0 ? madd(sum, a, own) : sum;
}
/* VL values to halves, and two times VL values to elements. */
static inline void cut(H *to, vec v)
{
    _mm256_storeu_si256((void *)to, (__m256i)_mm512_cvtneps_pbh((__m512)v));
}
static inline evec join(vec low, vec high)
{
    const __m512i l = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)low));
    const __m512i h = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)high));
    return _mm512_or_si512(l, _mm512_slli_epi32(h, 16));
}
#else
enum { PAIR = 1 };
typedef R H;
typedef R E;
typedef vec evec;
static inline H take(T v) { return LD(v); }
static inline E two(H low, H high) { return (void)high, low; }
static inline E both(const T *v) { return take(*v); }
static inline vec madd(vec sum, E a, evec b) { return sum + a * b; }
static inline vec madd_seen(vec sum, E a, evec b, int64_t seen)
{
    return seen > 0 ? madd(sum, a, b) : sum;
}
static inline void cut(H *to, vec v) { *(vec *)to = v; }
static inline evec join(vec low, vec high) { return (void)high, low; }
#endif

/* a is read element by element at any strides; b's and c's rows are whole aligned vectors. With
   fewer than MR rows the last is computed again in the place of those that are not there: that is
   as fast as all of them, where one row alone would wait for each of its sums. */
static inline __attribute__((always_inline)) void
outer_block(int nr, R *c, int64_t c_row, int64_t rows, const E *a, int64_t a_row, int64_t a_k,
            const E *b, int64_t b_row, int64_t kn, bool add)
{
    vec sum[MR][WIDE];
    int64_t at[MR];
#pragma GCC unroll 8
    for (int i = 0; i < MR; i++) {
        at[i] = (i < rows ? i : rows - 1) * a_row;
#pragma GCC unroll 8
        for (int j = 0; j < nr; j++)
            sum[i][j] = add && i < rows ? ((const vec *)(c + i * c_row))[j] : (vec){ 0 };
    }
    for (int64_t k = 0; k < kn; k++) {
        const evec *bk = (const evec *)(b + k * b_row);
#pragma GCC unroll 8
        for (int i = 0; i < MR; i++) {
            const E x = a[at[i] + k * a_k];
#pragma GCC unroll 8
            for (int j = 0; j < nr; j++) sum[i][j] = madd(sum[i][j], x, bk[j]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < MR; i++)
#pragma GCC unroll 8
        for (int j = 0; j < nr; j++)
            if (i < rows) ((vec *)(c + i * c_row))[j] = sum[i][j];
}

/* One block of columns, all rows. */
static inline __attribute__((always_inline)) void
outer_columns(int nr, R *c, int64_t c_row, int64_t rows, const E *a, int64_t a_row, int64_t a_k,
              const E *b, int64_t b_row, int64_t kn, bool add)
{
    int64_t i = 0;
    for (; i + MR <= rows; i += MR)
        outer_block(nr, c + i * c_row, c_row, MR, a + i * a_row, a_row, a_k, b, b_row, kn, add);
    if (i < rows)
        outer_block(nr, c + i * c_row, c_row, rows - i, a + i * a_row, a_row, a_k, b, b_row, kn,
                    add);
}

/* c (rows, cols) = [c +] a (rows, kn) . b (kn, cols), kn in elements; cols is a multiple of VL. An
   odd number of vectors ends in three at once (heads of 48: 7 % of backward). */
static inline void outer(R *c, int64_t c_row, int64_t rows, int64_t cols, const E *a, int64_t a_row,
                         int64_t a_k, const E *b, int64_t b_row, int64_t kn, bool add)
{
    for (; cols > WIDE * VL || cols == NR * VL; c += NR * VL, b += NR * VL, cols -= NR * VL)
        outer_columns(NR, c, c_row, rows, a, a_row, a_k, b, b_row, kn, add);
    if (cols == WIDE * VL) outer_columns(WIDE, c, c_row, rows, a, a_row, a_k, b, b_row, kn, add);
    if (cols == VL) outer_columns(1, c, c_row, rows, a, a_row, a_k, b, b_row, kn, add);
}

/* One element of k: c (rows, cols) += a (rows) . b (cols) where row i sees seen[i] - from of its
   values. rows <= MR. */
static inline void outer_seen(R *c, int64_t c_row, int64_t rows, int64_t cols, const E *a,
                              const E *b, const int64_t *seen, int64_t from)
{
    for (int64_t i = 0; i < rows; i++) {
        vec *ci = (vec *)(c + i * c_row);
        for (int64_t j = 0; j < cols / VL; j++)
            ci[j] = madd_seen(ci[j], a[i], ((const evec *)b)[j], seen[i] - from);
    }
}
#endif
