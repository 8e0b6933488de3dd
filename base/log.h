/* Talk to the user: stderr, one line each. The level is the library's only global. */
#ifndef QP_BASE_LOG_H
#define QP_BASE_LOG_H
#include "base/err.h"
QP_C_BEGIN

typedef enum { QP_LOG_QUIET, QP_LOG_INFO } qp_log_level;
extern qp_log_level qp_log_max;
void qp_info(const char *fmt, ...) QP_PRINTF(1, 2);
void qp_warn(const char *fmt, ...) QP_PRINTF(1, 2); /* "warning: ..." */
QP_C_END
#endif
