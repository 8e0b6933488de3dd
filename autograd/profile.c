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
    const double took = qp_now() - t->start;
    qp_profile *p = t->c->profile;
    if (!p) return;
    p->walking = t->was_walking;
    qp_op_cost *cost = cost_of(p, t->op);
    qp_op_time *time = t->backward ? &cost->backward : p->walking ? &cost->again : &cost->forward;
    book_time(p, time, took - (p->booked_s - t->booked_s));
    book_memory(p, t, cost, time == &cost->forward);
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
