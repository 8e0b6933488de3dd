#include "data/tokenizer_parts.h"
#include <string.h>

void qp_tokenizer_builder_init(qp_tokenizer_builder *b, qp_tokenizer *t, const char *where,
                               qp_err *err)
{
    *b = (qp_tokenizer_builder){ .t = t, .where = where, .err = err };
    qp_bytelevel_init(&b->names);
}

void qp_tokenizer_builder_release(qp_tokenizer_builder *b)
{
    qp_buf_release(&b->left);
    qp_buf_release(&b->right);
    qp_buf_release(&b->missing);
}

static int shown(size_t len) { return len < 80 ? (int)len : 80; }

qp_status qp_tokenizer_add_token(qp_tokenizer_builder *b, int64_t id, const char *name, size_t len)
{
    qp_buf *bytes = &b->left;
    qp_buf_clear(bytes);
    bool named = qp_bytelevel_bytes(&b->names, name, len, bytes);
    if (!named) qp_buf_add(bytes, name, len); /* no bytes encode to it: known by id only */
    if (id < 0 || id > QP_VOCAB_MAX_ID)
        return qp_fail(b->err, QP_BADFILE, "%s: id %lld of token '%.*s': 0 to %d was wanted",
                       b->where, (long long)id, shown(len), name, QP_VOCAB_MAX_ID);
    if (qp_vocab_add(&b->t->bpe.vocab, (int32_t)id, bytes->data, bytes->len, named && bytes->len))
        return QP_OK;
    return qp_fail(b->err, QP_BADFILE, "%s: id %lld or token '%.*s' stands there twice", b->where,
                   (long long)id, shown(len), name);
}

qp_status qp_tokenizer_add_merge(qp_tokenizer_builder *b, int32_t rank, const char *left,
                                 size_t left_len, const char *right, size_t right_len)
{
    if (!left_len || !right_len)
        return qp_fail(b->err, QP_BADFILE,
                       "%s.merges[%d]: a merge with an empty piece ('%.*s' and '%.*s')", b->where,
                       rank, shown(left_len), left, shown(right_len), right);
    qp_buf_clear(&b->left);
    qp_buf_clear(&b->right);
    if (!qp_bytelevel_bytes(&b->names, left, left_len, &b->left) ||
        !qp_bytelevel_bytes(&b->names, right, right_len, &b->right))
        return qp_fail(b->err, QP_BADFILE, "%s.merges[%d]: a character that stands for no byte",
                       b->where, rank);
    if (qp_bpe_add_merge(&b->t->bpe, rank, b->left.data, b->left.len, b->right.data, b->right.len,
                         &b->missing))
        return QP_OK;
    qp_buf_clear(&b->left);
    qp_bytelevel_names(&b->names, b->missing.data, b->missing.len, &b->left);
    return qp_fail(b->err, QP_BADFILE, "%s.merges[%d]: '%.*s' is not in the vocabulary", b->where,
                   rank, shown(b->left.len), b->left.data);
}

qp_status qp_tokenizer_add_merge_text(qp_tokenizer_builder *b, int32_t rank, const char *s,
                                      size_t len)
{
    const char *space = memchr(s, ' ', len);
    if (!space)
        return qp_fail(b->err, QP_BADFILE,
                       "%s.merges[%d]: '%.*s': two pieces with a space between were wanted",
                       b->where, rank, shown(len), s);
    size_t left = (size_t)(space - s);
    return qp_tokenizer_add_merge(b, rank, s, left, space + 1, len - left - 1);
}

/* Whether the bytes are `text`, or what `text` names. */
static bool is_text(qp_tokenizer_builder *b, const char *bytes, size_t n, const char *text,
                    size_t len)
{
    if (n == len && memcmp(bytes, text, n) == 0) return true;
    qp_buf_clear(&b->left);
    return qp_bytelevel_bytes(&b->names, text, len, &b->left) && n == b->left.len &&
           memcmp(bytes, b->left.data, n) == 0;
}

qp_status qp_tokenizer_add_added(qp_tokenizer_builder *b, const char *text, size_t len,
                                 qp_added_token flags, bool normalized)
{
    qp_vocab *v = &b->t->bpe.vocab;
    size_t n;
    const char *there = qp_vocab_bytes(v, flags.id, &n);
    if (there && !is_text(b, there, n, text, len))
        return qp_fail(b->err, QP_BADFILE, "added token %.*s: its id %d is another token's",
                       shown(len), text, flags.id);
    if (!there) qp_vocab_add(v, flags.id, text, len, false);
    if (flags.special) v->token[flags.id].flags |= QP_TOKEN_SPECIAL;
    qp_added_add(normalized ? &b->t->normalized : &b->t->raw, text, len, flags);
    return QP_OK;
}

/* A special token is never made from plain text, so a vocabulary that is searched for whole words
   must not show it. */
void qp_tokenizer_finish(qp_tokenizer_builder *b)
{
    qp_bpe *bpe = &b->t->bpe;
    qp_bpe_ready(bpe);
    qp_added_ready(&b->t->raw);
    qp_added_ready(&b->t->normalized);
    for (int64_t i = 0; bpe->ignore_merges && i < bpe->vocab.n; i++)
        if (bpe->vocab.token[i].flags & QP_TOKEN_SPECIAL) qp_vocab_hide(&bpe->vocab, (int32_t)i);
}
