/* What this program is on this machine: the first thing to put into a bug report. */
#include "autograd/cpu/dispatch.h"
#include "base/json.h"
#include "base/thread.h"
#include "cli/args.h"
#include "cli/cmd.h"
#include "train/usage.h"
#include "train/versions.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static const char *const kernel_names[] = {
#define QP_KERNEL(name, args) #name,
#include "autograd/kernels.def"
#undef QP_KERNEL
};
enum { KERNELS = sizeof kernel_names / sizeof *kernel_names };

/* The flags that decide which kernels run, as the kernel names them. */
static char *cpu_features(void)
{
    static const char *const asked[] = { "avx2",        "fma",         "avx512f",  "avx512bw",
                                         "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8" };
    char *flags = qp_proc_value("/proc/cpuinfo", "flags"), *mark;
    qp_buf out = { 0 };
    qp_buf_str(&out, "");
    for (char *word = strtok_r(flags, " ", &mark); word; word = strtok_r(NULL, " ", &mark))
        for (size_t i = 0; i < sizeof asked / sizeof *asked; i++)
            if (!strcmp(word, asked[i])) qp_buf_printf(&out, "%s%s", out.len ? " " : "", word);
    free(flags);
    return out.data;
}

typedef struct {
    const char *key;
    char *value;
} fact;

enum { FACTS = 13 };
typedef struct {
    fact fact[FACTS];
    int n;
} facts;

static void add(facts *f, const char *key, char *value)
{
    QP_ASSERT(f->n < FACTS, "more than %d facts", FACTS);
    f->fact[f->n++] = (fact){ key, value };
}

static void add_version(void *arg, const char *name, const char *version)
{
    add(arg, name, qp_xstrdup(version));
}

static void gather(facts *f, const qp_backend *be)
{
    struct utsname u;
    memset(&u, 0, sizeof u);
    uname(&u);
    *f = (facts){ .n = 0 };
    qp_versions(add_version, f);
    add(f, "cpu", qp_proc_value("/proc/cpuinfo", "model name"));
    add(f, "features", cpu_features());
    add(f, "threads", qp_xformat("%d", qp_cpu_count()));
    add(f, "memory", qp_proc_value("/proc/meminfo", "MemTotal"));
    add(f, "system", qp_xformat("%s %s %s", u.sysname, u.release, u.machine));
    add(f, "kernels", qp_xstrdup(be->name));
}

static void print_text(const facts *f, const qp_backend *be)
{
    for (int i = 0; i < f->n; i++) printf("%-10s %s\n", f->fact[i].key, f->fact[i].value);
    printf("\n%-16s %-26s %-26s %s\n", "kernel", "bf16", "f32", "f64");
    for (int i = 0; i < KERNELS; i++)
        printf("%-16s %-26s %-26s %s\n", kernel_names[i],
               qp_kernel_origin(be, kernel_names[i], QP_BF16),
               qp_kernel_origin(be, kernel_names[i], QP_F32),
               qp_kernel_origin(be, kernel_names[i], QP_F64));
}

static void print_json(const facts *f, const qp_backend *be)
{
    qp_buf out = { 0 };
    qp_json_writer w = { .out = &out, .indent = 2 };
    qp_json_open_object(&w);
    for (int i = 0; i < f->n; i++) {
        qp_json_key(&w, f->fact[i].key);
        qp_json_cstring(&w, f->fact[i].value);
    }
    qp_json_key(&w, "origin");
    qp_json_open_object(&w);
    for (int i = 0; i < KERNELS; i++) {
        qp_json_key(&w, kernel_names[i]);
        qp_json_open_object(&w);
        for (qp_storage s = QP_F64; s < QP_NCOMPUTE; s++) {
            qp_json_key(&w, qp_storages[s].name);
            qp_json_cstring(&w, qp_kernel_origin(be, kernel_names[i], s));
        }
        qp_json_close_object(&w);
    }
    qp_json_close_object(&w);
    qp_json_close_object(&w);
    puts(out.data);
    qp_buf_release(&out);
}

int qp_cmd_env(int argc, char **argv)
{
    bool json = false, done;
    const qp_arg table[] = { { "json", 0, QP_ARG_FLAG, &json, NULL, "one JSON document" } };
    const qp_usage u = { .command = "env",
                         .summary =
                             "Versions, this machine, and the kernel that serves every op on it.",
                         .example = "quipu env --json",
                         .arg = table,
                         .n = 1 };
    qp_err err = { 0 };
    qp_status rc = qp_args_parse(&u, argc, argv, &done, &err);
    if (rc || done) return qp_exit_code(u.command, rc, &err);
    facts f;
    const qp_backend *be = qp_cpu_backend();
    gather(&f, be);
    if (json)
        print_json(&f, be);
    else
        print_text(&f, be);
    for (int i = 0; i < f.n; i++) free(f.fact[i].value);
    return QP_OK;
}
