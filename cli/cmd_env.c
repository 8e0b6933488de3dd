/* What this program is on this machine: the first thing to put into a bug report. */
#include "autograd/cpu/dispatch.h"
#include "base/h5.h"
#include "base/json.h"
#include "base/thread.h"
#include "cli/args.h"
#include "cli/cmd.h"
#include "data/pretok.h"
#include "train/tree.h"
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

/* The first "key : value" of a file in /proc, or "unknown". The caller frees. */
static char *proc_value(const char *path, const char *key)
{
    char line[4096], *value = NULL;
    FILE *f = fopen(path, "r");
    while (f && !value && fgets(line, sizeof line, f)) {
        size_t n = strlen(key);
        if (strncmp(line, key, n)) continue;
        char *at = line + n + strspn(line + n, " \t:");
        at[strcspn(at, "\n")] = '\0';
        value = qp_xstrdup(at);
    }
    if (f) fclose(f);
    return value ? value : qp_xstrdup("unknown");
}

/* The flags that decide which kernels run, as the kernel names them. */
static char *cpu_features(void)
{
    static const char *const asked[] = { "avx2",        "fma",         "avx512f",  "avx512bw",
                                         "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8" };
    char *flags = proc_value("/proc/cpuinfo", "flags"), *mark;
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

#ifdef __clang__
#    define COMPILER __VERSION__ /* begins with its name */
#else
#    define COMPILER "gcc " __VERSION__
#endif

enum { FACTS = 13 };
static void gather(fact *f, const qp_backend *be)
{
    struct utsname u;
    memset(&u, 0, sizeof u);
    uname(&u);
    int n = 0;
    f[n++] = (fact){ "quipu", qp_xstrdup(QP_VERSION) };
    f[n++] = (fact){ "compiler", qp_xstrdup(COMPILER) };
    f[n++] = (fact){ "openblas", qp_blas_version() };
    f[n++] = (fact){ "onednn", qp_dnnl_version() };
    f[n++] = (fact){ "hdf5", qp_h5_version() };
    f[n++] = (fact){ "libyaml", qp_yaml_version() };
    f[n++] = (fact){ "pcre2", qp_pcre2_version() };
    f[n++] = (fact){ "cpu", proc_value("/proc/cpuinfo", "model name") };
    f[n++] = (fact){ "features", cpu_features() };
    f[n++] = (fact){ "threads", qp_xformat("%d", qp_cpu_count()) };
    f[n++] = (fact){ "memory", proc_value("/proc/meminfo", "MemTotal") };
    f[n++] = (fact){ "system", qp_xformat("%s %s %s", u.sysname, u.release, u.machine) };
    f[n++] = (fact){ "kernels", qp_xstrdup(be->name) };
    QP_ASSERT(n == FACTS, "%d facts", n);
}

static void print_text(const fact *f, const qp_backend *be)
{
    for (int i = 0; i < FACTS; i++) printf("%-10s %s\n", f[i].key, f[i].value);
    printf("\n%-16s %-26s %-26s %s\n", "kernel", "bf16", "f32", "f64");
    for (int i = 0; i < KERNELS; i++)
        printf("%-16s %-26s %-26s %s\n", kernel_names[i],
               qp_kernel_origin(be, kernel_names[i], QP_BF16),
               qp_kernel_origin(be, kernel_names[i], QP_F32),
               qp_kernel_origin(be, kernel_names[i], QP_F64));
}

static void print_json(const fact *f, const qp_backend *be)
{
    qp_buf out = { 0 };
    qp_json_writer w = { .out = &out, .indent = 2 };
    qp_json_open_object(&w);
    for (int i = 0; i < FACTS; i++) {
        qp_json_key(&w, f[i].key);
        qp_json_cstring(&w, f[i].value);
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
    fact facts[FACTS];
    const qp_backend *be = qp_cpu_backend();
    gather(facts, be);
    if (json)
        print_json(facts, be);
    else
        print_text(facts, be);
    for (int i = 0; i < FACTS; i++) free(facts[i].value);
    return QP_OK;
}
