/* quipu COMMAND: finds the row of the command table and hands over. */
#include "autograd/cpu/dispatch.h"
#include "base/word.h"
#include "cli/cmd.h"
#include <stdio.h>
#include <string.h>

#define QP_VERSION "0.1.0"

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

int main(int argc, char **argv)
{
    qp_cpu_prepare(argc, argv);
    if (argc < 2) return usage(stderr, QP_USAGE);
    const char *word = argv[1];
    if (!strcmp(word, "help") && argc == 3) /* the same as `quipu COMMAND --help` */
        return run(2, (char *[]){ argv[2], "--help", NULL });
    if (listed("-h,--help,help", word)) return usage(stdout, QP_OK);
    if (listed("-V,--version,version", word)) {
        puts("quipu " QP_VERSION);
        return QP_OK;
    }
    return run(argc - 1, argv + 1);
}
