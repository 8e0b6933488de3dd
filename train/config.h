/* Every option of a run is one row of one table (options.def): name, type, default, range, help,
 * synonyms. */
#ifndef QP_TRAIN_CONFIG_H
#define QP_TRAIN_CONFIG_H
#include "base/buf.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct {
    char **v;
    int n;
} qp_strings;

/* How each kind of row is held. A null INT is QP_UNSET, a null REAL or TIME is NaN, a null TEXT or
 * CHOICE is NULL. */
#define QP_UNSET INT64_MIN
typedef char *qp_field_TEXT, *qp_field_CHOICE; /* a choice is one of the table's own words */
typedef char *qp_field_MAP;                    /* JSON text; "{}" when empty */
typedef int64_t qp_field_INT;
typedef int64_t qp_field_COUNT, qp_field_SIZE; /* 0: auto; bytes */
typedef double qp_field_REAL, qp_field_TIME;   /* seconds */
typedef bool qp_field_BOOL;
typedef qp_strings qp_field_LIST;

typedef struct {
#define SRC(kind, name, ...) qp_field_##kind name;
#include "train/options.def"
} qp_dataset;

typedef struct {
    qp_dataset *v;
    int n;
} qp_field_SOURCES;

typedef struct qp_options {
#define OPT(kind, name, ...) qp_field_##kind name;
#include "train/options.def"
} qp_options;

/* Reads file (NULL: none), then arguments "key=value" or "--dashed-key value", the last of all
   wins; then fills in what follows from the rest (datasets from data, load_in from dtype).
   Everything wrong is QP_USAGE and names key, place, found and wanted. */
qp_status qp_options_load(qp_options **o, const char *yaml_path, int argc, char *const *argv,
                          qp_err *err) QP_MUST_CHECK;
void qp_options_print(const qp_options *o,
                      qp_buf *out); /* the whole resolved file, YAML that loads back */
void qp_options_help(qp_buf *out);  /* a line an option */
void qp_options_free(qp_options *o);

/* "key: value" lines of all that decides the numbers of a run besides model, tokenizer and data. */
void qp_options_trajectory(const qp_options *o, qp_buf *out);
#endif
