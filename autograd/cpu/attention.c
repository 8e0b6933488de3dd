/* y[i] = softmax(q[i] k^T / sqrt(e)) v over the keys first[i] .. last[i], without the n x m matrix:
   the sum is rescaled whenever a larger score appears. Dao et al. 2022, arXiv:2205.14135. */
#include "autograd/cpu/kernel.h"

static R dot(const T *a, const T *b, int64_t e)
{
    R s = 0;
    for (int64_t c = 0; c < e; c++) s += LD(a[c]) * LD(b[c]);
    return s;
}

void K(attn_fwd)(void *y_, void *lse_, void *work, const void *q_, const void *k_, const void *v_,
                 const int32_t *first, const int32_t *last, int64_t n, int64_t m, int64_t h,
                 int64_t g, int64_t e)
{
    const T *q = q_, *k = k_, *v = v_;
    T *y = y_;
    R *lse = lse_, scale = 1 / (R)sqrt((double)e);
    (void)m;
#pragma omp parallel for collapse(2) schedule(dynamic, 16) if (n * h * e > QP_GRAIN)
    for (int64_t i = 0; i < n; i++)
        for (int64_t a = 0; a < h; a++) {
            const int64_t row = (i * h + a) * e, kh = a / (h / g);
            R *acc = (R *)work + row, top = -INFINITY, sum = 0;
            for (int64_t c = 0; c < e; c++) acc[c] = 0;
            for (int64_t j = first[i]; j <= last[i]; j++) {
                const int64_t key = (j * g + kh) * e;
                R s = dot(q + row, k + key, e) * scale, top_now = s > top ? s : top;
                R keep = EXP(top - top_now), p = EXP(s - top_now);
                sum = sum * keep + p;
                for (int64_t c = 0; c < e; c++) acc[c] = acc[c] * keep + p * LD(v[key + c]);
                top = top_now;
            }
            for (int64_t c = 0; c < e; c++) y[row + c] = ST(acc[c] / sum);
            if (lse) lse[i * h + a] = top + (R)log((double)sum);
        }
}

static void add_out(T *out, double beta, const R *sum, int64_t n)
{
    if (!out) return;
    for (int64_t i = 0; i < n; i++) out[i] = ACC(out[i], beta, sum[i]);
}

/* With p = exp(s - lse) and delta = dy . y:  dv = p^T dy,  ds = p (dy v^T - delta) / sqrt(e),
   dk = ds^T q,  dq = ds k. A thread owns a key head, so no two add to the same sum. */
void K(attn_bwd)(void *dq, double bq, void *dk, double bk, void *dv, double bv, void *work,
                 const void *dy_, const void *y_, const void *lse_, const void *q_, const void *k_,
                 const void *v_, const int32_t *first, const int32_t *last, int64_t n, int64_t m,
                 int64_t h, int64_t g, int64_t e)
{
    const T *dy = dy_, *y = y_, *q = q_, *k = k_, *v = v_;
    const R *lse = lse_;
    const R scale = 1 / (R)sqrt((double)e);
    R *wk = work, *wv = wk + m * g * e, *wq = wv + m * g * e;
    memset(work, 0, (size_t)(n * h * e + 2 * m * g * e) * sizeof(R));
#pragma omp parallel for schedule(static) if (n * h * e > QP_GRAIN)
    for (int64_t kh = 0; kh < g; kh++)
        for (int64_t i = 0; i < n; i++)
            for (int64_t a = kh * (h / g); a < (kh + 1) * (h / g); a++) {
                const int64_t row = (i * h + a) * e;
                const R delta = dot(dy + row, y + row, e);
                for (int64_t j = first[i]; j <= last[i]; j++) {
                    const int64_t key = (j * g + kh) * e;
                    R p = EXP(dot(q + row, k + key, e) * scale - lse[i * h + a]);
                    R ds = p * (dot(dy + row, v + key, e) - delta) * scale;
                    for (int64_t c = 0; c < e; c++) {
                        wv[key + c] += p * LD(dy[row + c]);
                        wk[key + c] += ds * LD(q[row + c]);
                        wq[row + c] += ds * LD(k[key + c]);
                    }
                }
            }
    add_out(dq, bq, wq, n * h * e);
    add_out(dk, bk, wk, m * g * e);
    add_out(dv, bv, wv, m * g * e);
}
