/* What went wrong, and the program's exit code for it. */
#ifndef QP_BASE_ERR_H
#define QP_BASE_ERR_H
#include "base/c.h"
#include <stdbool.h>
#include <stddef.h>
QP_C_BEGIN

typedef enum {
    QP_OK = 0,
    QP_FAIL = 1,     /* the work failed */
    QP_USAGE = 2,    /* command line or configuration */
    QP_BADFILE = 65, /* a file is not what it should be */
    QP_BUG = 70,
    QP_NOMEM = 71,
    QP_IO = 74,
    QP_STOPPED = 75, /* on a signal, checkpoint saved */
} qp_status;

/* A fixed buffer, so that reporting cannot fail. Zero it before use. */
typedef struct {
    qp_status status;
    char msg[1000];
} qp_err;

#define QP_MUST_CHECK __attribute__((warn_unused_result))
#define QP_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* Sets err and returns the status: `return qp_fail(err, QP_IO, "%s: %s", path, strerror(errno));`
 */
qp_status qp_fail(qp_err *err, qp_status status, const char *fmt, ...) QP_PRINTF(3, 4);

/* Puts "what: " in front of the message there; returns its status unchanged. */
qp_status qp_wrap(qp_err *err, const char *fmt, ...) QP_PRINTF(2, 3);

/* For programs with nothing to undo: unless rc is QP_OK, prints err's message and exits with rc.
   `qp_must(qp_params_seal(p, &err), &err);` */
void qp_must(qp_status rc, const qp_err *err);

/* Where nothing can be undone: calls the thread's handler, if there is one; then prints the message
   and the place and exits with the status. */
QP_NORETURN void qp_fatal(qp_status status, const char *file, int line, const char *fmt, ...)
    QP_PRINTF(4, 5);

/* Holds in every build. Keep it out of inner loops. */
#define QP_ASSERT(cond, ...) ((cond) ? (void)0 : qp_fatal(QP_BUG, __FILE__, __LINE__, __VA_ARGS__))

/* For programs that outlive such a stop: what happens in this thread instead. message is one line
   without the place, gone when the handler is left. The handler must leave by longjmp or a C++
   exception to a caller of the function that failed; if it returns, the program ends as ever. That
   function's result does not exist, memory that it took outside the arena may be lost, and what it
   was changing (a context, gradients, a cache) is half changed: qp_ctx_reset and
   qp_params_begin_step make a context and gradients usable again. Wrong shapes are found before
   anything is allocated or computed. NULL: no handler.
   Threads that quipu starts have none, and while kernels' threads work together nobody may jump
   out: a bug of ours there, or no memory for a data thread, ends the program as ever. */
typedef void qp_fatal_handler(void *arg, qp_status status, const char *message);
void qp_on_fatal(qp_fatal_handler *handler, void *arg);
/* From true to false, which may nest, this thread's handler is not called: for kernels. */
void qp_on_fatal_hold(bool hold);

QP_C_END
#endif
