#include "base/log.h"
#include <stdarg.h>
#include <stdio.h>

qp_log_level qp_log_max = QP_LOG_INFO;

/* One write a line, so that lines of several threads stay whole. */
static void QP_PRINTF(3, 0) say(qp_log_level level, const char *prefix, const char *fmt, va_list ap)
{
    if (level > qp_log_max) return;
    char line[2000];
    vsnprintf(line, sizeof line, fmt, ap);
    fprintf(stderr, "%s%s\n", prefix, line);
}

void qp_info(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(QP_LOG_INFO, "", fmt, ap);
    va_end(ap);
}

void qp_warn(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(QP_LOG_INFO, "warning: ", fmt, ap);
    va_end(ap);
}

void qp_debug(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(QP_LOG_DEBUG, "debug: ", fmt, ap);
    va_end(ap);
}
