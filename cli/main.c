/* quipu COMMAND: finds the row of the command table and hands over. */
#include "autograd/cpu/dispatch.h"
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

int main(int argc, char **argv)
{
    qp_cpu_prepare(argc, argv);
    if (argc < 2) return usage(stderr, QP_USAGE);
    const char *word = argv[1];
    if (listed("-h,--help,help", word)) return usage(stdout, QP_OK);
    if (listed("-V,--version,version", word)) {
        puts("quipu " QP_VERSION);
        return QP_OK;
    }
    for (int i = 0; i < COMMANDS; i++)
        if (!strcmp(commands[i].name, word) || listed(commands[i].aliases, word))
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "quipu: unknown command '%s'; `quipu --help` lists them\n", word);
    return QP_USAGE;
}
