/* bench/run [PART...]: how fast the kernels are and what a training step makes of them, on this
 * machine. bench/run --row NAME: one figure, for programs. */
#include "bench/bench.h"
#include "autograd/cpu/dispatch.h"
#include "base/thread.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct {
    const char *name, *what;
    int (*run)(void);
} parts[] = {
#define PART(name, what) { #name, what, bench_##name },
#include "bench/parts.def"
#undef PART
};
enum { PARTS = sizeof parts / sizeof *parts };

static int (*const rows[])(const char *name) = {
#define ROWS(part) bench_##part##_row,
#include "bench/rows.def"
#undef ROWS
};
enum { ROW_PARTS = sizeof rows / sizeof *rows };

bool bench_child(void (*fn)(const void *arg, double *value), const void *arg, bench_result *r)
{
    int out[2], status;
    struct rusage usage;
    fflush(NULL);
    if (pipe(out)) return perror("pipe"), false;
    const pid_t pid = fork();
    if (pid < 0) return perror("fork"), false;
    if (pid == 0) {
        double value[BENCH_VALUES] = { 0 };
        close(out[0]);
        fn(arg, value);
        fflush(NULL);
        _exit(write(out[1], value, sizeof value) == sizeof value ? 0 : 1);
    }
    close(out[1]);
    const bool whole = read(out[0], r->value, sizeof r->value) == sizeof r->value;
    close(out[0]);
    if (wait4(pid, &status, 0, &usage) != pid) return perror("wait4"), false;
    r->peak_rss = (double)usage.ru_maxrss * 1024;
    return whole && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, ascending);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static void machine(void)
{
    char line[200], name[200] = "unknown processor";
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "model name : %199[^\n]", name) == 1) break;
    if (f) fclose(f);
    const qp_backend *be = qp_cpu_backend();
    printf("%s, %d threads; kernels %s; products bf16: %s, f32: %s\n", name, qp_cpu_count(),
           be->name, qp_kernel_origin(be, "matmul_nt", QP_BF16),
           qp_kernel_origin(be, "matmul_nt", QP_F32));
    double load = 0;
    if (getloadavg(&load, 1) == 1 && load > 0.3)
        printf("load %.1f: other work slows down what is measured here\n", load);
}

static void introduce(const void *arg, double *value)
{
    (void)arg, (void)value;
    machine();
}

void bench_print(const char *name, double value) { printf("%s %.9g\n", name, value); }

static int one_row(const char *name)
{
    for (int i = 0; i < ROW_PARTS; i++) {
        const int rc = rows[i](name);
        if (rc != BENCH_OTHER) return rc;
    }
    fprintf(stderr, "bench: no row %s\n", name);
    return 2;
}

static bool wanted(const char *name, int argc, char **argv)
{
    bool any = argc < 2;
    for (int i = 1; i < argc; i++) any |= strcmp(argv[i], name) == 0;
    return any;
}

/* A part that forks children of its own must not have run a kernel itself: OpenMP's threads do not
   survive a fork. So neither does this process. */
int main(int argc, char **argv)
{
    int failed = 0, run = 0;
    bench_result r;
    qp_cpu_prepare(argc, argv);
    if (argc == 3 && !strcmp(argv[1], "--row")) return one_row(argv[2]);
    if (!bench_child(introduce, NULL, &r)) return 1;
    for (int i = 0; i < PARTS; i++)
        if (wanted(parts[i].name, argc, argv)) {
            printf("\n%s: %s\n", parts[i].name, parts[i].what);
            failed |= parts[i].run();
            run++;
        }
    if (!run) {
        fprintf(stderr, "bench: no part of that name; parts:");
        for (int i = 0; i < PARTS; i++) fprintf(stderr, " %s", parts[i].name);
        fprintf(stderr, "\n");
        return 2;
    }
    return failed;
}
