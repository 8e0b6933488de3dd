#include "data/tokenizer_parts.h"

qp_status qp_tokenizer_read_gguf(qp_tokenizer *t, const char *path, qp_err *err)
{
    (void)t;
    return qp_fail(err, QP_BADFILE, "%s: GGUF", path);
}
