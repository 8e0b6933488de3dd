#include "train/usage.h"
#include <stdio.h>
#include <string.h>

/* A number of kB after `name` in one of the kernel's tables; -1: not there. */
static int64_t proc_kb(const char *file, const char *name)
{
    char line[256];
    long long kb = -1;
    FILE *f = fopen(file, "re");
    size_t n = strlen(name);
    while (f && kb < 0 && fgets(line, sizeof line, f))
        if (!strncmp(line, name, n) && sscanf(line + n, ": %lld", &kb) != 1) kb = -1;
    if (f) fclose(f);
    return kb;
}

int64_t qp_rss_bytes(void) { return 1024 * proc_kb("/proc/self/status", "VmRSS"); }
int64_t qp_rss_peak_bytes(void) { return 1024 * proc_kb("/proc/self/status", "VmHWM"); }
int64_t qp_memory_free(void) { return 1024 * proc_kb("/proc/meminfo", "MemAvailable"); }

void qp_bytes_text(char text[16], double bytes)
{
    static const char units[] = "KMGT";
    int u = 0;
    for (bytes /= 1024; bytes >= 1000 && units[u + 1]; u++) bytes /= 1024;
    snprintf(text, 16, bytes < 10 ? "%.1f%c" : "%.0f%c", bytes, units[u]);
}

void qp_time_text(char text[24], double seconds)
{
    unsigned s = seconds < 4e9 ? (unsigned)(seconds + 0.5) : 4000000000U;
    snprintf(text, 24, "%u:%02u:%02u", s / 3600, s / 60 % 60, s % 60);
}
