#include "base/err.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A message is one line and cannot steer a terminal, whatever names a file put into it. */
static void one_line(char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7F) *s = '?';
}

qp_status qp_fail(qp_err *err, qp_status status, const char *fmt, ...)
{
    char msg[sizeof err->msg]; /* apart: an argument may be err->msg itself */
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    one_line(msg);
    memcpy(err->msg, msg, sizeof msg);
    err->status = status;
    return status;
}

qp_status qp_wrap(qp_err *err, const char *fmt, ...)
{
    char msg[sizeof err->msg];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    /* A prefix that fills the buffer leaves room for no cause; half of it is prefix enough. */
    size_t at = n < 0 ? 0 : (size_t)n < sizeof msg / 2 ? (size_t)n : sizeof msg / 2;
    size_t left = sizeof msg - at - 3, len = strnlen(err->msg, sizeof err->msg);
    if (len > left) len = left;
    memcpy(msg + at, ": ", 2);
    memcpy(msg + at + 2, err->msg, len);
    msg[at + 2 + len] = '\0';
    one_line(msg);
    memcpy(err->msg, msg, sizeof msg);
    return err->status;
}

void qp_must(qp_status rc, const qp_err *err)
{
    if (!rc) return;
    fprintf(stderr, "quipu: %s\n", err->msg);
    exit(rc);
}

static _Thread_local struct {
    qp_fatal_handler *handler;
    void *arg;
    int held;
} on_fatal;

void qp_on_fatal(qp_fatal_handler *handler, void *arg)
{
    on_fatal.handler = handler;
    on_fatal.arg = arg;
}

void qp_on_fatal_hold(bool hold) { on_fatal.held += hold ? 1 : -1; }

void qp_fatal(qp_status status, const char *file, int line, const char *fmt, ...)
{
    char msg[2000]; /* one write: other threads' lines cannot come between */
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    one_line(msg);
    if (on_fatal.handler && !on_fatal.held) on_fatal.handler(on_fatal.arg, status, msg);
    fprintf(stderr, "quipu: %s (%s:%d)\n", msg, file, line);
    if (getenv("QP_ABORT")) abort(); /* a core file or a debugger's stop */
    exit(status);
}
