#include "data/encode.h"
#include <string.h>

bool qp_has_template(const qp_corpus_options *o)
{
    return o->chat && strcmp(qp_chat_name(o->chat), "none");
}

static void mask_up_to(qp_buf *mask, int64_t n, char learned)
{
    while ((int64_t)mask->len < n) qp_buf_char(mask, learned);
}

/* The parts one after the other, with BOS and EOS round them but for segments. Parts are tokenised
   apart, as they are when only the prompt is given later. */
static qp_status encode_plain(const qp_sample *s, const qp_corpus_options *o, qp_ids *ids,
                              qp_buf *mask, qp_err *err)
{
    int64_t base = ids->n - (int64_t)mask->len; /* ids and mask may start apart */
    bool bare = s->kind == QP_SAMPLE_SEGMENTS;
    for (int64_t i = 0; i < s->n; i++) {
        const qp_message *m = &s->message[i];
        unsigned flags = bare ? QP_TOK_SPECIAL : i ? 0 : QP_TOK_BOS;
        qp_status rc = qp_tokenizer_encode(o->tokenizer, m->content, m->len, flags, ids, err);
        if (rc) return rc;
        mask_up_to(mask, ids->n - base, !strcmp(m->role, "assistant"));
    }
    int32_t eos = qp_tokenizer_eos(o->tokenizer);
    if (eos < 0 || bare) return QP_OK;
    qp_ids_add(ids, eos);
    mask_up_to(mask, ids->n - base, s->kind == QP_SAMPLE_TEXT || o->chat_options.train_on_eos);
    return QP_OK;
}

qp_status qp_sample_encode(const qp_sample *s, const qp_corpus_options *o, qp_ids *ids,
                           qp_buf *mask, qp_err *err)
{
    if (s->kind == QP_SAMPLE_TEXT || s->kind == QP_SAMPLE_SEGMENTS ||
        (s->kind == QP_SAMPLE_PAIR && !qp_has_template(o)))
        return encode_plain(s, o, ids, mask, err);
    if (!qp_has_template(o))
        return qp_fail(err, QP_USAGE, "chat messages, but chat_template is none: name a template");
    return qp_chat_render(o->chat, o->tokenizer, s->message, s->n, &o->chat_options, ids, mask,
                          err);
}
