#include "base/log.h"
#include <stdarg.h>
#include <stdio.h>

qp_log_level qp_log_max = QP_LOG_INFO;

/* One write a line, so that lines of several threads stay whole. */
static void QP_PRINTF(2, 0) say(const char *prefix, const char *fmt, va_list ap)
{
    if (qp_log_max < QP_LOG_INFO) return;
    char line[2000];
    vsnprintf(line, sizeof line, fmt, ap);
    fprintf(stderr, "%s%s\n", prefix, line);
}

void qp_info(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say("", fmt, ap);
    va_end(ap);
}

void qp_warn(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say("warning: ", fmt, ap);
    va_end(ap);
}
