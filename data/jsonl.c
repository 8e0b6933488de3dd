#include "data/jsonl.h"
#include <string.h>

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static int64_t count_lines(const char *from, const char *to)
{
    int64_t n = 0;
    for (; from < to && (from = memchr(from, '\n', (size_t)(to - from))); from++) n++;
    return n;
}

qp_status qp_jsonl_open(qp_jsonl *r, const char *path, qp_err *err)
{
    *r = (qp_jsonl){ .path = path, .line = 1 };
    qp_status rc = qp_map_open(&r->map, path, err);
    if (rc) return rc;
    r->at = r->map.data ? (const char *)r->map.data : "";
    r->end = r->at + r->map.len;
    if (r->map.len >= 3 && !memcmp(r->at, "\xef\xbb\xbf", 3)) r->at += 3; /* byte order mark */
    const char *first = r->at;
    while (first < r->end && is_space(*first)) first++;
    /* By content, not by name: files called .json often hold lines. */
    r->array = first < r->end && *first == '[';
    if (!r->array) return QP_OK;
    qp_json_init(&r->json, r->at, (size_t)(r->end - r->at), &r->json_err);
    qp_json_next(&r->json);
    return QP_OK;
}

static void next_line(qp_jsonl *r, qp_record *record, int64_t max, int64_t *n)
{
    while (*n < max && r->at < r->end) {
        const char *stop = memchr(r->at, '\n', (size_t)(r->end - r->at));
        const char *from = r->at, *to = stop ? stop : r->end;
        while (from < to && is_space(*from)) from++;
        while (to > from && is_space(to[-1])) to--;
        if (to > from) record[(*n)++] = (qp_record){ from, (size_t)(to - from), r->line };
        r->at = stop ? stop + 1 : r->end;
        r->line++;
    }
}

static qp_status next_element(qp_jsonl *r, qp_record *record, int64_t max, int64_t *n, qp_err *err)
{
    while (*n < max && r->json.kind != QP_JSON_END) {
        qp_json_kind kind = qp_json_next(&r->json);
        const char *from = r->json.start;
        if (kind == QP_JSON_ARRAY_END && qp_json_next(&r->json) == QP_JSON_END) return QP_OK;
        if (kind != QP_JSON_ERROR && kind != QP_JSON_ARRAY_END) qp_json_skip(&r->json);
        const char *seen = r->json.kind == QP_JSON_ERROR ? r->json.at : from;
        r->line += count_lines(r->at, seen);
        r->at = seen;
        if (r->json.kind == QP_JSON_ERROR)
            return qp_fail(err, QP_BADFILE, "%s:%lld: %s", r->path, (long long)r->line,
                           r->json_err.msg);
        record[(*n)++] = (qp_record){ from, (size_t)(r->json.at - from), r->line };
    }
    return QP_OK;
}

qp_status qp_jsonl_next(qp_jsonl *r, qp_record *record, int64_t max, int64_t *n, qp_err *err)
{
    *n = 0;
    if (r->array) return next_element(r, record, max, n, err);
    next_line(r, record, max, n);
    return QP_OK;
}

void qp_jsonl_release(qp_jsonl *r)
{
    if (r->array) qp_json_release(&r->json);
    qp_map_release(&r->map);
    *r = (qp_jsonl){ 0 };
}
