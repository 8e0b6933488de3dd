#include "base/log.h"
#include "cli/args.h"
#include "cli/cmd.h"
#include "cli/settings.h"
#include "train/run.h"
#include <stdio.h>
#include <stdio_ext.h>
#include <string.h>

static void help(void)
{
    qp_buf options = { 0 };
    qp_options_help(&options);
    printf("usage: quipu train [CONFIG.yaml] [--data DIR] [key=value | --key value ...]\n"
           "       (also: quipu finetune, quipu pretrain)\n\n"
           "Trains adapters on an open-weights base (adapter: lora), all of its weights (adapter: "
           "none) or a new model\n"
           "(model_config). The last value of a key wins: file, then arguments in order.\n\n"
           "  --print-config   prints every option as resolved and ends\n"
           "  -h, --help       this page\n\n"
           "Stopped by Ctrl-C, a kill or a power cut, the same command goes on from the last "
           "checkpoint.\n\n"
           "Examples:\n"
           "  quipu train configs/smollm2-gsm8k-lora.yaml\n"
           "  quipu train base_model=models/llama-3.2-1b --data my-data --learning-rate 1e-4 "
           "output_dir=out/try1\n"
           "  quipu train configs/shakespeare-scratch.yaml max_steps=200 "
           "model_config.num_hidden_layers=4\n\n"
           "Options, their choices and [defaults]:\n%s",
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
    qp_options *o;
    bool only_print = false, wants_help = false;
    const qp_flag flags[] = { { "--print-config", &only_print } };
    qp_status rc = qp_settings_load(&o, argc, argv, flags, 1, &wants_help, &err);
    if (!rc && wants_help)
        help();
    else if (!rc && only_print)
        print_config(o);
    else if (!rc)
        rc = train(o, &err);
    qp_options_free(o);
    return qp_exit_code("train", rc, &err);
}
