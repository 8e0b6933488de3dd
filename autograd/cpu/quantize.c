#include "autograd/quantize.h"
#include <float.h>
#include <math.h>
#include <stdbool.h>

/* Dettmers et al. 2023, appendix E. */
const float qp_nf4_levels[16] = {
    -1.0f,
    -0.6961928009986877f,
    -0.5250730514526367f,
    -0.39491748809814453f,
    -0.28444138169288635f,
    -0.18477343022823334f,
    -0.09105003625154495f,
    0.0f,
    0.07958029955625534f,
    0.16093020141124725f,
    0.24611230194568634f,
    0.33791524171829224f,
    0.44070982933044434f,
    0.5626170039176941f,
    0.7229568362236023f,
    1.0f,
};

/* A decade from 0.1 s to s holds n values, the middles of n even steps. The steps' edges are
   rounded to f32 once, the lower half counted from below and the upper from above, as
   torch.linspace does: then all 256 values are bitsandbytes' to the bit. */
#define STEP(n) ((double)(0.9f / (float)(n)))
#define EDGE(n, p)                                                                                 \
    ((float)((p) < ((n) + 1) / 2 ? (double)0.1f + STEP(n) * (p) : 1 - STEP(n) * ((n) - (p))))
#define VALUE(s, n, p) ((s) * ((EDGE(n, p) + EDGE(n, (p) + 1)) / 2))
/* Values p .. p+m-1 ascending, and their negatives ascending. */
#define UP1(s, n, p) VALUE(s, n, p),
#define UP2(s, n, p) UP1(s, n, p) UP1(s, n, (p) + 1)
#define UP4(s, n, p) UP2(s, n, p) UP2(s, n, (p) + 2)
#define UP8(s, n, p) UP4(s, n, p) UP4(s, n, (p) + 4)
#define UP16(s, n, p) UP8(s, n, p) UP8(s, n, (p) + 8)
#define UP32(s, n, p) UP16(s, n, p) UP16(s, n, (p) + 16)
#define UP64(s, n, p) UP32(s, n, p) UP32(s, n, (p) + 32)
#define DOWN1(s, n, p) -VALUE(s, n, p),
#define DOWN2(s, n, p) DOWN1(s, n, (p) + 1) DOWN1(s, n, p)
#define DOWN4(s, n, p) DOWN2(s, n, (p) + 2) DOWN2(s, n, p)
#define DOWN8(s, n, p) DOWN4(s, n, (p) + 4) DOWN4(s, n, p)
#define DOWN16(s, n, p) DOWN8(s, n, (p) + 8) DOWN8(s, n, p)
#define DOWN32(s, n, p) DOWN16(s, n, (p) + 16) DOWN16(s, n, p)
#define DOWN64(s, n, p) DOWN32(s, n, (p) + 32) DOWN32(s, n, p)

/* clang-format off */
const float qp_dynamic8_code[256] = {
    DOWN64(1.0f, 64, 0) DOWN32(1e-1f, 32, 0) DOWN16(1e-2f, 16, 0) DOWN8(1e-3f, 8, 0)
    DOWN4(1e-4f, 4, 0) DOWN2(1e-5f, 2, 0) DOWN1(1e-6f, 1, 0)
    0.0f,
    UP1(1e-6f, 1, 0) UP2(1e-5f, 2, 0) UP4(1e-4f, 4, 0)
    UP8(1e-3f, 8, 0) UP16(1e-2f, 16, 0) UP32(1e-1f, 32, 0) UP64(1.0f, 64, 0)
    1.0f,
};
/* clang-format on */

/* How many middles between neighbouring values lie below x: its nearest value's index. `count` is a
   power of two. The sum of two f32 is exact in f64, so a middle is met exactly. NaN: 0. Masked, not
   chosen: branches cannot be foretold here and took three times as long. */
static inline int nearest(const float *value, int count, float x)
{
    int at = 0;
    for (int half = count / 2; half; half /= 2)
        at += half & -(2.0 * (double)x > (double)value[at + half - 1] + (double)value[at + half]);
    return at;
}

static float absmax_of(const float *x, int64_t n)
{
    float most = 0;
    bool finite = true;
    for (int64_t i = 0; i < n; i++) {
        float size = fabsf(x[i]);
        most = size > most ? size : most;
        finite &= size <= FLT_MAX;
    }
    return finite ? most : NAN;
}

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* What to divide a block by. */
static inline float divisor(float absmax) { return absmax == 0 ? 1 : absmax; }

/* Blocks to a parallel loop: below this many values a team of threads costs more than it saves. */
enum { GRAIN = 1 << 15 };

void qp_nf4_encode(uint8_t *packed, float *absmax, const float *x, int64_t n)
{
#pragma omp parallel for schedule(static) if (n > GRAIN)
    for (int64_t b = 0; b < qp_blocks(n, QP_NF4_BLOCK); b++) {
        const float *in = x + b * QP_NF4_BLOCK;
        int64_t len = least(n - b * QP_NF4_BLOCK, QP_NF4_BLOCK);
        uint8_t *out = packed + b * (QP_NF4_BLOCK / 2);
        float by = divisor(absmax[b] = absmax_of(in, len));
        for (int64_t i = 0; i < len; i += 2) {
            int high = nearest(qp_nf4_levels, 16, in[i] / by);
            int low = i + 1 < len ? nearest(qp_nf4_levels, 16, in[i + 1] / by) : 0;
            out[i / 2] = (uint8_t)(high << 4 | low);
        }
    }
}

/* absmax is that of the block in which `first` lies. */
static void nf4_decode(float *y, const uint8_t *packed, const float *absmax, int64_t first,
                       int64_t n)
{
    int64_t b0 = first / QP_NF4_BLOCK;
    for (int64_t i = 0; i < n; i++) {
        int64_t e = first + i;
        int code = packed[e / 2] >> (e % 2 ? 0 : 4) & 15;
        y[i] = qp_nf4_levels[code] * absmax[e / QP_NF4_BLOCK - b0];
    }
}

void qp_nf4_decode(float *y, const uint8_t *packed, const float *absmax, int64_t first, int64_t n)
{
    nf4_decode(y, packed, absmax + first / QP_NF4_BLOCK, first, n);
}

void qp_nf4_decode8(float *y, const uint8_t *packed, const qp_absmax8 *a, int64_t first, int64_t n)
{
    enum { BLOCKS = 32 };
    float absmax[BLOCKS];
    for (int64_t done = 0, take; done < n; done += take) {
        int64_t e = first + done, block = e / QP_NF4_BLOCK;
        take = least(n - done, (block + BLOCKS) * QP_NF4_BLOCK - e);
        qp_absmax8_decode(absmax, a, block, (e + take - 1) / QP_NF4_BLOCK - block + 1);
        nf4_decode(y + done, packed, absmax, e, take);
    }
}

/* A block that is not finite has no integers: x / NaN is NaN, which has none either. */
void qp_int8_encode(int8_t *q, float *absmax, const float *x, int64_t n)
{
#pragma omp parallel for schedule(static) if (n > GRAIN)
    for (int64_t b = 0; b < qp_blocks(n, QP_INT8_BLOCK); b++) {
        int64_t from = b * QP_INT8_BLOCK, to = least(n, from + QP_INT8_BLOCK);
        float by = divisor(absmax[b] = absmax_of(x + from, to - from));
        for (int64_t i = from; i < to; i++)
            q[i] = isnan(by) ? 0 : (int8_t)rintf(x[i] / by * 127.0f);
    }
}

void qp_int8_decode(float *y, const int8_t *q, const float *absmax, int64_t first, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = (float)q[first + i] * (absmax[(first + i) / QP_INT8_BLOCK] / 127.0f);
}

void qp_dynamic8_encode(uint8_t *q, float *absmax, const float *x, int64_t n)
{
#pragma omp parallel for schedule(static) if (n > GRAIN)
    for (int64_t b = 0; b < qp_blocks(n, QP_DYNAMIC8_BLOCK); b++) {
        int64_t from = b * QP_DYNAMIC8_BLOCK, to = least(n, from + QP_DYNAMIC8_BLOCK);
        float by = divisor(absmax[b] = absmax_of(x + from, to - from));
        for (int64_t i = from; i < to; i++)
            q[i] = (uint8_t)nearest(qp_dynamic8_code, 256, x[i] / by);
    }
}

void qp_dynamic8_decode(float *y, const uint8_t *q, const float *absmax, int64_t first, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = qp_dynamic8_code[q[first + i]] * absmax[(first + i) / QP_DYNAMIC8_BLOCK];
}

/* The mean is summed in f64: 10^9 blocks lose nothing that f32 would show. */
void qp_absmax8_encode(qp_absmax8 *a, float *absmax, int64_t m)
{
    double sum = 0;
    for (int64_t i = 0; i < m; i++) sum += (double)absmax[i];
    a->offset = m ? (float)(sum / (double)m) : 0;
    for (int64_t i = 0; i < m; i++) absmax[i] -= a->offset;
    qp_dynamic8_encode(a->q, a->absmax2, absmax, m);
}

/* The product is rounded to f32 before the sum, on machines with a fused multiply-add too. */
void qp_absmax8_decode(float *absmax, const qp_absmax8 *a, int64_t first, int64_t m)
{
    for (int64_t i = 0; i < m; i++) {
        int64_t e = first + i;
        double product =
            (double)qp_dynamic8_code[a->q[e]] * (double)a->absmax2[e / QP_DYNAMIC8_BLOCK];
        absmax[i] = (float)product + a->offset;
    }
}
