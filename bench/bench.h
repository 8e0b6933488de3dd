/* What `make bench` is made of: parts.def lists the parts, each runs in a process of its own. */
#ifndef QP_BENCH_BENCH_H
#define QP_BENCH_BENCH_H
#include "base/dtype.h"
#include <stdbool.h>

#define PART(name, what) int bench_##name(void); /* prints its table; 0 when all went well */
#include "bench/parts.def"
#undef PART

/* Runs fn in a fresh process: its peak memory is its own, and no thread is inherited. False when it
   died; it has said why. */
enum { BENCH_VALUES = 6 };
typedef struct {
    double value[BENCH_VALUES]; /* what fn left there */
    double peak_rss;            /* bytes */
} bench_result;
bool bench_child(void (*fn)(const void *arg, double *value), const void *arg, bench_result *r);

double bench_median(double *v, int n); /* sorts v */
#endif
