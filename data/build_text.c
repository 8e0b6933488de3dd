/* A .txt: one text, cut into windows. */
#include "base/zio.h"
#include "data/build.h"
#include <string.h>

qp_status qp_build_text(qp_build *b, const qp_source *s, qp_err *err)
{
    const qp_corpus_options *o = b->o;
    qp_map map = { 0 };
    qp_ids ids = { 0 };
    if (s->type && !strstr("auto text completion", s->type))
        return qp_fail(err, QP_USAGE, "%s: type %s wants records (.jsonl or .json), not a text",
                       s->path, s->type);
    qp_status rc = qp_map_open(&map, s->path, err);
    if (!rc &&
        qp_tokenizer_encode(o->tokenizer, (const char *)map.data, map.len, QP_TOK_BOS, &ids, err))
        rc = qp_wrap(err, "%s", s->path);
    if (rc) goto end;
    if (qp_tokenizer_eos(o->tokenizer) >= 0) qp_ids_add(&ids, qp_tokenizer_eos(o->tokenizer));
    if (map.len == 0 || ids.n < 2) {
        rc = qp_fail(err, QP_BADFILE, "%s: no text to learn from (%zu bytes)", s->path, map.len);
        goto end;
    }
    int64_t window = 0;
    for (int64_t at = 0; at + 1 < ids.n; at += o->sequence_len, window++) {
        int64_t rows = ids.n - 1 - at < o->sequence_len ? ids.n - 1 - at : o->sequence_len;
        qp_build_add(b, s->weight, window, ids.id + at, ids.id + at + 1, rows);
    }
    b->c->bytes += (int64_t)map.len;
    qp_buf_printf(&b->found, "%s: text, %zu bytes, %lld tokens\n", s->path, map.len,
                  (long long)ids.n);
end:
    qp_ids_release(&ids);
    qp_map_release(&map);
    return rc;
}
