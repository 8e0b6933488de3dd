#include "train/profiling.h"
#include "base/zio.h"
#include "train/plan.h"
#include <stdlib.h>

qp_status qp_profiling_open(qp_profiling *p, const qp_backend *be, qp_err *err)
{
    qp_status rc = qp_plan_bandwidth(be, &p->peak_bytes_per_s, err);
    if (rc) return rc;
    p->on = true;
    p->trace = qp_trace_new(QP_TRACE_MOST);
    return QP_OK;
}

void qp_profiling_release(qp_profiling *p) { qp_trace_free(p->trace); }

void qp_profiling_step(qp_profiling *p, bool is_last)
{
    const int64_t step = ++p->steps;
    const bool shown = step >= QP_TRACE_FIRST && step <= QP_TRACE_LAST;
    p->cost.trace = shown || (step == 1 && is_last) ? p->trace : NULL;
}

static qp_status write_text(const char *dir, const qp_buf *text, qp_err *err)
{
    char *path = qp_path_join(dir, "profile.txt");
    qp_status rc = qp_file_write(path, text->data, text->len, err);
    free(path);
    return rc;
}

static qp_status write_trace(const char *dir, const qp_trace *t, qp_err *err)
{
    char *path = qp_path_join(dir, "trace.json");
    qp_status rc = qp_trace_write(t, path, err);
    free(path);
    return rc;
}

qp_status qp_profiling_write(const qp_profiling *p, const char *dir, double peak_flops, qp_buf *out,
                             qp_err *err)
{
    qp_buf text = { 0 };
    qp_buf_printf(&text,
                  "profile of %lld steps; peaks measured here: %.0f GFLOP/s in products, %.1f GB/s "
                  "in copies\n\n",
                  (long long)p->steps, peak_flops / 1e9, p->peak_bytes_per_s / 1e9);
    qp_profile_print_work(&p->cost, peak_flops, p->peak_bytes_per_s, &text);
    qp_buf_char(&text, '\n');
    qp_profile_print(&p->cost, &text);
    if (qp_trace_left_out(p->trace))
        qp_buf_printf(&text, "trace.json holds the first %lld events; %lld more are left out\n",
                      (long long)qp_trace_events(p->trace), (long long)qp_trace_left_out(p->trace));
    qp_status rc = write_text(dir, &text, err);
    if (!rc) rc = write_trace(dir, p->trace, err);
    qp_buf_add(out, text.data, text.len);
    qp_buf_release(&text);
    return rc;
}
