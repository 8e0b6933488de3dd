#include "train/metrics.h"
#include "train/usage.h"
#include "base/json.h"
#include "base/thread.h"
#include "base/zio.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Whether a line {"step": 12, ...} or {"eval_step": 12, ...} is of the past; what is neither is
 * not. */
static bool is_past(const char *line, size_t len, int64_t step, int64_t eval_step)
{
    qp_err ignored = { 0 };
    qp_value *v = NULL;
    if (qp_json_parse(&v, line, len, &ignored)) return false;
    const qp_value *s = qp_json_get(v, "step"), *e = qp_json_get(v, "eval_step");
    bool past = (s && s->is_integer && s->integer <= step) ||
                (e && e->is_integer && e->integer <= eval_step);
    qp_json_free(v);
    return past;
}

/* A killed run wrote lines that the resumed one will write again. */
static qp_status truncate_to(const char *path, int64_t step, int64_t eval_step, qp_err *err)
{
    qp_buf text = { 0 }, kept = { 0 };
    if (!qp_path_exists(path)) return QP_OK;
    qp_status rc = qp_file_read(path, &text, err);
    for (size_t at = 0; !rc && at < text.len;) {
        const char *line = text.data + at, *end = memchr(line, '\n', text.len - at);
        if (!end) break;
        size_t len = (size_t)(end - line);
        if (is_past(line, len, step, eval_step)) qp_buf_add(&kept, line, len + 1);
        at += len + 1;
    }
    if (!rc && kept.len != text.len)
        rc = qp_file_write(path, kept.data ? kept.data : "", kept.len, err);
    qp_buf_release(&text);
    qp_buf_release(&kept);
    return rc;
}

qp_status qp_metrics_open(qp_metrics *m, const char *run, int64_t step, int64_t eval_step,
                          FILE *out, qp_err *err)
{
    *m = (qp_metrics){ .out = out, .jsonl = -1, .path = qp_path_join(run, "metrics.jsonl") };
    m->terminal = isatty(fileno(out));
    m->colour = m->terminal && !getenv("NO_COLOR");
    qp_status rc = truncate_to(m->path, step, eval_step, err);
    if (rc) return rc;
    m->jsonl = open(m->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    return m->jsonl < 0 ? qp_fail(err, QP_IO, "%s: %s", m->path, strerror(errno)) : QP_OK;
}

static void clear_bar(qp_metrics *m)
{
    if (m->bar_shown) fputs("\r\033[K", m->out);
    m->bar_shown = false;
}

void qp_metrics_close(qp_metrics *m)
{
    if (m->out) clear_bar(m);
    if (m->path && m->jsonl >= 0) close(m->jsonl);
    free(m->path);
    *m = (qp_metrics){ .jsonl = -1 };
}

qp_status qp_metrics_sync(const qp_metrics *m, qp_err *err)
{
    if (!fsync(m->jsonl)) return QP_OK;
    return qp_fail(err, QP_IO, "%s: fsync: %s", m->path, strerror(errno));
}

void qp_metrics_text(qp_metrics *m, const char *fmt, ...)
{
    va_list ap;
    clear_bar(m);
    va_start(ap, fmt);
    vfprintf(m->out, fmt, ap);
    va_end(ap);
    fputc('\n', m->out);
    fflush(m->out);
}

static qp_status append(qp_metrics *m, qp_buf *line, qp_err *err)
{
    qp_status rc = QP_OK;
    qp_buf_char(line, '\n');
    ssize_t n = write(m->jsonl, line->data, line->len);
    if (n < 0 || (size_t)n != line->len)
        rc = qp_fail(err, QP_IO, "%s: %s", m->path, n < 0 ? strerror(errno) : "disk full");
    qp_buf_release(line);
    return rc;
}

typedef struct {
    const char *name;
    double value;
} number;

static qp_status append_object(qp_metrics *m, const char *step_name, int64_t step, const number *v,
                               int n, const char *count_name, int64_t count, qp_err *err)
{
    qp_buf line = { 0 };
    qp_json_writer w = { .out = &line };
    qp_json_open_object(&w);
    qp_json_key(&w, step_name);
    qp_json_int(&w, step);
    for (int i = 0; i < n; i++) {
        qp_json_key(&w, v[i].name);
        qp_json_double(&w, v[i].value);
    }
    qp_json_key(&w, count_name);
    qp_json_int(&w, count);
    qp_json_close_object(&w);
    return append(m, &line, err);
}

qp_status qp_metrics_step(qp_metrics *m, const qp_step_line *l, qp_err *err)
{
    char of[32] = "", rss[16], eta[24] = "?";
    int64_t rss_bytes = qp_rss_bytes();
    if (l->total) snprintf(of, sizeof of, "/%lld", (long long)l->total);
    if (isfinite(l->eta)) qp_time_text(eta, l->eta);
    qp_bytes_text(rss, (double)rss_bytes);
    qp_metrics_text(m,
                    "step %lld%s epoch %.2f | loss %.4f ppl %.2f | lr %.2e | gnorm %.2f | tok/s "
                    "%.0f (trained %.0f) | "
                    "mfu %.0f%% | rss %s | eta %s",
                    (long long)l->step, of, l->epoch, l->loss, exp(l->loss), l->lr, l->grad_norm,
                    l->tokens_per_s, l->trained_per_s, 100 * l->mfu, rss, eta);
    number v[] = { { "epoch", l->epoch },
                   { "loss", l->loss },
                   { "ppl", exp(l->loss) },
                   { "lr", l->lr },
                   { "grad_norm", l->grad_norm },
                   { "tokens_per_s", l->tokens_per_s },
                   { "trained_tokens_per_s", l->trained_per_s },
                   { "mfu", l->mfu } };
    return append_object(m, "step", l->step, v, sizeof v / sizeof *v, "rss_bytes", rss_bytes, err);
}

qp_status qp_metrics_eval(qp_metrics *m, int64_t step, const qp_ppl *p, qp_err *err)
{
    qp_metrics_text(m, "eval step %lld | loss %.4f ppl %.2f ± %.2f | tokens %lld", (long long)step,
                    p->nll, p->ppl, p->stderr_ppl, (long long)p->tokens);
    number v[] = { { "loss", p->nll }, { "ppl", p->ppl }, { "stderr", p->stderr_ppl } };
    return append_object(m, "eval_step", step, v, sizeof v / sizeof *v, "tokens", p->tokens, err);
}

void qp_metrics_save(qp_metrics *m, const char *name, int64_t bytes, double seconds, double waited,
                     bool best)
{
    qp_metrics_text(m, "save %s (%.1f MB, %.2f s, training waited %.3f s%s)", name,
                    (double)bytes / 1e6, seconds, waited, best ? ", best" : "");
}

/* Columns that a line may fill without wrapping, which \r could not take back. */
static int line_width(const qp_metrics *m)
{
    struct winsize w;
    bool known = !ioctl(fileno(m->out), TIOCGWINSZ, &w) && w.ws_col > 0;
    return (known ? w.ws_col : 80) - 1;
}

void qp_metrics_bar(qp_metrics *m, double share, const char *label)
{
    enum { CELLS = 40, AROUND = 8 }; /* brackets, per cent, spaces */
    char bar[CELLS + 1];
    double now = qp_now();
    if (!m->terminal || (m->bar_shown && now - m->bar_drawn < 0.1)) return;
    int width = line_width(m), cells = width - AROUND - (int)strlen(label);
    cells = cells > CELLS ? CELLS : cells < 0 ? 0 : cells;
    int full = (int)(share * cells + 0.5), room = width - AROUND - cells;
    for (int i = 0; i < cells; i++) bar[i] = i < full ? '#' : '.';
    bar[cells] = 0;
    fprintf(m->out, "\r\033[K%s[%s]%s %3.0f%% %.*s", m->colour ? "\033[32m" : "", bar,
            m->colour ? "\033[0m" : "", 100 * share, room > 0 ? room : 0, label);
    fflush(m->out);
    m->bar_shown = true;
    m->bar_drawn = now;
}
