/* Questions to a parsed JSON value that may be absent (NULL). */
#ifndef QP_DATA_JSON_VALUE_H
#define QP_DATA_JSON_VALUE_H
#include "base/json.h"
#include <string.h>

static inline bool is_null(const qp_value *v) { return !v || v->kind == QP_JSON_NULL; }
static inline bool is_true(const qp_value *v) { return v && v->kind == QP_JSON_TRUE; }
static inline const char *text_of(const qp_value *v)
{
    return v && v->kind == QP_JSON_STRING ? v->str : NULL;
}
static inline bool text_is(const qp_value *v, const char *s)
{
    return text_of(v) && strcmp(v->str, s) == 0;
}

#endif
