/* Every option of a run is one row of one table (config.c): name, type, default, range, help, synonyms. */
#ifndef QP_TRAIN_CONFIG_H
#define QP_TRAIN_CONFIG_H
#include "base/buf.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct qp_options qp_options; /* the resolved struct, defined in config.c's table order; see below */

/* Reads file (NULL: none), then arguments "key=value" or "--dashed-key value". */
qp_status qp_options_load(qp_options **o, const char *yaml_path, int argc, char *const *argv, qp_err *err) QP_MUST_CHECK;
void qp_options_print(const qp_options *o, qp_buf *out); /* the whole resolved file, YAML that loads back */
void qp_options_free(qp_options *o);
#endif
