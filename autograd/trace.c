#include "autograd/trace.h"
#include "base/json.h"
#include "base/thread.h"
#include "base/zio.h"
#include <math.h>
#include <stdlib.h>

typedef struct {
    const char *name, *category;
    double start, s, flop, bytes; /* bytes below 0: not known */
    int lane;
    qp_trace_operands operands;
} event;

struct qp_trace {
    double begun;
    int64_t count, most, left_out;
    event *event; /* pages are touched as they fill */
};

qp_trace *qp_trace_new(int64_t most)
{
    qp_trace *t = qp_xcalloc(1, sizeof *t);
    t->begun = qp_now();
    t->most = most;
    t->event = qp_xmalloc((size_t)most * sizeof *t->event);
    return t;
}

void qp_trace_free(qp_trace *t)
{
    if (t) free(t->event);
    free(t);
}

int64_t qp_trace_events(const qp_trace *t) { return t->count; }
int64_t qp_trace_left_out(const qp_trace *t) { return t->left_out; }

static void describe(qp_trace_operands *o, const qp_tensor *t)
{
    if (!t || o->count == QP_TRACE_OPERANDS) return;
    const int skipped = t->ndim > QP_TRACE_DIMS ? t->ndim - QP_TRACE_DIMS : 0;
    const int i = o->count++;
    o->of[i].storage = (signed char)t->storage;
    o->of[i].ndim = (signed char)(t->ndim - skipped);
    for (int d = skipped; d < t->ndim; d++) o->of[i].shape[d - skipped] = (int32_t)t->shape[d];
}

void qp_trace_describe(qp_trace_operands *o, const qp_tensor *out, int count, qp_tensor *const *in)
{
    o->count = 0;
    describe(o, out);
    for (int i = 0; i < count; i++) describe(o, in[i]);
}

void qp_trace_add(qp_trace *t, const char *name, const char *category, int lane, double start,
                  double end, const qp_op_work *work, const qp_trace_operands *operands)
{
    if (t->count == t->most) {
        t->left_out++;
        return;
    }
    event *e = &t->event[t->count++];
    *e = (event){ .name = name,
                  .category = category,
                  .start = start,
                  .s = end - start,
                  .flop = work ? work->flop : 0,
                  .bytes = work ? work->bytes : -1,
                  .lane = lane };
    if (operands) e->operands = *operands;
}

/* Microseconds, to the nanosecond: what the format counts in, and what the clock gives. */
static double us(double s) { return rint(s * 1e9) / 1e3; }

static void text(qp_json_writer *w, const char *key, const char *value)
{
    qp_json_key(w, key);
    qp_json_cstring(w, value);
}

static void integer(qp_json_writer *w, const char *key, double value)
{
    qp_json_key(w, key);
    qp_json_int(w, (int64_t)value);
}

static void operand(qp_json_writer *w, const qp_trace_operands *o, int i)
{
    qp_tensor t = { .storage = (qp_storage)o->of[i].storage, .ndim = o->of[i].ndim };
    for (int d = 0; d < t.ndim; d++) t.shape[d] = o->of[i].shape[d];
    qp_json_cstring(w, qp_str(&t));
}

static void arguments(qp_json_writer *w, const event *e)
{
    qp_json_key(w, "args");
    qp_json_open_object(w);
    if (e->bytes >= 0) {
        integer(w, "flop", e->flop);
        integer(w, "bytes", e->bytes);
    }
    if (e->operands.count) {
        qp_json_key(w, "out");
        operand(w, &e->operands, 0);
        qp_json_key(w, "in");
        qp_json_open_array(w);
        for (int i = 1; i < e->operands.count; i++) operand(w, &e->operands, i);
        qp_json_close_array(w);
    }
    qp_json_close_object(w);
}

static void place(qp_json_writer *w, const char *kind, int lane)
{
    text(w, "ph", kind);
    integer(w, "pid", 1);
    integer(w, "tid", lane);
}

static void lane_name(qp_json_writer *w, int lane, const char *name)
{
    qp_json_open_object(w);
    text(w, "name", "thread_name");
    place(w, "M", lane);
    qp_json_key(w, "args");
    qp_json_open_object(w);
    text(w, "name", name);
    qp_json_close_object(w);
    qp_json_close_object(w);
}

static void write_event(qp_json_writer *w, const qp_trace *t, const event *e)
{
    qp_json_open_object(w);
    text(w, "name", e->name);
    text(w, "cat", e->category);
    place(w, "X", e->lane);
    qp_json_key(w, "ts");
    qp_json_double(w, us(e->start - t->begun));
    qp_json_key(w, "dur");
    qp_json_double(w, us(e->s));
    arguments(w, e);
    qp_json_close_object(w);
}

/* Piece by piece: a full trace is 25 MB of text. */
static qp_status write_all(const qp_trace *t, qp_out *o, qp_err *err)
{
    enum { PIECE = 1 << 16 };
    qp_buf out = { 0 };
    qp_status rc = QP_OK;
    qp_json_writer w = { .out = &out };
    qp_json_open_object(&w);
    text(&w, "displayTimeUnit", "ms");
    qp_json_key(&w, "traceEvents");
    qp_json_open_array(&w);
    lane_name(&w, 0, "training");
    lane_name(&w, 1, "saving");
    for (int64_t i = 0; i < t->count && !rc; i++) {
        write_event(&w, t, &t->event[i]);
        if (out.len < PIECE) continue;
        rc = qp_out_add(o, out.data, out.len, err);
        qp_buf_clear(&out);
    }
    qp_json_close_array(&w);
    qp_json_close_object(&w);
    qp_buf_char(&out, '\n');
    if (!rc) rc = qp_out_add(o, out.data, out.len, err);
    qp_buf_release(&out);
    return rc;
}

qp_status qp_trace_write(const qp_trace *t, const char *path, qp_err *err)
{
    qp_out o;
    qp_status rc = qp_out_open(&o, path, err);
    if (!rc) rc = write_all(t, &o, err);
    return rc ? rc : qp_out_finish(&o, err);
}
