/* What this program is made of: for bug reports and for the record of a run. */
#ifndef QP_TRAIN_VERSIONS_H
#define QP_TRAIN_VERSIONS_H
#include "base/c.h"
QP_C_BEGIN

#define QP_VERSION "0.1.0"

/* Calls fn with the name and version of quipu, its compiler and each library. */
void qp_versions(void (*fn)(void *arg, const char *name, const char *version), void *arg);
QP_C_END
#endif
