/* quipu COMMAND: finds the row of the command table and hands over. */
#include "autograd/cpu/dispatch.h"
#include "base/word.h"
#include "cli/cmd.h"
#include "train/versions.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name, *aliases, *summary;
    int (*run)(int argc, char **argv);
} commands[] = {
#define COMMAND(name, aliases, summary) { #name, aliases, summary, qp_cmd_##name },
#include "cli/commands.def"
#undef COMMAND
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static int usage(FILE *to, int code)
{
    fprintf(to, "quipu " QP_VERSION ": fine-tunes and trains Llama models on CPUs\n\n"
                "usage: quipu COMMAND [options]      quipu COMMAND --help\n\n");
    for (int i = 0; i < COMMANDS; i++)
        fprintf(to, "  %-12s %s\n", commands[i].name, commands[i].summary);
    fprintf(
        to,
        "\nexample: quipu train --data chats.jsonl base_model=models/llama-3.2-1b adapter=lora\n");
    return code;
}

/* True when `word` is one of the comma-separated names in `list`. */
static int listed(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; *p;) {
        size_t len = strcspn(p, ",");
        if (len == n && !memcmp(p, word, n)) return 1;
        p += len + (p[len] == ',');
    }
    return 0;
}

static int unknown(const char *word)
{
    const char *names[COMMANDS];
    for (int i = 0; i < COMMANDS; i++) names[i] = commands[i].name;
    fprintf(stderr, "quipu: unknown command '%s' (nearest: %s; `quipu --help` lists all)\n", word,
            qp_word_nearest(word, names, COMMANDS));
    return QP_USAGE;
}

static int run(int argc, char **argv)
{
    for (int i = 0; i < COMMANDS; i++)
        if (!strcmp(commands[i].name, argv[0]) || listed(commands[i].aliases, argv[0]))
            return commands[i].run(argc, argv);
    return unknown(argv[0]);
}

/* A closed standard stream would give its number to the next file that is opened, and what is
   printed would end up in that. Opened for reading: a write to it fails, and is noticed. */
static void hold_streams(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) != fd) exit(QP_IO);
}

/* What could not be printed was not done. */
static int flush_output(int code)
{
    bool failed = fflush(stdout) || ferror(stdout);
    if (!failed || code) return code;
    fprintf(stderr, "quipu: standard output: %s\n", errno ? strerror(errno) : "write failed");
    return QP_IO;
}

int main(int argc, char **argv)
{
    hold_streams();
    qp_cpu_prepare(argc, argv);
    signal(SIGXFSZ, SIG_IGN); /* beyond a file-size limit a write fails like any other */
    if (argc < 2) return usage(stderr, QP_USAGE);
    const char *word = argv[1];
    if (!strcmp(word, "help") && argc == 3) /* the same as `quipu COMMAND --help` */
        return flush_output(run(2, (char *[]){ argv[2], "--help", NULL }));
    if (listed("-h,--help,help", word)) return flush_output(usage(stdout, QP_OK));
    if (listed("-V,--version,version", word)) {
        puts("quipu " QP_VERSION);
        return flush_output(QP_OK);
    }
    return flush_output(run(argc - 1, argv + 1));
}
