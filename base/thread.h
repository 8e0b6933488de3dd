/* pthreads for data preparation and background saving; kernels use OpenMP and never this. */
#ifndef QP_BASE_THREAD_H
#define QP_BASE_THREAD_H
#include <stdbool.h>
#include <stdint.h>

/* Calls work(arg, i) for i = 0 .. count-1 on up to `threads` threads; returns when all are done.
   Which thread runs which i is not fixed: results must go into slot i. */
void qp_parallel_for(int threads, int64_t count, void (*work)(void *arg, int64_t i), void *arg);

/* One piece of work beside the thread that starts it. It reaches a point that others may wait for,
   such as having read all that will change; when it never says so, its end is that point. */
typedef struct qp_task qp_task;
/* Where no thread can be made, work is done here and now. Signals stay with the caller's. name: the
   thread's, as top and debuggers show it; at most 15 letters. */
qp_task *qp_task_start(const char *name, void (*work)(qp_task *t, void *arg), void *arg);
void qp_task_pass(qp_task *t); /* by the work: the point is reached */
void qp_task_await_pass(qp_task *t);
bool qp_task_ended(qp_task *t);
void qp_task_finish(qp_task *t); /* waits for its end; frees */

int qp_cpu_count(void); /* CPUs this process may run on */
double qp_now(void);    /* seconds, monotonic */
#endif
