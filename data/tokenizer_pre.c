/* A tokenizer.json's pre_tokenizer to stages of patterns, and back. */
#include "data/json_value.h"
#include "data/tokenizer_parts.h"
#include <ctype.h>

static qp_status read_split(qp_tokenizer *t, const qp_value *v, qp_err *err)
{
    const qp_value *pattern = qp_json_get(v, "pattern"), *regex = qp_json_get(pattern, "Regex");
    const qp_value *plain = qp_json_get(pattern, "String"), *how = qp_json_get(v, "behavior");
    bool invert = is_true(qp_json_get(v, "invert"));
    qp_split split = text_is(how, "Removed") && invert ? QP_SPLIT_KEEP : QP_SPLIT_ISOLATE;
    if (split == QP_SPLIT_ISOLATE && !text_is(how, "Isolated"))
        return qp_fail(
            err, QP_BADFILE,
            "pre_tokenizer Split: behavior %s%s is not supported (Isolated, inverted Removed are)",
            text_of(how) ? text_of(how) : "missing", invert ? ", inverted" : "");
    if (text_of(regex)) return qp_pretok_add(t->pretok, regex->str, regex->str_len, split, err);
    if (!text_of(plain))
        return qp_fail(err, QP_BADFILE, "pre_tokenizer Split: no pattern with a Regex or String");
    qp_buf quoted = { 0 };
    for (size_t i = 0; i < plain->str_len; i++) {
        uint8_t c = (uint8_t)plain->str[i];
        if (c < 0x80 && !isalnum(c)) qp_buf_char(&quoted, '\\');
        qp_buf_char(&quoted, (char)c);
    }
    qp_status rc = qp_pretok_add(t->pretok, quoted.data, quoted.len, split, err);
    qp_buf_release(&quoted);
    return rc;
}

static qp_status read_digits(qp_tokenizer *t, const qp_value *v, qp_err *err)
{
    const char *p =
        is_true(qp_json_get(v, "individual_digits")) ? QP_PATTERN_DIGIT : QP_PATTERN_NUMBER;
    return qp_pretok_add(t->pretok, p, strlen(p), QP_SPLIT_ISOLATE, err);
}

static qp_status read_byte_level(qp_tokenizer *t, const qp_value *v, qp_err *err)
{
    if (is_true(qp_json_get(v, "add_prefix_space"))) {
        if (qp_pretok_stages(t->pretok))
            return qp_fail(
                err, QP_BADFILE,
                "pre_tokenizer ByteLevel: add_prefix_space after another stage is not supported");
        t->prefix_space = true;
    }
    const qp_value *regex = qp_json_get(v, "use_regex"); /* absent in old files: true */
    if (regex && regex->kind == QP_JSON_FALSE) return QP_OK;
    return qp_pretok_add(t->pretok, QP_PATTERN_GPT2, strlen(QP_PATTERN_GPT2), QP_SPLIT_ISOLATE,
                         err);
}

static const struct {
    const char *type;
    qp_status (*read)(qp_tokenizer *t, const qp_value *v, qp_err *err);
} pre_types[] = {
    { "Split", read_split },
    { "Digits", read_digits },
    { "ByteLevel", read_byte_level },
};

static qp_status read_one_pre(qp_tokenizer *t, const qp_value *v, bool *byte_level, qp_err *err)
{
    const char *type = text_of(qp_json_get(v, "type"));
    if (!type) return qp_fail(err, QP_BADFILE, "pre_tokenizer: no type");
    for (size_t i = 0; i < sizeof pre_types / sizeof *pre_types; i++)
        if (strcmp(type, pre_types[i].type) == 0) {
            *byte_level |= strcmp(type, "ByteLevel") == 0;
            return pre_types[i].read(t, v, err);
        }
    return qp_fail(err, QP_BADFILE,
                   "pre_tokenizer %s is not supported (Split, Digits, ByteLevel, Sequence are)",
                   type);
}

qp_status qp_tokenizer_read_pre(qp_tokenizer *t, const qp_value *pre, qp_err *err)
{
    t->pretok = qp_pretok_new();
    bool byte_level = false;
    qp_status rc = QP_OK;
    if (text_is(qp_json_get(pre, "type"), "Sequence")) {
        const qp_value *list = qp_json_get(pre, "pretokenizers");
        for (const qp_value *v = list ? list->child : NULL; v && !rc; v = v->next)
            rc = read_one_pre(t, v, &byte_level, err);
    } else {
        rc = read_one_pre(t, pre, &byte_level, err);
    }
    if (!rc && !byte_level)
        rc = qp_fail(err, QP_BADFILE,
                     "pre_tokenizer without ByteLevel: only byte-level vocabularies are supported");
    return rc;
}

/* ---- writing ---- */

static void open_type(qp_json_writer *w, const char *type)
{
    qp_json_open_object(w);
    qp_json_key(w, "type");
    qp_json_cstring(w, type);
}

static void write_byte_level(qp_json_writer *w, bool prefix_space, bool use_regex)
{
    open_type(w, "ByteLevel");
    qp_json_key(w, "add_prefix_space");
    qp_json_bool(w, prefix_space);
    qp_json_key(w, "trim_offsets");
    qp_json_bool(w, true);
    qp_json_key(w, "use_regex");
    qp_json_bool(w, use_regex);
    qp_json_close_object(w);
}

static void write_stage(qp_json_writer *w, const char *pattern)
{
    bool one = strcmp(pattern, QP_PATTERN_DIGIT) == 0;
    if (one || strcmp(pattern, QP_PATTERN_NUMBER) == 0) {
        open_type(w, "Digits");
        qp_json_key(w, "individual_digits");
        qp_json_bool(w, one);
    } else {
        open_type(w, "Split");
        qp_json_key(w, "pattern");
        qp_json_open_object(w);
        qp_json_key(w, "Regex");
        qp_json_cstring(w, pattern);
        qp_json_close_object(w);
        qp_json_key(w, "behavior");
        qp_json_cstring(w, "Isolated");
        qp_json_key(w, "invert");
        qp_json_bool(w, false);
    }
    qp_json_close_object(w);
}

void qp_tokenizer_write_pre(const qp_tokenizer *t, qp_json_writer *w)
{
    int n = qp_pretok_stages(t->pretok);
    bool gpt2 = n && strcmp(qp_pretok_pattern(t->pretok, n - 1), QP_PATTERN_GPT2) == 0;
    open_type(w, "Sequence");
    qp_json_key(w, "pretokenizers");
    qp_json_open_array(w);
    for (int i = 0; i < n - gpt2; i++) write_stage(w, qp_pretok_pattern(t->pretok, i));
    write_byte_level(w, t->prefix_space, gpt2); /* its own pattern is GPT-2's */
    qp_json_close_array(w);
    qp_json_close_object(w);
}
