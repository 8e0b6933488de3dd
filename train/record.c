#include "train/usage.h"
#include "base/json.h"
#include "base/sha256.h"
#include "base/thread.h"
#include "base/zio.h"
#include "train/session.h"
#include "train/versions.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

static void banner_model(qp_session *r)
{
    const qp_config *c = qp_model_config(r->s.model);
    const qp_params *p = qp_model_params(r->s.model);
    double all = (double)qp_model_parameters(r->s.model), trained = (double)p->n;
    qp_metrics_text(&r->metrics,
                    "model    %s | %lld layers, hidden %lld, vocabulary %lld | %.2fM parameters, "
                    "%.2fM trained (%.2f%%)",
                    r->o->base_model ? r->o->base_model : "new", (long long)c->layers,
                    (long long)c->hidden_size, (long long)c->vocab_size, all / 1e6, trained / 1e6,
                    100 * trained / (r->s.adapter ? all + trained : all));
}

static void banner_data(qp_session *r)
{
    const qp_corpus *t = &r->s.train, *v = &r->s.valid;
    qp_metrics_text(&r->metrics,
                    "data     %lld documents, %lld tokens, %.1f%% trained | %lld truncated, %lld "
                    "dropped, %lld skipped | "
                    "validation: %lld documents, %lld tokens",
                    (long long)t->documents, (long long)t->n,
                    100 * (double)t->trained / (double)t->n, (long long)t->truncated,
                    (long long)t->dropped, (long long)t->skipped, (long long)v->documents,
                    (long long)v->n);
    for (char *line = t->found, *end; line && *line; line = end + (*end == '\n')) {
        end = line + strcspn(line, "\n");
        qp_metrics_text(&r->metrics, "         %.*s", (int)(end - line), line);
    }
    qp_metrics_text(&r->metrics, "         tokenizer %s, template %s",
                    qp_tokenizer_kind(r->s.tokenizer), qp_chat_name(r->s.chat));
}

static void banner_plan(qp_session *r)
{
    char time[24] = "unknown", disk[16];
    qp_buf memory = { 0 };
    qp_memory_text(&memory, &r->plan, r->ctx.recompute);
    qp_bytes_text(disk, qp_forecast_disk(&r->s));
    r->planned_seconds = qp_forecast_seconds(&r->s, r->p.step, r->peak_flops);
    if (isfinite(r->planned_seconds)) qp_time_text(time, r->planned_seconds);
    qp_metrics_text(&r->metrics, "plan     memory %s", memory.data);
    qp_metrics_text(&r->metrics, "         time about %s, disk %s", time, disk);
    qp_buf_release(&memory);
}

void qp_session_banner(qp_session *r)
{
    const qp_options *o = r->o;
    char steps[32] = "?";
    if (r->s.total_steps) snprintf(steps, sizeof steps, "%lld", (long long)r->s.total_steps);
    banner_model(r);
    banner_data(r);
    double a_step = (double)r->s.train.n / (double)qp_loader_batches(r->s.loader, 0) *
                    (double)o->gradient_accumulation_steps;
    qp_metrics_text(&r->metrics,
                    "run      %s steps of about %.0f tokens (%lld micro-batches of %lld rows up to "
                    "%lld) | %s, %s, peak rate %g%s",
                    steps, a_step, (long long)o->gradient_accumulation_steps,
                    (long long)o->micro_batch_size, (long long)o->sequence_len, o->optimizer,
                    o->lr_scheduler, o->learning_rate, r->p.step ? " | resumed" : "");
    banner_plan(r);
    qp_metrics_text(&r->metrics,
                    "kernels  %s, %s, %s, %d threads | product peak %.0f GFLOP/s | seed %lld",
                    r->ctx.be->name, qp_storages[r->s.compute].name,
                    qp_kernel_origin(r->ctx.be, "matmul_nt", r->s.compute), qp_cpu_thread_count(),
                    r->peak_flops / 1e9, (long long)o->seed);
}

void qp_session_summary(qp_session *r)
{
    char planned[16], measured[16], t0[24] = "unknown", t1[24];
    qp_bytes_text(planned, (double)r->plan.total);
    qp_bytes_text(measured, (double)qp_rss_peak_bytes());
    if (isfinite(r->planned_seconds)) qp_time_text(t0, r->planned_seconds);
    qp_time_text(t1, qp_now() - r->start);
    qp_metrics_text(
        &r->metrics,
        "done     %s/final | memory planned %s, measured %s | time planned %s, measured %s", r->dir,
        planned, measured, t0, t1);
}

/* run.json: enough to tell later what made this. */

static void text(qp_json_writer *w, const char *key, const char *value)
{
    qp_json_key(w, key);
    value ? qp_json_cstring(w, value) : qp_json_null(w);
}

static void integer(qp_json_writer *w, const char *key, int64_t value)
{
    qp_json_key(w, key);
    qp_json_int(w, value);
}

static void version(void *w, const char *name, const char *value) { text(w, name, value); }

static qp_status write_run_json(qp_session *r, qp_err *err)
{
    char binary[65] = "", *cpu = qp_proc_value("/proc/cpuinfo", "model name");
    struct utsname system;
    qp_buf out = { 0 };
    qp_json_writer w = { .out = &out, .indent = 2 };
    qp_status rc = qp_sha256_file("/proc/self/exe", binary, err);
    uname(&system);
    qp_json_open_object(&w);
    text(&w, "base_model", r->o->base_model);
    text(&w, "base_sha256", r->s.base_hash);
    text(&w, "tokenizer", qp_tokenizer_kind(r->s.tokenizer));
    text(&w, "tokenizer_sha256", r->s.tokenizer_hash);
    text(&w, "chat_template", qp_chat_name(r->s.chat));
    text(&w, "data_sha256", r->s.data_hash);
    integer(&w, "documents", r->s.train.documents);
    integer(&w, "tokens", r->s.train.n);
    integer(&w, "threads", qp_cpu_thread_count());
    integer(&w, "seed", r->o->seed);
    text(&w, "binary_sha256", binary);
    qp_json_key(&w, "versions");
    qp_json_open_object(&w);
    qp_versions(version, &w);
    qp_json_close_object(&w);
    text(&w, "kernels", r->ctx.be->name);
    text(&w, "product", qp_kernel_origin(r->ctx.be, "matmul_nt", r->s.compute));
    text(&w, "cpu", cpu);
    text(&w, "system", system.release);
    qp_json_close_object(&w);
    qp_buf_char(&out, '\n');
    char *path = qp_path_join(r->dir, "run.json");
    if (!rc) rc = qp_file_write(path, out.data, out.len, err);
    free(path);
    free(cpu);
    qp_buf_release(&out);
    return rc;
}

static void add_hash(qp_buf *out, const char *key, const char *hex)
{
    qp_buf_printf(out, "%s: %s\n", key, hex);
}

void qp_session_describe(qp_session *r)
{
    (void)qp_setup_hashed(&r->s, true);
    if (r->trajectory.len) return;
    qp_options_trajectory(r->o, &r->trajectory);
    add_hash(&r->trajectory, "base model (SHA-256)", r->s.base_hash);
    add_hash(&r->trajectory, "tokenizer (SHA-256)", r->s.tokenizer_hash);
    add_hash(&r->trajectory, "data (SHA-256)", r->s.data_hash);
}

qp_status qp_session_identify(qp_session *r, bool wait, qp_err *err)
{
    if (r->identified || !qp_setup_hashed(&r->s, wait)) return QP_OK;
    r->identified = true;
    qp_session_describe(r);
    return write_run_json(r, err);
}

qp_status qp_session_record(qp_session *r, qp_err *err)
{
    qp_buf yaml = { 0 };
    char *path = qp_path_join(r->dir, "config.yaml");
    qp_options_print(r->o, &yaml);
    qp_status rc = qp_file_write(path, yaml.data, yaml.len, err);
    qp_buf_release(&yaml);
    free(path);
    return rc;
}
