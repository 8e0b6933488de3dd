#include "base/json.h"
#include "cli/args.h"
#include "cli/cmd.h"
#include "cli/settings.h"
#include "train/forecast.h"
#include "train/metrics.h"
#include "train/usage.h"
#include <math.h>
#include <stdio.h>

static void help(void)
{
    printf("quipu plan CONFIG.yaml [--json] [key=value | --key value ...]\n"
           "What `quipu train` with the same arguments will take: memory, disk and time. Reads "
           "tokenizer and data,\n"
           "but no weights, and runs one step on kernels that compute nothing.\n\n"
           "Example:\n"
           "  quipu plan configs/smollm2-gsm8k-lora.yaml sequence_len=2048 micro_batch_size=4\n");
}

static void print_json(const qp_memory_plan *m, double disk, double seconds)
{
    qp_buf out = { 0 };
    qp_json_writer w = { .out = &out };
    qp_json_open_object(&w);
    qp_json_key(&w, "peak_rss_bytes");
    qp_json_int(&w, (int64_t)m->total);
    qp_json_key(&w, "disk_bytes");
    qp_json_int(&w, (int64_t)disk);
    qp_json_key(&w, "seconds");
    qp_json_double(&w, seconds);
    qp_json_close_object(&w);
    puts(out.data);
    qp_buf_release(&out);
}

static void print_text(const qp_memory_plan *m, bool recompute, double disk, double seconds,
                       int64_t steps)
{
    char disk_text[16], time[24] = "unknown";
    qp_buf memory = { 0 };
    qp_memory_text(&memory, m, recompute);
    qp_bytes_text(disk_text, disk);
    if (isfinite(seconds)) qp_time_text(time, seconds);
    printf("memory   %s\ndisk     %s\ntime     about %s for %lld steps\n", memory.data, disk_text,
           time, (long long)steps);
    qp_buf_release(&memory);
}

static qp_status plan(const qp_options *o, bool json, qp_err *err)
{
    qp_setup s = { .outline = true };
    qp_memory_plan m;
    bool recompute;
    double peak = 0;
    qp_status rc = qp_setup_open(&s, o, err);
    if (!rc) rc = qp_forecast_memory(&s, &recompute, &m, err);
    if (!rc) rc = qp_plan_peak(qp_cpu_backend(), s.compute, &peak, err);
    if (!rc) {
        double disk = qp_forecast_disk(&s), seconds = qp_forecast_seconds(&s, 0, peak);
        json ? print_json(&m, disk, seconds)
             : print_text(&m, recompute, disk, seconds, s.total_steps);
    }
    qp_setup_release(&s);
    return rc;
}

int qp_cmd_plan(int argc, char **argv)
{
    qp_err err = { 0 };
    qp_options *o;
    bool json = false, wants_help = false;
    const qp_flag flags[] = { { "--json", &json } };
    qp_status rc = qp_settings_load(&o, argc, argv, flags, 1, &wants_help, &err);
    if (!rc && wants_help)
        help();
    else if (!rc)
        rc = plan(o, json, &err);
    qp_options_free(o);
    return qp_exit_code("plan", rc, &err);
}
