#include "cli/settings.h"
#include <string.h>

static bool take_flag(const qp_flag *flags, int n, const char *word)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(flags[i].name, word)) return *flags[i].to = true;
    return false;
}

qp_status qp_settings_load(qp_options **o, int argc, char **argv, const qp_flag *flags, int n_flags,
                           bool *help, qp_err *err)
{
    const char *yaml = NULL;
    int n = 0; /* arguments that are settings, moved to the front */
    *o = NULL;
    for (int i = 1; i < argc; i++) {
        /* Behind the first setting a bare word is that setting's value, or a mistake. */
        bool file = argv[i][0] != '-' && !strchr(argv[i], '=') && !yaml && !n;
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            *help = true;
            return QP_OK;
        }
        if (take_flag(flags, n_flags, argv[i])) continue;
        if (file)
            yaml = argv[i];
        else
            argv[n++] = argv[i];
    }
    return qp_options_load(o, yaml, n, argv, err);
}
