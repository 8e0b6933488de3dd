/* What a record looks like: a row of format.c's table each, in a file of its own. A format turns a
   parsed record into a sample; it knows no tokenizer. */
#ifndef QP_DATA_FORMAT_H
#define QP_DATA_FORMAT_H
#include "base/json.h"
#include "data/chat.h"

typedef enum {
    QP_FIELD_MESSAGES,
    QP_FIELD_PROMPT,
    QP_FIELD_COMPLETION,
    QP_FIELD_INSTRUCTION,
    QP_FIELD_INPUT,
    QP_FIELD_OUTPUT,
    QP_FIELD_TEXT,
    QP_FIELDS
} qp_field;

/* Column names; NULL: not chosen yet. */
typedef struct {
    const char *name[QP_FIELDS];
} qp_fields;

typedef enum {
    QP_SAMPLE_TEXT, /* learned whole, never through a template */
    QP_SAMPLE_PAIR, /* user and assistant: through the template, or joined as they are when there is
                       none */
    QP_SAMPLE_CHAT, /* only through a template */
    QP_SAMPLE_SEGMENTS /* user and assistant parts with nothing put around them; special tokens
                          count */
} qp_sample_kind;

/* Contents point into the record or into `owned`. */
typedef struct {
    qp_sample_kind kind;
    qp_message *message;
    int64_t n, cap;
    char **owned;
    int64_t n_owned;
} qp_sample;

void qp_sample_add(qp_sample *s, const char *role, const char *content, size_t len);
void qp_sample_own(qp_sample *s, char *text); /* freed with the sample */
void qp_sample_clear(qp_sample *s);           /* ready for the next record */
void qp_sample_release(qp_sample *s);

typedef struct {
    const char *name, *alias; /* the configuration's words */
    unsigned fields;          /* bits of the fields it reads */
    /* Whether the record has this shape; chooses the names that are still NULL. */
    bool (*fits)(const qp_value *record, qp_fields *f);
    /* plain: there is no chat template. The message says what is missing or wrong; the caller adds
     * file and line. */
    qp_status (*read)(const qp_value *record, const qp_fields *f, bool plain, qp_sample *s,
                      qp_err *err);
} qp_format;

extern const qp_format qp_format_chat, qp_format_pair, qp_format_alpaca, qp_format_text,
    qp_format_segments;

/* The row called `type`; with "auto" the first that fits the record, among those that read a named
   field if any field is named. *format is NULL when none fits. An unknown type is QP_USAGE. */
qp_status qp_format_find(const qp_format **format, const char *type, const qp_value *record,
                         qp_fields *f, qp_err *err) QP_MUST_CHECK;

/* For formats: a string member, or QP_BADFILE that names the field and what was found in its place.
 */
qp_status qp_record_text(const qp_value *record, const char *field, const char **text, size_t *len,
                         qp_err *err) QP_MUST_CHECK;
void qp_record_keys(const qp_value *record, char *out,
                    size_t size);                 /* "role, content", for messages */
const char *qp_json_kind_name(qp_json_kind kind); /* "null", "a number" */
#endif
