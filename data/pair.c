/* {"prompt": …, "completion": …} under the names people give the two columns. */
#include "data/format.h"

static const char *const usual[][2] = {
    { "prompt", "completion" },    { "question", "answer" },   { "query", "response" },
    { "input", "output" },         { "prompt", "response" },   { "prompt", "output" },
    { "instruction", "response" }, { "question", "response" }, { "query", "answer" },
    { "user", "assistant" },       { "source", "target" },
};

static bool fits(const qp_value *record, qp_fields *f)
{
    const char **prompt = &f->name[QP_FIELD_PROMPT], **completion = &f->name[QP_FIELD_COMPLETION];
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        const char *p = *prompt ? *prompt : usual[i][0],
                   *c = *completion ? *completion : usual[i][1];
        if (!qp_json_get(record, p) || !qp_json_get(record, c)) continue;
        *prompt = p;
        *completion = c;
        return true;
    }
    if (!*prompt) *prompt = usual[0][0];
    if (!*completion) *completion = usual[0][1];
    return false;
}

static qp_status read_pair(const qp_value *record, const qp_fields *f, bool plain, qp_sample *s,
                           qp_err *err)
{
    (void)plain;
    static const struct {
        qp_field field;
        const char *role;
    } parts[] = { { QP_FIELD_PROMPT, "user" }, { QP_FIELD_COMPLETION, "assistant" } };
    s->kind = QP_SAMPLE_PAIR;
    for (int i = 0; i < 2; i++) {
        const char *text;
        size_t len;
        qp_status rc = qp_record_text(record, f->name[parts[i].field], &text, &len, err);
        if (rc) return rc;
        qp_sample_add(s, parts[i].role, text, len);
    }
    return QP_OK;
}

const qp_format qp_format_pair = { "prompt_completion", NULL,
                                   1u << QP_FIELD_PROMPT | 1u << QP_FIELD_COMPLETION, fits,
                                   read_pair };
