/* What `make bench` is made of: parts.def lists the parts, each runs in a process of its own. */
#ifndef QP_BENCH_BENCH_H
#define QP_BENCH_BENCH_H
#include "base/dtype.h"
#include <stdbool.h>

#define PART(name, what) int bench_##name(void); /* prints its table; 0 when all went well */
#include "bench/parts.def"
#undef PART

/* A row is one measurement by name, for programs: `bench/run --row lora-1b-512` prints lines "name
   value" with bench_print. It runs in a process of its own. Zero when all went well, BENCH_OTHER
   when the part has no row of that name. */
enum { BENCH_OTHER = -1 };
#define ROWS(part) int bench_##part##_row(const char *name);
#include "bench/rows.def"
#undef ROWS
void bench_print(const char *name, double value);

/* Runs fn in a fresh process: its peak memory is its own, and no thread is inherited. False when it
   died; it has said why. */
enum { BENCH_VALUES = 10 };
typedef struct {
    double value[BENCH_VALUES]; /* what fn left there */
    double peak_rss;            /* bytes */
} bench_result;
bool bench_child(void (*fn)(const void *arg, double *value), const void *arg, bench_result *r);

/* n numbers from -1 to 1, 64-byte aligned; the caller frees. Multiplying zeros draws less power, so
   the clock may rise. */
void *bench_values(qp_storage type, int64_t n, uint64_t seed);

double bench_median(double *v, int n); /* sorts v */
/* The fastest product known here, operations a second, all threads: this machine's limit. Takes
   two seconds; the first call of a process measures, later ones do again and keep the best. */
double bench_peak(qp_storage type);
typedef struct {
    const char *name;
    double flops;   /* a second, on one large product a thread */
    bool miscounts; /* fails our self-test */
} bench_library_rate;
bool bench_library(qp_storage type, bench_library_rate *l); /* false: none on this CPU */
double bench_bandwidth(void); /* bytes a second of reading memory, in the same way */
#endif
