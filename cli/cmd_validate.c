#include "cli/args.h"
#include "cli/cmd.h"
#include "cli/settings.h"
#include "train/setup.h"
#include <stdio.h>

static void help(void)
{
    printf("quipu validate CONFIG.yaml [key=value | --key value ...]\n"
           "Checks what `quipu train` with the same arguments would read: settings, tokenizer, "
           "template, every record\n"
           "of the data, names and shapes of the weights, though not their values.\n\n"
           "Example:\n"
           "  quipu validate configs/smollm2-gsm8k-lora.yaml sequence_len=256\n");
}

static qp_status validate(const qp_options *o, qp_err *err)
{
    qp_setup s = { .outline = true };
    qp_status rc = qp_setup_open(&s, o, err);
    if (!rc)
        printf("good: %lld documents, %lld tokens, %lld learned; %lld for validation; %lld steps; "
               "tokenizer %s, template "
               "%s; %lld trained weights\n",
               (long long)s.train.documents, (long long)s.train.n, (long long)s.train.trained,
               (long long)s.valid.documents, (long long)s.total_steps,
               qp_tokenizer_kind(s.tokenizer), qp_chat_name(s.chat), (long long)s.optim.params->n);
    qp_setup_release(&s);
    return rc;
}

int qp_cmd_validate(int argc, char **argv)
{
    qp_err err = { 0 };
    qp_options *o;
    bool wants_help = false;
    qp_status rc = qp_settings_load(&o, argc, argv, NULL, 0, &wants_help, &err);
    if (!rc && wants_help)
        help();
    else if (!rc)
        rc = validate(o, &err);
    qp_options_free(o);
    return qp_exit_code("validate", rc, &err);
}
