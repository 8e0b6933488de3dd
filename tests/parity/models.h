#ifndef QP_TESTS_PARITY_MODELS_H
#define QP_TESTS_PARITY_MODELS_H
#include "model/model.h"
#include "tests/parity/parity.h"

/* A sealed model of the golden folder, held and computed in one type; NULL after failing the group.
 */
qp_model *parity_open_model(parity *p, const char *relative, qp_storage compute, bool train);
/* Appends rows of len tokens with unshifted labels (-100: ignored), batch row i for token i. A run
   of equal doc ids is a document, each padding token (-1) one of its own: it sees itself alone.
   NULL docs: a row is a document. */
void parity_add_rows(qp_batch *b, const int32_t *ids, const int32_t *labels, const int32_t *docs,
                     int64_t rows, int64_t len);
/* The store's gradients against tensors named prefix + parameter; none of that prefix: nothing is
 * compared. */
void parity_gradients(parity *p, qp_params *params, const qp_safetensors *st, const char *prefix,
                      const char *metric, const char *what);
int32_t *parity_json_ids(const qp_value *array, int64_t *n); /* caller frees */
#endif
