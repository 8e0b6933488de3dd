/* Other tools' words whose value, not only whose name, differs from ours. */
#ifndef QP_TRAIN_SYNONYMS_H
#define QP_TRAIN_SYNONYMS_H
#include "train/tree.h"

/* Replaces such entries of a map (of an entry of datasets when source) by what they stand for. */
qp_status qp_replace_words(qp_tree *map, bool source, qp_err *err) QP_MUST_CHECK;
/* Why a key that other tools know is not an option here; NULL: not such a key. */
const char *qp_unsupported_key(const char *key);
#endif
