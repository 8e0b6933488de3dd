/* A command's options: one row each, from which parsing and --help are made. */
#ifndef QP_CLI_ARGS_H
#define QP_CLI_ARGS_H
#include "base/err.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct {
    const char **item; /* borrowed from argv */
    int n;
} qp_list;

typedef enum { QP_ARG_FLAG, QP_ARG_TEXT, QP_ARG_INT, QP_ARG_REAL, QP_ARG_LIST } qp_arg_kind;

typedef struct {
    const char *name; /* without dashes; "top_k" is read as "top-k" */
    char letter;      /* -m; 0: none */
    qp_arg_kind kind;
    void *to;          /* bool, const char *, int64_t, double, qp_list: holds the default before */
    const char *value; /* what --help calls it: "MODEL" */
    const char *help;
} qp_arg;

typedef struct {
    const char *command, *summary;
    const char *positional; /* "PATH", or NULL: none is taken; its texts go to *rest */
    const char *example;    /* at least one whole command line */
    const qp_arg *arg;
    int n;
    qp_list *rest;
} qp_usage;

/* --name value, --name=value, -x value. --help prints to stdout and sets *done. Mistakes are
   QP_USAGE; an unknown option's message names the nearest known one. The lists' items are the
   caller's to free. */
qp_status qp_args_parse(const qp_usage *u, int argc, char **argv, bool *done,
                        qp_err *err) QP_MUST_CHECK;
/* Prints "quipu COMMAND: message" to stderr unless rc is QP_OK; returns rc as the exit code. */
int qp_exit_code(const char *command, qp_status rc, const qp_err *err);
#endif
