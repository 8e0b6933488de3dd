/* cos and sin by position, computed in f64, kept in f32 (f64 for f64 compute). Su et al. 2021,
   arXiv:2104.09864; the frequencies are the configuration's. */
#ifndef QP_MODEL_ROPE_TABLE_H
#define QP_MODEL_ROPE_TABLE_H
#include "base/dtype.h"

typedef struct qp_rope_rows qp_rope_rows;
typedef struct {
    qp_storage storage; /* f64 or f32 */
    int64_t pairs;
    double *inv_freq; /* (pairs) */
    qp_rope_rows *rows;
} qp_rope_table;

/* inv_freq (pairs) is copied. */
void qp_rope_table_init(qp_rope_table *t, const double *inv_freq, int64_t pairs,
                        qp_storage compute);
/* cos and sin of positions 0 .. positions-1 at least, each (positions, pairs). They stay valid
   until release: a tape may still point at the rows of a smaller call. */
void qp_rope_table_rows(qp_rope_table *t, int64_t positions, const void **cos, const void **sin);
void qp_rope_table_release(qp_rope_table *t);
#endif
