/* Messages through a template's row. The text between two special tokens is tokenised together
   unless the row says otherwise; a token is learned when its first byte is. */
#include "base/json.h"
#include "data/chat_row.h"
#include "data/unicode.h"
#include <string.h>

typedef struct {
    const qp_chat *c;
    const qp_tokenizer *t;
    const qp_chat_options *o;
    qp_buf text,
        learned; /* what is not tokenised yet, and a byte of 0 or 1 for each of its bytes */
    qp_ids at;
    qp_ids *ids;
    qp_buf *mask;
    qp_err *err;
} renderer;

static void add_text(renderer *r, const char *s, size_t len, bool learned)
{
    qp_buf_add(&r->text, s, len);
    for (size_t i = 0; i < len; i++) qp_buf_char(&r->learned, learned);
}

static void add_words(renderer *r, const char *s)
{
    if (s) add_text(r, s, strlen(s), false);
}

static qp_status flush(renderer *r)
{
    r->at.n = 0;
    if (!r->text.len) return QP_OK;
    qp_status rc =
        qp_tokenizer_encode_at(r->t, r->text.data, r->text.len, 0, r->ids, &r->at, r->err);
    for (int64_t i = 0; i < r->at.n && r->mask; i++)
        qp_buf_char(r->mask, r->learned.data[r->at.id[i]]);
    qp_buf_clear(&r->text);
    qp_buf_clear(&r->learned);
    return rc;
}

static qp_status special(renderer *r, const char *token, bool learned)
{
    if (!token) return QP_OK;
    qp_status rc = flush(r);
    qp_ids_add(r->ids, qp_tokenizer_id(r->t, token));
    if (r->mask) qp_buf_char(r->mask, learned);
    return rc;
}

static qp_status header(renderer *r, const char *role)
{
    qp_status rc = special(r, r->c->open, false);
    add_words(r, role);
    if (!rc) rc = special(r, r->c->named, false);
    add_words(r, r->c->head);
    if (!rc && r->c->apart) rc = flush(r);
    return rc;
}

static void content(renderer *r, const qp_message *m, bool tool, bool learned)
{
    size_t from = 0, to = m->len;
    qp_buf json = { 0 };
    if (tool && r->c->quote_tools) {
        qp_json_string(&(qp_json_writer){ .out = &json }, m->content, m->len);
        add_text(r, json.data, json.len, learned);
        qp_buf_release(&json);
        return;
    }
    if (r->c->trim) {
        from = qp_space_after(m->content, 0, to, qp_is_py_space);
        to = qp_space_before(m->content, from, to, qp_is_py_space);
    }
    add_text(r, m->content + from, to - from, learned);
}

static bool trained(const qp_chat_options *o, const char *role)
{
    if (!o->roles_to_train) return strcmp(role, "assistant") == 0;
    for (int i = 0; i < o->n_roles; i++)
        if (strcmp(role, o->roles_to_train[i]) == 0) return true;
    return false;
}

static qp_status finish_turn(renderer *r, bool learned)
{
    qp_status rc = special(r, r->c->close, learned && r->o->train_on_eos);
    add_words(r, r->c->tail);
    return rc;
}

/* m NULL: a system block without a message of its own. */
static qp_status turn(renderer *r, const qp_message *m, bool first)
{
    const char *role = m ? m->role : "system";
    bool tool = strcmp(role, "tool") == 0 || strcmp(role, "ipython") == 0;
    bool learned = m && trained(r->o, role);
    qp_status rc = header(r, tool && r->c->named ? "ipython" : role);
    if (first && r->c->dated && strcmp(role, "system") == 0) {
        add_words(r, "Cutting Knowledge Date: December 2023\nToday Date: ");
        add_words(r, r->o->date ? r->o->date : "26 Jul 2024");
        add_words(r, "\n\n");
    }
    if (m)
        content(r, m, tool, learned);
    else
        add_words(r, r->c->system);
    return rc ? rc : finish_turn(r, learned);
}

static qp_status check_role(const char *role, int64_t i, qp_err *err)
{
    static const char *const roles[] = { "system", "user", "assistant", "tool", "ipython" };
    for (size_t k = 0; k < sizeof roles / sizeof *roles; k++)
        if (strcmp(role, roles[k]) == 0) return QP_OK;
    return qp_fail(err, QP_BADFILE,
                   "message %lld: role '%.40s'; wanted system, user, assistant or tool",
                   (long long)i + 1, role);
}

static qp_status render(renderer *r, const qp_message *messages, int64_t n)
{
    qp_status rc = special(r, r->c->bos, false);
    bool has_system = n && strcmp(messages[0].role, "system") == 0;
    if (!rc && !has_system && (r->c->dated || r->c->system)) rc = turn(r, NULL, true);
    for (int64_t i = 0; i < n && !rc; i++) {
        rc = check_role(messages[i].role, i, r->err);
        if (!rc) rc = turn(r, &messages[i], i == 0);
    }
    if (!rc && r->o->generation) rc = header(r, "assistant");
    return rc ? rc : flush(r);
}

qp_status qp_chat_render(const qp_chat *chat, const qp_tokenizer *t, const qp_message *messages,
                         int64_t n, const qp_chat_options *o, qp_ids *ids, qp_buf *mask,
                         qp_err *err)
{
    if (!chat->open)
        return qp_fail(err, QP_USAGE, "chat_template is none: messages want a template");
    renderer r = { .c = chat, .t = t, .o = o, .ids = ids, .mask = mask, .err = err };
    qp_status rc =
        n ? render(&r, messages, n) : qp_fail(err, QP_BADFILE, "a conversation without messages");
    qp_buf_release(&r.text);
    qp_buf_release(&r.learned);
    qp_ids_release(&r.at);
    return rc;
}
