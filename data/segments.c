/* {"segments": [{"label": true, "text": …}, …]}: texts one after the other, learned where the label
   says so. Nothing is put between or around them, and special-token text in them counts as such.
   Axolotl's input_output */
#include "data/format.h"

static bool fits(const qp_value *record, qp_fields *f)
{
    (void)f;
    return qp_json_get(record, "segments");
}

static qp_status read_segment(const qp_value *v, qp_sample *s, qp_err *err)
{
    const char *text;
    size_t len;
    if (v->kind != QP_JSON_OBJECT)
        return qp_fail(err, QP_BADFILE, "%s, wanted an object", qp_json_kind_name(v->kind));
    const qp_value *label = qp_json_get(v, "label");
    qp_json_kind kind = label ? label->kind : QP_JSON_END;
    if (kind != QP_JSON_TRUE && kind != QP_JSON_FALSE)
        return qp_fail(err, QP_BADFILE, "\"label\" is %s, wanted true or false",
                       qp_json_kind_name(kind));
    qp_status rc = qp_record_text(v, "text", &text, &len, err);
    if (!rc) qp_sample_add(s, kind == QP_JSON_TRUE ? "assistant" : "user", text, len);
    return rc;
}

static qp_status read_segments(const qp_value *record, const qp_fields *f, bool plain, qp_sample *s,
                               qp_err *err)
{
    (void)f, (void)plain;
    const qp_value *list = qp_json_get(record, "segments");
    if (!list || list->kind != QP_JSON_ARRAY)
        return qp_fail(err, QP_BADFILE, "\"segments\" is %s, wanted an array",
                       qp_json_kind_name(list ? list->kind : QP_JSON_END));
    s->kind = QP_SAMPLE_SEGMENTS;
    int64_t i = 0;
    for (const qp_value *v = list->child; v; v = v->next, i++) {
        qp_status rc = read_segment(v, s, err);
        if (rc) return qp_wrap(err, "segments[%lld]", (long long)i);
    }
    return QP_OK;
}

const qp_format qp_format_segments = { "input_output", "segments", 0, fits, read_segments };
