/* Comparison with a folder of golden data. A group is a row of groups.def: a file or folder of the
   layout and the function that checks it. All shapes, names, settings and tolerances come from the
   folder. */
#ifndef QP_TESTS_PARITY_H
#define QP_TESTS_PARITY_H
#include "autograd/tape.h"
#include "base/json.h"
#include "base/safetensors.h"

typedef struct {
    const char *golden, *shared;
    const qp_value *tolerances; /* tolerances.json's "groups" */
    const char *path;           /* the group being checked, as in tolerances.json */
    /* the comparison that came closest to its tolerance, or went furthest over it */
    double ratio, difference, tolerance;
    char worst[200];
    char failure[1200]; /* why the group fails; empty while it does not */
    int64_t compared;   /* values */
    char note[200];     /* said behind the line: what of the group is not built */
} parity;

/* Fails the group, once. Returns false. */
bool parity_fail(parity *p, const char *fmt, ...) QP_PRINTF(2, 3);
/* Fails the group with the message in err when rc is not QP_OK. */
bool parity_ok(parity *p, qp_status rc, const qp_err *err);

/* Holds n values against the golden ones by the tolerance of (p->path, metric); what names them in
 * the report. */
void parity_compare(parity *p, const char *metric, const char *what, const double *got,
                    const double *want, int64_t n);
/* What the tolerance leaves open, in words; NULL: nothing. */
const char *parity_but(const parity *p, const char *metric);
void parity_number(parity *p, const char *metric, const char *what, double got, double want);
/* Exact comparison of ids or counts. */
void parity_ints(parity *p, const char *what, const int32_t *got, int64_t n_got,
                 const int32_t *want, int64_t n_want);
void parity_bytes(parity *p, const char *what, const char *got, size_t n_got, const char *want,
                  size_t n_want);

/* Path below the golden folder; the caller frees. */
char *parity_path(const parity *p, const char *fmt, ...) QP_PRINTF(2, 3);
qp_value *parity_json(parity *p, const char *relative); /* NULL after failing the group */
bool parity_open(parity *p, qp_safetensors *st, const char *relative);
/* A stored tensor widened to f64 (caller frees), or as f32 values in qp_xmalloc memory. NULL:
 * absent, group failed. */
double *parity_f64(parity *p, const qp_safetensors *st, const char *name, int64_t *n);
int32_t *parity_i32(parity *p, const qp_safetensors *st, const char *name, int64_t *n);
double *parity_widen(const void *data, qp_storage s, int64_t n); /* caller frees */

/* Numbers of a JSON object, failing the group when absent. */
double parity_get(parity *p, const qp_value *object, const char *key);

/* Calls fn for every entry of a folder, sorted, that ends in `ending` ("" for all). */
void parity_each(parity *p, const char *folder, const char *ending,
                 void (*fn)(parity *p, const char *name, void *arg), void *arg);

/* A context for f32 or bf16 work with recording on; the caller releases it. */
void parity_context(qp_ctx *c);

#define GROUP(path, fn) void fn(parity *p, const char *path_);
#include "tests/parity/groups.def"
#undef GROUP
#endif
