#include "train/usage.h"
#include "base/buf.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *qp_proc_value(const char *path, const char *key)
{
    char line[4096], *value = NULL;
    FILE *f = fopen(path, "re");
    size_t n = strlen(key);
    while (f && !value && fgets(line, sizeof line, f)) {
        if (strncmp(line, key, n)) continue;
        char *at = line + n + strspn(line + n, " \t:");
        at[strcspn(at, "\n")] = '\0';
        value = qp_xstrdup(at);
    }
    if (f) fclose(f);
    return value ? value : qp_xstrdup("unknown");
}

/* A number of kB in one of the kernel's tables; 0: not there. */
static int64_t proc_kb(const char *path, const char *key)
{
    char *value = qp_proc_value(path, key);
    int64_t kb = strtoll(value, NULL, 10);
    free(value);
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
