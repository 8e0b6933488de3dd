/* Stored values to T, for this instruction set: a weight that is unpacked panel by panel, for every
   block of rows that it is multiplied with, would otherwise take as long as the product. */
#include "autograd/cpu/dispatch.h"
#include "autograd/cpu/kernel.h"
#include "base/err.h"

enum {
    BLOCK = 32, /* of the block types */
    HALF = BLOCK / 2,
    PIECE = 1024, /* f32 values between two conversions: they stay in L1 */
};

static inline float half_at(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return qp_from_f16(h);
}

/* d * (nibble - 8): the low nibbles are the block's first half, the high ones the second. */
static void from_q4_0(float *y, const uint8_t *x, int64_t n)
{
    for (int64_t i = 0; i < n; i += BLOCK, x += 2 + HALF) {
        float d = half_at(x);
        for (int j = 0; j < HALF; j++) {
            y[i + j] = (float)((x[2 + j] & 15) - 8) * d;
            y[i + j + HALF] = (float)((x[2 + j] >> 4) - 8) * d;
        }
    }
}

/* d * nibble + m; the product is exact in f32 (4 x 11 bits), so a fused multiply-add gives the
 * same. */
static void from_q4_1(float *y, const uint8_t *x, int64_t n)
{
    for (int64_t i = 0; i < n; i += BLOCK, x += 4 + HALF) {
        float d = half_at(x), m = half_at(x + 2);
        for (int j = 0; j < HALF; j++) {
            y[i + j] = (float)(x[4 + j] & 15) * d + m;
            y[i + j + HALF] = (float)(x[4 + j] >> 4) * d + m;
        }
    }
}

static void from_q8_0(float *y, const uint8_t *x, int64_t n)
{
    for (int64_t i = 0; i < n; i += BLOCK, x += 2 + BLOCK) {
        float d = half_at(x);
        for (int j = 0; j < BLOCK; j++) y[i + j] = (float)(int8_t)x[2 + j] * d;
    }
}

static void from_f16(float *y, const uint16_t *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] = qp_from_f16(x[i]);
}

static void from_f64(T *y, const double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] = ST((R)x[i]);
}

static void from_f32(T *y, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] = ST((R)x[i]);
}

static void from_bf16(T *y, const uint16_t *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] = ST((R)qp_from_bf16(x[i]));
}

/* The rest by way of f32, which holds all their values. */
static void unpack(float *y, qp_storage from, const void *x, int64_t n)
{
    if (from == QP_F16) from_f16(y, x, n);
    if (from == QP_Q4_0) from_q4_0(y, x, n);
    if (from == QP_Q4_1) from_q4_1(y, x, n);
    if (from == QP_Q8_0) from_q8_0(y, x, n);
}

static void by_pieces(T *y, qp_storage from, const char *x, int64_t first, int64_t n)
{
    float piece[PIECE];
    int64_t block = qp_storages[from].block, lead = first % block;
    for (int64_t done = 0, take; done < n; done += take, lead = 0) {
        take = n - done < PIECE - lead ? n - done : PIECE - lead;
        unpack(piece, from, x + qp_storage_bytes(from, first + done - lead),
               (lead + take + block - 1) / block * block);
        from_f32(y + done, piece + lead, take);
    }
}

qp_convert_fn K(convert);
void K(convert)(void *y, const void *x, qp_storage from, int64_t first, int64_t n)
{
    QP_ASSERT(from <= QP_Q8_0, "no values in storage %s", qp_storages[from].name);
    if (from == QP_T)
        memcpy(y, (const T *)x + first, (size_t)n * sizeof(T));
    else if (from == QP_F64)
        from_f64(y, (const double *)x + first, n);
    else if (from == QP_F32)
        from_f32(y, (const float *)x + first, n);
    else if (from == QP_BF16)
        from_bf16(y, (const uint16_t *)x + first, n);
    else
        by_pieces(y, from, x, first, n);
}
