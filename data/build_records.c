/* A .jsonl or .json: records are parsed and tokenised in parallel, a chunk at a time, then added in
   their order, so the corpus does not depend on the number of threads and memory beyond it stays
   bounded. */
#include "base/thread.h"
#include "data/build.h"
#include "data/encode.h"
#include "data/jsonl.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1024, LOOK_AT = 20 }; /* records in flight; records that may decide the type */

typedef struct {
    qp_record record;
    qp_sample sample;
    qp_ids ids, targets;
    qp_buf mask;
    int64_t rows, bytes; /* rows up to the last target */
    qp_status rc;
    qp_err err;
} slot;

typedef struct {
    qp_build *b;
    const qp_source *source;
    qp_jsonl file;
    const qp_format *format;
    qp_fields fields;
    slot *slots;
    qp_record *records;
    int64_t seen, bad; /* records of this file */
    qp_err first_bad;
} reader;

static qp_status parse_object(qp_value **v, const qp_record *r, qp_err *err)
{
    qp_status rc = qp_json_parse(v, r->text, r->len, err);
    if (rc) return rc;
    qp_json_kind kind = (*v)->kind;
    if (kind == QP_JSON_OBJECT) return QP_OK;
    qp_json_free(*v);
    *v = NULL;
    return qp_fail(err, QP_BADFILE, "%s, wanted an object", qp_json_kind_name(kind));
}

static qp_status make_targets(slot *s, qp_err *err)
{
    for (int64_t i = 0; i + 1 < s->ids.n; i++) {
        bool learned = s->mask.data[i + 1];
        qp_ids_add(&s->targets, learned ? s->ids.id[i + 1] : -1);
        if (learned) s->rows = i + 1;
    }
    if (s->rows) return QP_OK;
    return qp_fail(err, QP_BADFILE, "nothing to learn (%lld tokens, none of them trained)",
                   (long long)s->ids.n);
}

/* Parse, read by the format, tokenise: everything that may run beside the other records. */
static void prepare(void *arg, int64_t i)
{
    reader *r = arg;
    slot *s = &r->slots[i];
    s->record = r->records[i];
    s->ids.n = s->targets.n = s->rows = s->bytes = 0;
    s->err = (qp_err){ 0 };
    qp_buf_clear(&s->mask);
    qp_sample_clear(&s->sample);
    qp_value *v = NULL;
    s->rc = parse_object(&v, &s->record, &s->err);
    if (!s->rc)
        s->rc = r->format->read(v, &r->fields, !qp_has_template(r->b->o), &s->sample, &s->err);
    if (!s->rc) s->rc = qp_sample_encode(&s->sample, r->b->o, &s->ids, &s->mask, &s->err);
    if (!s->rc) s->rc = make_targets(s, &s->err);
    for (int64_t k = 0; k < s->sample.n; k++) s->bytes += (int64_t)s->sample.message[k].len;
    qp_json_free(v);
}

static qp_status add_record(reader *r, const slot *s, qp_err *err)
{
    qp_corpus *c = r->b->c;
    const qp_corpus_options *o = r->b->o;
    int64_t rows = s->rows;
    bool too_long = rows > o->sequence_len;
    if (too_long && o->excess == QP_EXCESS_RAISE)
        return qp_fail(
            err, QP_BADFILE,
            "%s:%lld: %lld tokens, sequence_len is %lld (excess_length_strategy: truncate or drop)",
            r->source->path, (long long)s->record.line, (long long)rows,
            (long long)o->sequence_len);
    if (too_long) rows = o->excess == QP_EXCESS_DROP ? 0 : o->sequence_len;
    while (rows && s->targets.id[rows - 1] < 0) rows--;
    if (!rows) {
        c->dropped++;
        return QP_OK;
    }
    c->truncated += too_long;
    c->bytes += s->bytes;
    qp_build_add(r->b, r->source->weight, r->seen, s->ids.id, s->targets.id, rows);
    return QP_OK;
}

/* A bad record ends the reading or is counted; other failures always end it. */
static qp_status take(reader *r, const slot *s, qp_err *err)
{
    qp_status rc = QP_OK;
    if (!s->rc)
        rc = add_record(r, s, err);
    else
        qp_fail(err, s->rc, "%s:%lld: %s", r->source->path, (long long)s->record.line, s->err.msg);
    r->seen++;
    if (!s->rc || s->rc != QP_BADFILE || r->b->o->on_bad == QP_BAD_RAISE) return rc ? rc : s->rc;
    if (!r->bad++) r->first_bad = *err;
    r->b->c->skipped++;
    *err = (qp_err){ 0 };
    return QP_OK;
}

/* The type of the file: that of the first record that has one. */
static qp_status choose_format(reader *r, int64_t n, qp_err *err)
{
    const qp_source *s = r->source;
    const char *named[QP_FIELDS] = { s->field_messages,    s->field_prompt, s->field_completion,
                                     s->field_instruction, s->field_input,  s->field_output,
                                     s->field_text };
    memcpy(r->fields.name, named, sizeof named);
    char keys[200] = "nothing that could be read";
    int64_t line = r->records[0].line;
    for (int64_t i = 0; i < n && i < LOOK_AT && !r->format; i++) {
        qp_value *v = NULL;
        qp_err ignored = { 0 };
        if (parse_object(&v, &r->records[i], &ignored)) {
            if (!i) snprintf(keys, sizeof keys, "%.190s", ignored.msg);
            continue;
        }
        if (!i) qp_record_keys(v, keys, sizeof keys);
        qp_status rc = qp_format_find(&r->format, s->type, v, &r->fields, err);
        qp_json_free(v);
        if (rc) return rc;
    }
    if (r->format) return QP_OK;
    return qp_fail(err, QP_BADFILE,
                   "%s:%lld: found %s; wanted messages, conversations, prompt + completion, "
                   "question + answer, "
                   "instruction + output, text, or a field_ name for the columns",
                   s->path, (long long)line, keys);
}

static qp_status check_bad(const reader *r, qp_err *err)
{
    double share = r->seen ? 100.0 * (double)r->bad / (double)r->seen : 0;
    if (share <= r->b->o->bad_limit) return QP_OK;
    return qp_fail(
        err, QP_BADFILE,
        "%s: %lld of %lld records are bad (%.2g %%, bad_sample_limit is %g %%), the first: %s",
        r->source->path, (long long)r->bad, (long long)r->seen, share, r->b->o->bad_limit,
        r->first_bad.msg);
}

static void describe(const reader *r)
{
    qp_buf *f = &r->b->found;
    qp_buf_printf(f, "%s: %s", r->source->path, r->format->name);
    const char *before = " (";
    for (int i = 0; i < QP_FIELDS; i++) {
        if (!(r->format->fields & 1u << i)) continue;
        qp_buf_printf(f, "%s%s", before, r->fields.name[i]);
        before = ", ";
    }
    qp_buf_printf(f, "%s, %lld records\n", r->format->fields ? ")" : "", (long long)r->seen);
}

static qp_status read_chunks(reader *r, qp_err *err)
{
    for (;;) {
        int64_t n;
        qp_status rc = qp_jsonl_next(&r->file, r->records, CHUNK, &n, err);
        if (!rc && n && !r->format) rc = choose_format(r, n, err);
        if (rc || !n) return rc;
        qp_parallel_for(r->b->o->threads, n, prepare, r);
        for (int64_t i = 0; i < n; i++)
            if ((rc = take(r, &r->slots[i], err))) return rc;
    }
}

qp_status qp_build_records(qp_build *b, const qp_source *s, qp_err *err)
{
    reader r = { .b = b, .source = s };
    r.slots = qp_xcalloc(CHUNK, sizeof *r.slots);
    r.records = qp_xcalloc(CHUNK, sizeof *r.records);
    qp_status rc = qp_jsonl_open(&r.file, s->path, err);
    if (!rc) {
        rc = read_chunks(&r, err);
        qp_jsonl_release(&r.file);
    }
    if (!rc && !r.seen)
        rc = qp_fail(err, QP_BADFILE, "%s: no examples: the file has no records", s->path);
    if (!rc) rc = check_bad(&r, err);
    if (!rc) describe(&r);
    for (int64_t i = 0; i < CHUNK; i++) {
        qp_sample_release(&r.slots[i].sample);
        qp_ids_release(&r.slots[i].ids);
        qp_ids_release(&r.slots[i].targets);
        qp_buf_release(&r.slots[i].mask);
    }
    free(r.slots);
    free(r.records);
    return rc;
}
