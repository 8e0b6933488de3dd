/* Messages to ids and a target mask, by a named template compiled in; no template engine.
   Special-token text inside content is plain text, always. */
#ifndef QP_DATA_CHAT_H
#define QP_DATA_CHAT_H
#include "data/tokenizer.h"
QP_C_BEGIN

typedef struct {
    const char *role; /* NUL-terminated: system, user, assistant, ipython, tool */
    const char *content;
    size_t len;
} qp_message;

typedef struct qp_chat qp_chat; /* a template row; static */
/* name: llama3 (Meta's: content untrimmed), llama3-hf (the same, trimmed), llama3.1-hf,
   llama3.2-hf, chatml, smollm2, none; auto: from the tokenizer's own template, told by what it
   contains, or else from its special tokens ("none" when it has neither). A template that is not
   known word for word is named in a warning. A tokenizer without the tokens that the template
   needs: QP_USAGE. */
qp_status qp_chat_find(const qp_chat **chat, const char *name, const qp_tokenizer *t,
                       qp_err *err) QP_MUST_CHECK;
const char *qp_chat_name(const qp_chat *chat);

typedef struct {
    const char *date;                  /* for templates that show one: "26 Jul 2024" */
    bool generation;                   /* append the assistant header */
    const char *const *roles_to_train; /* NULL: assistant */
    int n_roles;
    bool train_on_eos; /* the turn's end token is a target */
} qp_chat_options;

/* Appends ids and, per id, 1 where the token is learned. mask may be NULL. No messages or an
   unknown role: QP_BADFILE. */
qp_status qp_chat_render(const qp_chat *chat, const qp_tokenizer *t, const qp_message *messages,
                         int64_t n, const qp_chat_options *o, qp_ids *ids, qp_buf *mask,
                         qp_err *err) QP_MUST_CHECK;
QP_C_END
#endif
