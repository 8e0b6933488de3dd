/* {"instruction": …, "input": …, "output": …}; input may be absent, null or empty.  Stanford
 * Alpaca, 2023 */
#include "data/format.h"

static bool fits(const qp_value *record, qp_fields *f)
{
    static const char *const usual[] = { "instruction", "input", "output" };
    for (int i = 0; i < 3; i++)
        if (!f->name[QP_FIELD_INSTRUCTION + i]) f->name[QP_FIELD_INSTRUCTION + i] = usual[i];
    return qp_json_get(record, f->name[QP_FIELD_INSTRUCTION]) &&
           qp_json_get(record, f->name[QP_FIELD_OUTPUT]);
}

/* With a template the user says instruction and input. Without one the paper's headings tell the
 * parts apart. */
static const struct {
    const char *before, *between, *after;
} frame[2] = { { "", "\n\n", "" },
               { "### Instruction:\n", "\n\n### Input:\n", "\n\n### Response:\n" } };

static qp_status read_alpaca(const qp_value *record, const qp_fields *f, bool plain, qp_sample *s,
                             qp_err *err)
{
    const char *instruction, *input = "", *output;
    size_t instruction_len, input_len = 0, output_len;
    const char *input_name = f->name[QP_FIELD_INPUT];
    const qp_value *in = qp_json_get(record, input_name);
    qp_status rc =
        qp_record_text(record, f->name[QP_FIELD_INSTRUCTION], &instruction, &instruction_len, err);
    if (!rc && in && in->kind != QP_JSON_NULL)
        rc = qp_record_text(record, input_name, &input, &input_len, err);
    if (!rc) rc = qp_record_text(record, f->name[QP_FIELD_OUTPUT], &output, &output_len, err);
    if (rc) return rc;
    qp_buf user = { 0 };
    qp_buf_str(&user, frame[plain].before);
    qp_buf_add(&user, instruction, instruction_len);
    if (input_len) qp_buf_str(&user, frame[plain].between);
    qp_buf_add(&user, input, input_len);
    qp_buf_str(&user, frame[plain].after);
    qp_sample_own(s, user.data); /* the buffer's memory, now the sample's */
    s->kind = QP_SAMPLE_PAIR;
    qp_sample_add(s, "user", user.data, user.len);
    qp_sample_add(s, "assistant", output, output_len);
    return QP_OK;
}

const qp_format qp_format_alpaca = { "alpaca", NULL,
                                     1u << QP_FIELD_INSTRUCTION | 1u << QP_FIELD_INPUT |
                                         1u << QP_FIELD_OUTPUT,
                                     fits, read_alpaca };
