/* A settings file as a tree whose nodes remember where they were written, so that any later
 * complaint can say so. */
#ifndef QP_TRAIN_TREE_H
#define QP_TRAIN_TREE_H
#include "base/buf.h"
#include <stdbool.h>

typedef enum { QP_TREE_SCALAR, QP_TREE_LIST, QP_TREE_MAP } qp_tree_kind;

typedef struct qp_tree {
    qp_tree_kind kind;
    char *key;   /* inside a map */
    char *text;  /* scalar */
    bool quoted; /* scalar in quotes: never a number, never null */
    char *where; /* "run.yaml:12", "argument lora_r=8" */
    struct qp_tree *child, *next;
} qp_tree;

enum { QP_TREE_DEPTH = 16, QP_TREE_BYTES = 1 << 20, QP_TREE_NODES = 10000 };

/* YAML 1.1 without anchors, aliases, tags, several documents or keys that are not plain text; a key
   twice in one map is an error. name: for messages. Every fault is QP_USAGE with the line. An empty
   text is an empty map. */
qp_status qp_tree_parse(qp_tree **root, const char *text, size_t len, const char *name,
                        qp_err *err) QP_MUST_CHECK;
qp_status qp_tree_load(qp_tree **root, const char *path, qp_err *err) QP_MUST_CHECK;

qp_tree *qp_tree_scalar(const char *text, const char *where);
qp_tree *qp_tree_get(const qp_tree *map, const char *key); /* or NULL */
/* Puts value (which becomes root's) at a dotted path such as datasets.0.path, making what is
   missing on the way and replacing what is there. */
qp_status qp_tree_set(qp_tree *root, const char *path, qp_tree *value, qp_err *err) QP_MUST_CHECK;
/* Takes the direct child out of the map; the caller owns it. */
qp_tree *qp_tree_take(qp_tree *map, qp_tree *child);
void qp_tree_append(qp_tree *parent, qp_tree *child);
bool qp_tree_is_null(const qp_tree *t); /* plain null, ~ or nothing */
void qp_tree_json(const qp_tree *t,
                  qp_buf *out); /* one line; plain scalars become numbers, true, false, null */
void qp_tree_free(qp_tree *t);
char *qp_yaml_version(void); /* the library's; the caller frees */
#endif
