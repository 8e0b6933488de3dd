#include "autograd/cpu/weight.h"
#include "autograd/cpu/quant.h"
#include "base/err.h"

/* Values pass through f32 in pieces that stay in L1. Only f64 to f64 does not: f32 holds every
 * other storage exactly. */
enum { PIECE = 1024 };

static void from_f64(void *dst, qp_storage to, const double *src, int64_t n)
{
    double *d64 = dst;
    float *d32 = dst;
    uint16_t *d16 = dst;
    switch (to) {
    case QP_F64:
        memcpy(d64, src, (size_t)n * sizeof *d64);
        return;
    case QP_F32:
        for (int64_t i = 0; i < n; i++) d32[i] = (float)src[i];
        return;
    case QP_BF16:
        for (int64_t i = 0; i < n; i++) d16[i] = qp_to_bf16((float)src[i]);
        return;
    case QP_F16:
        for (int64_t i = 0; i < n; i++) d16[i] = qp_to_f16((float)src[i]);
        return;
    default:
        QP_ASSERT(false, "no conversion to %s", qp_storages[to].name);
    }
}

static void from_f32(void *dst, qp_storage to, const float *src, int64_t n)
{
    double *d64 = dst;
    uint16_t *d16 = dst;
    switch (to) {
    case QP_F64:
        for (int64_t i = 0; i < n; i++) d64[i] = (double)src[i];
        return;
    case QP_F32:
        memcpy(dst, src, (size_t)n * sizeof *src);
        return;
    case QP_BF16:
        for (int64_t i = 0; i < n; i++) d16[i] = qp_to_bf16(src[i]);
        return;
    case QP_F16:
        for (int64_t i = 0; i < n; i++) d16[i] = qp_to_f16(src[i]);
        return;
    default:
        QP_ASSERT(false, "no conversion to %s", qp_storages[to].name);
    }
}

static const char *at(const void *base, qp_storage s, int64_t element)
{
    return (const char *)base + qp_storage_bytes(s, element);
}

/* n values from element `first` of src; first and n may cut blocks. */
static void convert(void *dst, qp_storage to, const void *src, qp_storage from, int64_t first,
                    int64_t n)
{
    if (from == to && qp_storages[to].block == 1) {
        memcpy(dst, at(src, from, first), qp_storage_bytes(to, n));
    } else if (from == QP_F64) {
        from_f64(dst, to, (const double *)src + first, n);
    } else if (to == QP_F32 && qp_storages[from].block == 1) {
        qp_dequant(dst, from, at(src, from, first), n);
    } else {
        float piece[PIECE];
        int64_t block = qp_storages[from].block, lead = first % block;
        for (int64_t done = 0; done < n; lead = 0) {
            int64_t take = n - done < PIECE - lead ? n - done : PIECE - lead;
            int64_t whole = (lead + take + block - 1) / block * block;
            qp_dequant(piece, from, at(src, from, first + done - lead), whole);
            from_f32((char *)dst + qp_storage_bytes(to, done), to, piece + lead, take);
            done += take;
        }
    }
}

void qp_weight_panel(void *dst, qp_storage to, int64_t ld, const qp_tensor *w, int64_t r0,
                     int64_t rows, int64_t k0, int64_t cols)
{
    int64_t k = qp_cols(w);
    QP_ASSERT(to < QP_NCOMPUTE && r0 >= 0 && k0 >= 0 && r0 + rows <= qp_rows(w) && k0 + cols <= k,
              "panel of rows %ld+%ld, columns %ld+%ld", (long)r0, (long)rows, (long)k0, (long)cols);
    for (int64_t i = 0; i < rows; i++)
        convert((char *)dst + qp_storage_bytes(to, i * ld), to, w->data, w->storage,
                (r0 + i) * k + k0, cols);
}

const void *qp_weight_direct(const qp_tensor *w, qp_storage to, int64_t r0)
{
    return w->storage == to ? at(w->data, to, r0 * qp_cols(w)) : NULL;
}

void qp_weight_convert(void *dst, qp_storage to, const void *src, qp_storage from, int64_t n)
{
    enum { STEP = 1 << 16 };
#pragma omp parallel for schedule(static) if (n > STEP)
    for (int64_t i = 0; i < n; i += STEP)
        convert((char *)dst + qp_storage_bytes(to, i), to, src, from, i,
                n - i < STEP ? n - i : STEP);
}
