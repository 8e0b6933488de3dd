#include "base/thread.h"
#include "base/buf.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

typedef struct {
    void (*work)(void *arg, int64_t i);
    void *arg;
    int64_t count;
    _Atomic int64_t next;
} job;

static void *run(void *p)
{
    job *j = p;
    for (int64_t i; (i = atomic_fetch_add(&j->next, 1)) < j->count;) j->work(j->arg, i);
    return NULL;
}

void qp_parallel_for(int threads, int64_t count, void (*work)(void *arg, int64_t i), void *arg)
{
    job j = { .work = work, .arg = arg, .count = count };
    int64_t wanted = threads < count ? threads : count; /* this thread is one of them */
    pthread_t *other = wanted > 1 ? qp_xcalloc((size_t)wanted, sizeof *other) : NULL;
    int started = 0;

    /* Signals stay with the thread that had them: the loop's handler is not ours to interrupt. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    while (started + 1 < wanted && !pthread_create(&other[started], NULL, run, &j)) started++;
    pthread_sigmask(SIG_SETMASK, &old, NULL);

    run(&j); /* does all of it when no thread could be made */
    for (int i = 0; i < started; i++) pthread_join(other[i], NULL);
    free(other);
}

struct qp_task {
    void (*work)(qp_task *t, void *arg);
    void *arg;
    pthread_t thread;
    bool is_thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool passed, ended;
};

static void tell(qp_task *t, bool ended)
{
    pthread_mutex_lock(&t->lock);
    t->passed = true;
    t->ended |= ended;
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->lock);
}

static void *run_task(void *p)
{
    qp_task *t = p;
    t->work(t, t->arg);
    tell(t, true);
    return NULL;
}

qp_task *qp_task_start(const char *name, void (*work)(qp_task *t, void *arg), void *arg)
{
    qp_task *t = qp_xcalloc(1, sizeof *t);
    t->work = work;
    t->arg = arg;
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->changed, NULL);
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    t->is_thread = !pthread_create(&t->thread, NULL, run_task, t);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (t->is_thread)
        (void)pthread_setname_np(t->thread, name);
    else
        run_task(t);
    return t;
}

void qp_task_pass(qp_task *t) { tell(t, false); }

void qp_task_await_pass(qp_task *t)
{
    pthread_mutex_lock(&t->lock);
    while (!t->passed) pthread_cond_wait(&t->changed, &t->lock);
    pthread_mutex_unlock(&t->lock);
}

bool qp_task_ended(qp_task *t)
{
    pthread_mutex_lock(&t->lock);
    const bool ended = t->ended;
    pthread_mutex_unlock(&t->lock);
    return ended;
}

void qp_task_finish(qp_task *t)
{
    if (t->is_thread) pthread_join(t->thread, NULL);
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

int qp_cpu_count(void)
{
    cpu_set_t set;
    if (!sched_getaffinity(0, sizeof set, &set)) return CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN); /* more CPUs than the set has room for */
    return n > 0 ? (int)n : 1;
}

double qp_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
