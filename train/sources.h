/* Folders to files: what `data` and a folder in datasets stand for. */
#ifndef QP_TRAIN_SOURCES_H
#define QP_TRAIN_SOURCES_H
#include "train/config.h"

/* data: DIR fills datasets and, where DIR has valid.jsonl, test_datasets; then every folder among
   the sources is replaced by its file train.jsonl (valid.jsonl for test_datasets) or by its .txt
   files in the order of their names. */
qp_status qp_sources_expand(qp_options *o, qp_err *err) QP_MUST_CHECK;
#endif
