/* The arguments that train, plan and their like share: CONFIG.yaml, then settings. */
#ifndef QP_CLI_SETTINGS_H
#define QP_CLI_SETTINGS_H
#include "train/config.h"

typedef struct {
    const char *name; /* "--json" */
    bool *to;
} qp_flag;

/* Takes the flags and the file out of argv (argv[0] is the command) and loads the options. "--help"
 *and "-h" set help and load nothing. */
qp_status qp_settings_load(qp_options **o, int argc, char **argv, const qp_flag *flags, int n_flags,
                           bool *help, qp_err *err) QP_MUST_CHECK;
#endif
