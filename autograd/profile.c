#include "autograd/profile.h"
#include "base/thread.h"
#include <stdlib.h>
#include <string.h>

static qp_op_cost *cost_of(qp_profile *p, const qp_op *op)
{
    int i = 0;
    while (i < p->count && p->cost[i].op != op) i++;
    if (i == QP_PROFILE_OPS) return &p->cost[QP_PROFILE_OPS - 1];
    if (i == p->count) p->cost[p->count++].op = op;
    return &p->cost[i];
}

/* Ops nest. One that ends takes what was booked since it began off its own account; no pointer to
   an outer one is kept, because a fatal handler may jump over its end. */
void qp_timed_begin(qp_timed *t, qp_ctx *c, const qp_op *op, bool backward)
{
    qp_profile *p = c->profile;
    *t = (qp_timed){ .c = c,
                     .op = op,
                     .backward = backward,
                     .was_walking = p->walking,
                     .booked_s = p->booked_s,
                     .booked_bytes = p->booked_bytes,
                     .live = c->arena.live,
                     .most = c->arena.live_most };
    c->arena.live_most = c->arena.live;
    if (backward) p->walking = true;
    t->start = qp_now();
}

static void book_time(qp_profile *p, qp_op_time *time, double s)
{
    time->calls++;
    time->s += s;
    p->booked_s += s;
}

static const char *pass(bool backward, bool walking)
{
    return backward ? "backward" : walking ? "again" : "forward";
}

static qp_op_time *time_of(qp_profile *p, const qp_op *op, bool backward)
{
    qp_op_cost *cost = cost_of(p, op);
    return backward ? &cost->backward : p->walking ? &cost->again : &cost->forward;
}

static void book_work(qp_profile *p, const qp_op *op, bool backward, const qp_op_work *work)
{
    qp_op_work *sum = &time_of(p, op, backward)->work;
    sum->flop += work->flop;
    sum->bytes += work->bytes;
    p->last.work.flop += work->flop;
    p->last.work.bytes += work->bytes;
}

/* What a call says of itself, in what order it may; the trace's event takes it when it ends. */
static void begin_last(qp_profile *p, const qp_op *op, bool backward)
{
    if (p->last.op == op && p->last.backward == backward) return;
    p->last.op = op;
    p->last.backward = backward;
    p->last.work = (qp_op_work){ 0 };
    p->last.operands.count = 0;
}

void qp_profile_call(qp_profile *p, const qp_op *op, bool backward, const qp_tensor *out, int count,
                     qp_tensor *const *in)
{
    qp_op_work work;
    begin_last(p, op, backward);
    if (p->trace) qp_trace_describe(&p->last.operands, out, count, in);
    if (qp_op_work_of(op, backward, out, count, in, &work)) book_work(p, op, backward, &work);
}

void qp_profile_work(qp_ctx *c, const qp_op *op, bool backward, qp_op_work work)
{
    if (!c->profile) return;
    begin_last(c->profile, op, backward);
    book_work(c->profile, op, backward, &work);
}

static void trace_call(qp_profile *p, const qp_timed *t, double end)
{
    const bool said = p->last.op == t->op && p->last.backward == t->backward;
    if (p->trace)
        qp_trace_add(p->trace, t->op->name, pass(t->backward, p->walking), 0, t->start, end,
                     said ? &p->last.work : NULL, said ? &p->last.operands : NULL);
    p->last.op = NULL;
}

static void book_memory(qp_profile *p, const qp_timed *t, qp_op_cost *cost, bool forward)
{
    qp_arena *a = &t->c->arena;
    const int64_t grown = (int64_t)a->live - (int64_t)t->live;
    const int64_t own = grown - (p->booked_bytes - t->booked_bytes);
    if (forward) cost->kept_bytes += own;
    p->booked_bytes += own;
    if (a->live_most > p->most_bytes) {
        p->most_bytes = a->live_most;
        p->most_op = t->op;
        p->most_backward = t->backward;
    }
    if (a->live_most - t->live > cost->most_bytes) cost->most_bytes = a->live_most - t->live;
    if (a->live_most < t->most) a->live_most = t->most;
}

void qp_timed_end(qp_timed *t)
{
    const double end = qp_now(), took = end - t->start;
    qp_profile *p = t->c->profile;
    if (!p) return;
    p->walking = t->was_walking;
    qp_op_cost *cost = cost_of(p, t->op);
    qp_op_time *time = time_of(p, t->op, t->backward);
    book_time(p, time, took - (p->booked_s - t->booked_s));
    book_memory(p, t, cost, time == &cost->forward);
    trace_call(p, t, end);
}

void qp_profile_span(qp_profile *p, const char *name, int lane, double start, double end)
{
    int i = 0;
    while (i < p->phases && strcmp(p->phase[i].name, name)) i++;
    if (i == QP_PROFILE_PHASES) i--;
    if (i == p->phases) p->phase[p->phases++].name = name;
    p->phase[i].time.calls++;
    p->phase[i].time.s += end - start;
    if (p->trace) qp_trace_add(p->trace, name, "phase", lane, start, end, NULL, NULL);
}

qp_phase qp_phase_enter(qp_profile *p, const char *name)
{
    return (qp_phase){ p, name, p ? qp_now() : 0 };
}

void qp_phase_leave(qp_phase *phase)
{
    if (phase->p) qp_profile_span(phase->p, phase->name, 0, phase->start, qp_now());
}

static double seconds(const qp_op_cost *c) { return c->forward.s + c->again.s + c->backward.s; }

static int dearest_first(const void *a, const void *b)
{
    const double x = seconds(a), y = seconds(b);
    return (x < y) - (x > y);
}

static void column(qp_buf *out, const qp_op_time *t)
{
    if (t->calls)
        qp_buf_printf(out, " %8lld %9.2f", (long long)t->calls, 1e3 * t->s);
    else
        qp_buf_printf(out, " %18s", "");
}

static void line(qp_buf *out, const char *name, const qp_op_cost *c, bool again, double all)
{
    qp_buf_printf(out, "%-16s", name);
    column(out, &c->forward);
    if (again) column(out, &c->again);
    column(out, &c->backward);
    qp_buf_printf(out, " %6.1f %10.3f", all > 0 ? 100 * seconds(c) / all : 0.,
                  (double)c->kept_bytes / 1e6);
    if (c->most_bytes) qp_buf_printf(out, " %10.3f", (double)c->most_bytes / 1e6);
    qp_buf_char(out, '\n');
}

static void add(qp_op_time *sum, const qp_op_time *t)
{
    sum->calls += t->calls;
    sum->s += t->s;
}

static void head(qp_buf *out, bool again)
{
    static const char group[] = "          %9s", columns[] = "    calls        ms";
    qp_buf_printf(out, "%-16s", "");
    qp_buf_printf(out, group, "forward");
    if (again) qp_buf_printf(out, group, "again");
    qp_buf_printf(out, group, "backward");
    qp_buf_printf(out, " %6s %21s\n%-16s", "time", "memory, MB", "op");
    for (int i = again ? 3 : 2; i > 0; i--) qp_buf_str(out, columns);
    qp_buf_printf(out, " %6s %10s %10s\n", "%", "kept", "at most");
}

void qp_profile_print(const qp_profile *p, qp_buf *out)
{
    qp_op_cost sum = { 0 }, *sorted = qp_xmalloc((size_t)p->count * sizeof *sorted);
    memcpy(sorted, p->cost, (size_t)p->count * sizeof *sorted);
    qsort(sorted, (size_t)p->count, sizeof *sorted, dearest_first);
    for (int i = 0; i < p->count; i++) {
        add(&sum.forward, &sorted[i].forward);
        add(&sum.again, &sorted[i].again);
        add(&sum.backward, &sorted[i].backward);
        sum.kept_bytes += sorted[i].kept_bytes;
    }
    const bool again = sum.again.calls > 0;
    head(out, again);
    for (int i = 0; i < p->count; i++)
        line(out, sorted[i].op->name, &sorted[i], again, seconds(&sum));
    line(out, "all", &sum, again, seconds(&sum));
    if (p->most_op)
        qp_buf_printf(out, "most memory in use at a time: %.3f MB, in %s%s\n",
                      (double)p->most_bytes / 1e6, p->most_op->name,
                      p->most_backward ? "'s backward" : "");
    free(sorted);
}

/* Operations and bytes by op and pass */

typedef struct {
    const char *name, *pass;
    const qp_op_time *time;
} work_line;

static int longest_first(const void *a, const void *b)
{
    const double x = ((const work_line *)a)->time->s, y = ((const work_line *)b)->time->s;
    return (x < y) - (x > y);
}

/* "  987.6  94" a second in units of 1e9, and in hundredths of the peak. */
static void rate(qp_buf *out, double amount, double s, double peak)
{
    const double per_s = s > 0 ? amount / s : 0;
    if (amount <= 0)
        qp_buf_printf(out, " %8s %5s", "", "");
    else if (peak > 0)
        qp_buf_printf(out, " %8.1f %5.1f", per_s / 1e9, 100 * per_s / peak);
    else
        qp_buf_printf(out, " %8.1f %5s", per_s / 1e9, "");
}

static void work_row(qp_buf *out, const work_line *l, double all_s, double peak_flops,
                     double peak_bytes)
{
    const qp_op_time *t = l->time;
    qp_buf_printf(out, "%-16s %-8s %8lld %10.2f %5.1f %10.3f", l->name, l->pass,
                  (long long)t->calls, 1e3 * t->s, all_s > 0 ? 100 * t->s / all_s : 0.,
                  t->work.flop / 1e9);
    rate(out, t->work.flop, t->s, peak_flops);
    qp_buf_printf(out, " %9.3f", t->work.bytes / 1e9);
    rate(out, t->work.bytes, t->s, peak_bytes);
    while (out->data[out->len - 1] == ' ') out->data[--out->len] = '\0';
    qp_buf_char(out, '\n');
}

static void phase_rows(qp_buf *out, const qp_profile *p)
{
    if (!p->phases) return;
    qp_buf_printf(out, "%-16s %8s %10s %10s\n", "phase", "calls", "ms", "ms a call");
    for (int i = 0; i < p->phases; i++) {
        const qp_op_time *t = &p->phase[i].time;
        qp_buf_printf(out, "%-16s %8lld %10.2f %10.3f\n", p->phase[i].name, (long long)t->calls,
                      1e3 * t->s, 1e3 * t->s / (double)t->calls);
    }
    qp_buf_char(out, '\n');
}

void qp_profile_print_work(const qp_profile *p, double peak_flops, double peak_bytes_per_s,
                           qp_buf *out)
{
    work_line *l = qp_xmalloc((size_t)(3 * p->count + 1) * sizeof *l);
    int n = 0;
    qp_op_time all = { 0 };
    for (int i = 0; i < p->count; i++) {
        const qp_op_cost *c = &p->cost[i];
        const qp_op_time *of[] = { &c->forward, &c->again, &c->backward };
        for (int k = 0; k < 3; k++) {
            if (!of[k]->calls) continue;
            l[n++] = (work_line){ c->op->name, pass(k == 2, k == 1), of[k] };
            add(&all, of[k]);
            all.work.flop += of[k]->work.flop;
            all.work.bytes += of[k]->work.bytes;
        }
    }
    qsort(l, (size_t)n, sizeof *l, longest_first);
    l[n++] = (work_line){ "all", "", &all };
    phase_rows(out, p);
    qp_buf_printf(out, "%-16s %-8s %8s %10s %5s %10s %8s %5s %9s %8s %5s\n", "op", "pass", "calls",
                  "ms", "%", "GFLOP", "GFLOP/s", "peak%", "GB", "GB/s", "peak%");
    for (int i = 0; i < n; i++) work_row(out, &l[i], all.s, peak_flops, peak_bytes_per_s);
    free(l);
}
