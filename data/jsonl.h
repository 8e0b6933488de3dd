/* Records of a .jsonl file (a JSON value a line) or of a .json file that is one array, in order,
   each with the line it begins on. The file is mapped, so memory does not grow with it. What is
   inside a record is not looked at here. */
#ifndef QP_DATA_JSONL_H
#define QP_DATA_JSONL_H
#include "base/json.h"
#include "base/zio.h"

typedef struct {
    const char *text; /* into the map */
    size_t len;
    int64_t line; /* from 1 */
} qp_record;

typedef struct {
    const char *path; /* borrowed */
    qp_map map;
    const char *at, *end;
    int64_t line; /* of `at` */
    bool array;
    qp_json json; /* arrays only */
    qp_err json_err;
} qp_jsonl;

/* The reader must not move in memory afterwards. */
qp_status qp_jsonl_open(qp_jsonl *r, const char *path, qp_err *err) QP_MUST_CHECK;
/* The next records, at most max; *n is 0 at the end of the file. */
qp_status qp_jsonl_next(qp_jsonl *r, qp_record *record, int64_t max, int64_t *n,
                        qp_err *err) QP_MUST_CHECK;
void qp_jsonl_release(qp_jsonl *r);
#endif
