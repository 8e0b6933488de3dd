#include "autograd/cpu/weight.h"
#include "autograd/cpu/dispatch.h"
#include "autograd/cpu/quant.h"
#include "base/err.h"

static const char *at(const void *base, qp_storage s, int64_t element)
{
    return (const char *)base + qp_storage_bytes(s, element);
}

/* Nothing computes in f16: files have it, so it comes and goes by way of f32. */
static void to_f16(uint16_t *y, const void *x, qp_storage from, int64_t first, int64_t n)
{
    enum { PIECE = 1024 };
    float piece[PIECE];
    for (int64_t i = 0; i < n; i += PIECE) {
        int64_t some = n - i < PIECE ? n - i : PIECE;
        qp_converter(QP_F32)(piece, x, from, first + i, some);
        for (int64_t j = 0; j < some; j++) y[i + j] = qp_to_f16(piece[j]);
    }
}

/* n values from element `first` of x; first and n may cut blocks. */
static void convert(void *y, qp_storage to, const void *x, qp_storage from, int64_t first,
                    int64_t n)
{
    QP_ASSERT(to <= QP_F16, "no conversion to %s", qp_storages[to].name);
    if (to == from)
        memcpy(y, at(x, from, first), qp_storage_bytes(to, n));
    else if (to == QP_F16)
        to_f16(y, x, from, first, n);
    else
        qp_converter(to)(y, x, from, first, n);
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
