/* A file of ops/: cases, each some inputs, an output, a cotangent and gradients: c.in.x, c.out,
   c.out_grad, c.grad.x. Every tensor of the file has to be met by a check; one that was not fails
   the group by its name. */
#ifndef QP_TESTS_PARITY_CASES_H
#define QP_TESTS_PARITY_CASES_H
#include "tests/parity/parity.h"

typedef struct {
    parity *p;
    qp_ctx c;
    qp_safetensors st;
    const qp_value *summary; /* ops/summary.json's object of this group */
    qp_value *json;
    bool *met; /* of st's tensors */
} parity_cases;

/* Opens the group's file, zeroing g; false after failing the group. Close it in any case. */
bool parity_cases_open(parity_cases *g, parity *p, const char *path);
/* Fails the group for what nothing met. */
void parity_cases_close(parity_cases *g);
/* Runs fn on every case, that is on what stands before ".out", each in a scope of its own. */
void parity_cases_run(parity_cases *g, void (*fn)(parity_cases *g, const char *kase));
/* All of it. */
void parity_each_case(parity *p, const char *path, void (*fn)(parity_cases *g, const char *kase));

/* A tensor by its whole name, which now counts as met; NULL after failing the group. */
const qp_file_tensor *parity_cases_tensor(parity_cases *g, const char *name);
/* kase.field, which now counts as met; NULL: absent, and _stored fails the group for it. */
const qp_file_tensor *parity_case_find(parity_cases *g, const char *kase, const char *field);
const qp_file_tensor *parity_case_stored(parity_cases *g, const char *kase, const char *field);
int32_t *parity_case_ids(parity_cases *g, const char *kase, const char *field, int64_t *n);
/* The summary's "attributes" of the case; NULL: it has none. */
const qp_value *parity_case_attributes(parity_cases *g, const char *kase);

/* An f32 input of (rows, cols) that wants a gradient; permute, when given, says where stored
   element i goes. */
qp_tensor *parity_case_input(parity_cases *g, const char *kase, const char *field, int64_t rows,
                             int64_t cols, const int64_t *permute);
/* Holds f32 data against a stored tensor; NULL data fails. */
void parity_case_compare(parity_cases *g, const char *metric, const char *kase, const char *field,
                         const void *data, const int64_t *permute);
/* Runs y back from the case's cotangent. */
void parity_case_back(parity_cases *g, const char *kase, qp_tensor *y, const int64_t *permute);
#endif
