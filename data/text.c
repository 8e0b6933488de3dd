/* {"text": …}: one text, learned whole. */
#include "data/format.h"

static bool fits(const qp_value *record, qp_fields *f)
{
    if (!f->name[QP_FIELD_TEXT]) f->name[QP_FIELD_TEXT] = "text";
    return qp_json_get(record, f->name[QP_FIELD_TEXT]);
}

static qp_status read_text(const qp_value *record, const qp_fields *f, bool plain, qp_sample *s,
                           qp_err *err)
{
    (void)plain;
    const char *text;
    size_t len;
    qp_status rc = qp_record_text(record, f->name[QP_FIELD_TEXT], &text, &len, err);
    if (rc) return rc;
    s->kind = QP_SAMPLE_TEXT;
    qp_sample_add(s, "assistant", text, len);
    return QP_OK;
}

const qp_format qp_format_text = { "text", "completion", 1u << QP_FIELD_TEXT, fits, read_text };
