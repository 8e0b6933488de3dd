/* Shared by the files that make up the option table: one row an option, one kind a sort of value.
 */
#ifndef QP_TRAIN_OPTION_H
#define QP_TRAIN_OPTION_H
#include "train/config.h"
#include "train/tree.h"

typedef struct qp_option qp_option;

/* How a sort of value is read, checked, printed and freed. field points into the options' struct;
   prefix ("", "datasets.0.") stands before the name in messages. */
typedef struct {
    qp_status (*set)(const qp_option *r, const char *prefix, const qp_tree *t, void *field,
                     qp_err *err);
    void (*print)(const qp_option *r, const void *field, qp_buf *out);
    void (*release)(void *field);
    const char *noun; /* "a whole number" */
} qp_option_kind;

struct qp_option {
    const char *name;
    const qp_option_kind *kind;
    size_t offset;
    const char *fallback, *wanted;
    char trajectory;
    const char *synonyms, *help;
};

typedef struct {
    const qp_option *row;
    int count;
} qp_option_table;
extern const qp_option_table qp_top_options, qp_source_options;

extern const qp_option_kind qp_kind_TEXT, qp_kind_CHOICE, qp_kind_INT, qp_kind_REAL, qp_kind_COUNT,
    qp_kind_SIZE, qp_kind_TIME, qp_kind_BOOL, qp_kind_LIST, qp_kind_MAP, qp_kind_SOURCES;

/* "run.yaml:2: lora_r: found 0, wanted ..." */
qp_status qp_option_wrong(const qp_option *r, const char *prefix, const qp_tree *t, qp_err *err,
                          const char *wanted);
void *qp_option_field(const qp_option *r, const void *base);
/* Every row from map, or from its default where map says nothing. base must be zeroed. */
qp_status qp_options_set(const qp_option_table *tab, const char *prefix, const qp_tree *map,
                         void *base, qp_err *err) QP_MUST_CHECK;
void qp_options_release(const qp_option_table *tab, void *base);

/* names.c: by its own name or a synonym; NULL: no such option */
const qp_option *qp_option_find(const qp_option_table *tab, const char *name, bool *synonym);
qp_status qp_unknown_option(const qp_option_table *tab, const char *prefix, const char *key,
                            const char *where, qp_err *err);
/* Every key of the map under its canonical name, words that stand for other settings replaced. */
qp_status qp_options_canonical(const qp_option_table *tab, const char *prefix, qp_tree *map,
                               qp_err *err) QP_MUST_CHECK;

/* arguments.c: "key=value", "--dashed-key=value", "--dashed-key value", "--flag" into the tree */
qp_status qp_options_arguments(qp_tree *root, int argc, char *const *argv,
                               qp_err *err) QP_MUST_CHECK;
#endif
