/* JSON (RFC 8259): a pull reader over memory, strict, without recursion limits to trip over (depth
   <= 64), and a writer. Duplicate keys are the caller's to judge; numbers are range-checked by the
   getters. */
#ifndef QP_BASE_JSON_H
#define QP_BASE_JSON_H
#include "base/buf.h"
#include <stdbool.h>
#include <stdint.h>

typedef enum {
    QP_JSON_END, /* end of the text after the one top value */
    QP_JSON_NULL,
    QP_JSON_FALSE,
    QP_JSON_TRUE,
    QP_JSON_NUMBER,
    QP_JSON_STRING,
    QP_JSON_KEY, /* always followed by its value */
    QP_JSON_ARRAY,
    QP_JSON_ARRAY_END,
    QP_JSON_OBJECT,
    QP_JSON_OBJECT_END,
    QP_JSON_ERROR, /* err is set; every later call returns it again */
} qp_json_kind;

typedef struct {
    const char *text, *at, *end, *start; /* start: where the current event begins in the text */
    qp_buf str; /* the current key or string, unescaped UTF-8; NUL bytes legal */
    double number;
    int64_t integer; /* valid when is_integer */
    bool is_integer; /* the number has no fraction or exponent and fits */
    int depth;
    qp_json_kind kind; /* the current event */
    qp_err *err;
    uint8_t state[65]; /* per depth: what may come next */
} qp_json;

void qp_json_init(qp_json *j, const char *text, size_t len, qp_err *err);
void qp_json_release(qp_json *j);
qp_json_kind qp_json_next(qp_json *j);
/* Called when the current event begins a value (or is a key): passes over the whole value. */
void qp_json_skip(qp_json *j);
bool qp_json_is(const qp_json *j, const char *key); /* the current key or string equals `key` */

/* A parsed document for small files (config.json, tokenizer_config.json, summary files). One
   allocation tree, freed by qp_json_free. Objects keep order; a duplicate key is an error. */
typedef struct qp_value {
    qp_json_kind kind; /* NULL FALSE TRUE NUMBER STRING ARRAY OBJECT */
    char *key;         /* when inside an object */
    char *str;         /* unescaped, NUL-terminated */
    size_t str_len;
    double number;
    int64_t integer;
    bool is_integer;
    struct qp_value *child, *next; /* first member; the following sibling */
    int64_t count;                 /* members */
} qp_value;

qp_status qp_json_parse(qp_value **v, const char *text, size_t len, qp_err *err) QP_MUST_CHECK;
qp_status qp_json_load(qp_value **v, const char *path, qp_err *err) QP_MUST_CHECK;
void qp_json_free(qp_value *v);
const qp_value *qp_json_get(const qp_value *object,
                            const char *key); /* NULL: absent, or no object */
const qp_value *qp_json_at(const qp_value *array, int64_t i);

/* Writer: appends to a buffer; commas and quotes are its work. `indent` 0: one line. */
typedef struct {
    qp_buf *out;
    int indent, depth;
    bool first[65];
    bool after_key;
} qp_json_writer;

void qp_json_open_object(qp_json_writer *w);
void qp_json_close_object(qp_json_writer *w);
void qp_json_open_array(qp_json_writer *w);
void qp_json_close_array(qp_json_writer *w);
void qp_json_key(qp_json_writer *w, const char *key);
void qp_json_string(qp_json_writer *w, const char *s, size_t len);
void qp_json_cstring(qp_json_writer *w, const char *s);
void qp_json_int(qp_json_writer *w, int64_t v);
void qp_json_double(qp_json_writer *w,
                    double v); /* shortest that reads back equal; NaN and infinity: null */
void qp_json_bool(qp_json_writer *w, bool v);
void qp_json_null(qp_json_writer *w);
#endif
