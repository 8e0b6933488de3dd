#include "base/log.h"
#include "cli/cmd.h"
#include "train/run.h"
#include <stdio.h>
#include <stdio_ext.h>
#include <string.h>

static void help(void)
{
    qp_buf options = { 0 };
    qp_options_help(&options);
    printf("quipu train [CONFIG.yaml] [--data DIR] [key=value | --key value ...]\n"
           "Trains adapters on an open-weights base (adapter: lora), all of its weights (adapter: "
           "none) or a new model\n"
           "(model_config). The last value of a key wins: file, then arguments in order.\n\n"
           "  --print-config   prints every option as resolved and ends\n\n"
           "Examples:\n"
           "  quipu train configs/smollm2-gsm8k-lora.yaml\n"
           "  quipu train base_model=models/llama-3.2-1b --data my-data --learning-rate 1e-4 "
           "output_dir=out/try1\n"
           "  quipu train configs/shakespeare-scratch.yaml max_steps=200 "
           "model_config.num_hidden_layers=4\n\n"
           "Options and defaults:\n%s",
           options.data);
    qp_buf_release(&options);
}

static void print_config(const qp_options *o)
{
    qp_buf yaml = { 0 };
    qp_options_print(o, &yaml);
    fputs(yaml.data, stdout);
    qp_buf_release(&yaml);
}

/* Its lines are in metrics.jsonl too: a run does not fail for want of a reader. */
static qp_status train(const qp_options *o, qp_err *err)
{
    qp_status rc = qp_train_run(o, stdout, err);
    if (!ferror(stdout)) return rc;
    qp_warn("standard output could not be written; the run went on without");
    __fpurge(stdout);
    clearerr(stdout);
    return rc;
}

int qp_cmd_train(int argc, char **argv)
{
    qp_err err = { 0 };
    qp_options *o = NULL;
    const char *yaml = NULL;
    bool only_print = false;
    int n = 0; /* arguments that are settings, moved to the front */
    for (int i = 1; i < argc; i++) {
        /* Behind the first setting a bare word is that setting's value, or a mistake. */
        bool file = argv[i][0] != '-' && !strchr(argv[i], '=') && !yaml && !n;
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) return help(), QP_OK;
        if (!strcmp(argv[i], "--print-config"))
            only_print = true;
        else if (file)
            yaml = argv[i];
        else
            argv[n++] = argv[i];
    }
    qp_status rc = qp_options_load(&o, yaml, n, argv, &err);
    if (!rc && only_print)
        print_config(o);
    else if (!rc)
        rc = train(o, &err);
    qp_options_free(o);
    if (rc) fprintf(stderr, "quipu train: %s\n", err.msg);
    return (int)rc;
}
