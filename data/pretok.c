#define PCRE2_CODE_UNIT_WIDTH 8
#include "data/pretok.h"
#include "base/buf.h"
#include "data/pretok_known.h"
#include "data/unicode.h"
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_STAGES = 8, MATCH_LIMIT = 100 * 1000 * 1000, HEAP_LIMIT_KB = 1 << 20 };

typedef struct {
    qp_find_fn *known; /* the pattern written out, else */
    pcre2_code *code;
    char *pattern;
    qp_split split;
} stage;

struct qp_pretok {
    stage stage[MAX_STAGES];
    int n;
    pcre2_match_context *limits;
};

qp_pretok *qp_pretok_new(void)
{
    qp_pretok *p = qp_xcalloc(1, sizeof *p);
    p->limits = pcre2_match_context_create(NULL);
    if (!p->limits) qp_fatal(QP_NOMEM, __FILE__, __LINE__, "no memory for PCRE2");
    pcre2_set_match_limit(p->limits, MATCH_LIMIT);
    pcre2_set_heap_limit(p->limits, HEAP_LIMIT_KB);
    return p;
}

void qp_pretok_free(qp_pretok *p)
{
    if (!p) return;
    for (int i = 0; i < p->n; i++) {
        pcre2_code_free(p->stage[i].code);
        free(p->stage[i].pattern);
    }
    pcre2_match_context_free(p->limits);
    free(p);
}

int qp_pretok_stages(const qp_pretok *p) { return p->n; }
const char *qp_pretok_pattern(const qp_pretok *p, int i) { return p->stage[i].pattern; }

/* PCRE2's \s has U+180E, which is no White_Space since Unicode 6.3 and which the Rust and Oniguruma
   engines do not match; so \s is spelt out. */
#define SPACES                                                                                     \
    "\\x09-\\x0d\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{"    \
    "205f}\\x{3000}"
/* Returns what Oniguruma and PCRE2 would read differently, or NULL. */
static const char *spell_out(qp_buf *out, const char *s, size_t len)
{
    const char *end = s + len, *first = NULL; /* first: of a set in brackets, where ] is a letter */
    bool set = false;
    for (; s < end; s++) {
        if (*s == '\\' && s + 1 < end) {
            char c = *++s;
            if (c == 'h' || c == 'H') return "\\h";
            if (c == 's')
                qp_buf_str(out, set ? SPACES : "[" SPACES "]");
            else if (c == 'S' && !set)
                qp_buf_str(out, "[^" SPACES "]");
            else
                qp_buf_add(out, (char[]){ '\\', c }, 2);
            continue;
        }
        if (set && *s == '[' && s + 1 < end && s[1] != ':') return "a set in a set";
        if (set && *s == '&' && s + 1 < end && s[1] == '&') return "&& in a set";
        if (!set && *s == '[') {
            set = true;
            first = s + 1 < end && s[1] == '^' ? s + 2 : s + 1;
        } else if (set && *s == '[') { /* [:name:] */
            const char *close = memmem(s, (size_t)(end - s), ":]", 2);
            if (!close) return "[: without :]";
            qp_buf_add(out, s, (size_t)(close + 1 - s));
            s = close + 1;
        } else if (set && *s == ']' && s != first) {
            set = false;
        }
        qp_buf_char(out, *s);
    }
    return NULL;
}

static qp_status compile(pcre2_code **re, const char *pattern, size_t len, qp_err *err)
{
    qp_buf spelt = { 0 };
    int code = 0;
    PCRE2_SIZE at = 0;
    qp_buf_str(&spelt, "");
    const char *differs = spell_out(&spelt, pattern, len);
    int shown = (int)(len < 200 ? len : 200);
    if (differs) {
        qp_buf_release(&spelt);
        return qp_fail(err, QP_BADFILE, "pattern '%.*s': %s is not supported", shown, pattern,
                       differs);
    }
    /* Oniguruma's ^ and $ stand at every line. */
    *re = pcre2_compile((PCRE2_SPTR)spelt.data, spelt.len, PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE,
                        &code, &at, NULL);
    qp_buf_release(&spelt);
    if (!*re) {
        PCRE2_UCHAR text[200] = "";
        pcre2_get_error_message(code, text, sizeof text);
        return qp_fail(err, QP_BADFILE, "pattern '%.*s': %s", shown, pattern, (char *)text);
    }
    pcre2_jit_compile(*re, PCRE2_JIT_COMPLETE); /* where it cannot, pcre2_match interprets */
    return QP_OK;
}

qp_status qp_pretok_add(qp_pretok *p, const char *pattern, size_t len, qp_split split, qp_err *err)
{
    if (p->n == MAX_STAGES)
        return qp_fail(err, QP_BADFILE, "pre_tokenizer: more than %d stages", MAX_STAGES);
    stage s = { .known = qp_pretok_known(pattern, len), .split = split };
    qp_status rc = s.known ? QP_OK : compile(&s.code, pattern, len, err);
    if (rc) return rc;
    s.pattern = qp_xcalloc(len + 1, 1);
    memcpy(s.pattern, pattern, len);
    p->stage[p->n++] = s;
    return QP_OK;
}

typedef struct {
    const qp_pretok *p;
    pcre2_match_data *match[MAX_STAGES];
    qp_piece_fn *fn;
    void *arg;
    qp_err *err;
} run;

/* 1: a match; 0: none; below: PCRE2's error. With JIT the default stack of 32 kB is enough for
   patterns without nesting; what needs more is interpreted. */
static int match(const run *r, int k, const char *text, size_t len, size_t from, size_t *start,
                 size_t *end)
{
    const stage *s = &r->p->stage[k];
    if (s->known) return s->known(text, len, from, start, end);
    uint32_t options = PCRE2_NO_UTF_CHECK;
    int n = pcre2_match(s->code, (PCRE2_SPTR)text, len, from, options, r->match[k], r->p->limits);
    if (n == PCRE2_ERROR_JIT_STACKLIMIT)
        n = pcre2_match(s->code, (PCRE2_SPTR)text, len, from, options | PCRE2_NO_JIT, r->match[k],
                        r->p->limits);
    if (n < 0) return n == PCRE2_ERROR_NOMATCH ? 0 : n;
    const PCRE2_SIZE *span = pcre2_get_ovector_pointer(r->match[k]);
    *start = span[0];
    *end = span[1];
    return 1;
}

static qp_status failed(const run *r, int k, size_t len, int code)
{
    PCRE2_UCHAR words[200] = "";
    pcre2_get_error_message(code, words, sizeof words);
    return qp_fail(r->err, QP_BADFILE, "pre-tokenizer pattern '%s' on a text of %zu bytes: %s",
                   r->p->stage[k].pattern, len, (char *)words);
}

static qp_status split_from(run *r, int k, const char *text, size_t len)
{
    if (!len) return QP_OK;
    if (k == r->p->n) {
        r->fn(r->arg, text, len);
        return QP_OK;
    }
    bool gaps = r->p->stage[k].split == QP_SPLIT_ISOLATE;
    size_t done = 0, from = 0, start, end;
    int n = 0;
    while (from < len && (n = match(r, k, text, len, from, &start, &end)) > 0) {
        if (start < done) start = done; /* \K may put it before what was searched */
        qp_status rc = gaps ? split_from(r, k + 1, text + done, start - done) : QP_OK;
        if (!rc && end > start) rc = split_from(r, k + 1, text + start, end - start);
        if (rc) return rc;
        done = from = end > start ? end : start;
        if (end <= start &&
            from < len) { /* an empty match cuts, and one character is stepped over */
            const char *next = text + from;
            qp_utf8_next(&next);
            from = (size_t)(next - text);
        }
    }
    if (n < 0) return failed(r, k, len, n);
    return gaps ? split_from(r, k + 1, text + done, len - done) : QP_OK;
}

qp_status qp_pretok_split(const qp_pretok *p, const char *text, size_t len, qp_piece_fn *fn,
                          void *arg, qp_err *err)
{
    run r = { .p = p, .fn = fn, .arg = arg, .err = err };
    qp_status rc = QP_OK;
    for (int i = 0; i < p->n; i++) {
        if (p->stage[i].known) continue;
        r.match[i] = pcre2_match_data_create(1, NULL);
        if (!r.match[i]) qp_fatal(QP_NOMEM, __FILE__, __LINE__, "no memory for PCRE2");
    }
    rc = split_from(&r, 0, text, len);
    for (int i = 0; i < p->n; i++) pcre2_match_data_free(r.match[i]);
    return rc;
}

char *qp_pcre2_version(void)
{
    char version[64] = "";
    pcre2_config(PCRE2_CONFIG_VERSION, version); /* 24 bytes and some; it asks for no length */
    return qp_xstrdup(version);
}
