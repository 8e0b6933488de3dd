/* One function a subcommand; argv[0] is its name. The result is the exit code. */
#ifndef QP_CLI_CMD_H
#define QP_CLI_CMD_H
#include "base/err.h"

#define COMMAND(name, aliases, summary) int qp_cmd_##name(int argc, char **argv);
#include "cli/commands.def"
#undef COMMAND
#endif
