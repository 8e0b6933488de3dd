/* pthreads for data preparation and background saving; kernels use OpenMP and never this. */
#ifndef QP_BASE_THREAD_H
#define QP_BASE_THREAD_H
#include <stdint.h>

/* Calls work(arg, i) for i = 0 .. count-1 on up to `threads` threads; returns when all are done.
   Which thread runs which i is not fixed: results must go into slot i. */
void qp_parallel_for(int threads, int64_t count, void (*work)(void *arg, int64_t i), void *arg);
int qp_cpu_count(void); /* CPUs this process may run on */
double qp_now(void);    /* seconds, monotonic */
#endif
