#include "cli/cmd.h"
#include "cli/open.h"
#include "base/json.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/zio.h"
#include "eval/perplexity.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    qp_model_args model;
    const char *file, *method;
    int64_t context, stride, rows;
    bool json;
} options;

/* The text is part of the method: llama.cpp takes off one trailing line break. */
static qp_status read_ids(const options *o, const qp_opened *m, qp_ids *ids, int64_t *bytes,
                          qp_err *err)
{
    qp_buf text = { 0 };
    qp_status rc = qp_file_read(o->file, &text, err);
    if (!rc && !strcmp(o->method, "llama.cpp") && text.len && text.data[text.len - 1] == '\n')
        text.len--;
    if (!rc && qp_tokenizer_encode(m->tokenizer, text.data, text.len, QP_TOK_BOS, ids, err))
        rc = qp_wrap(err, "%s", o->file);
    *bytes = (int64_t)text.len;
    qp_buf_release(&text);
    return rc;
}

static void show_progress(void *arg, int64_t done, int64_t windows, double ppl)
{
    (void)arg;
    fprintf(stderr, "\rwindow %lld/%lld ppl %.4f ", (long long)done, (long long)windows, ppl);
    if (done == windows) fprintf(stderr, "\r\033[K");
}

static void print_json(const options *o, const qp_ppl *p, int64_t tokens, int64_t bytes,
                       double seconds)
{
    qp_buf out = { 0 };
    qp_json_writer w = { .out = &out, .indent = 2 };
    const struct {
        const char *key;
        double value;
    } reals[] = { { "nll", p->nll },           { "ppl", p->ppl },
                  { "stderr", p->stderr_ppl }, { "bits_per_byte", p->bits_per_byte },
                  { "seconds", seconds },      { "tokens_per_s", (double)tokens / seconds } };
    const struct {
        const char *key;
        int64_t value;
    } counts[] = { { "windows", p->windows },
                   { "tokens", p->tokens },
                   { "context", o->context },
                   { "text_tokens", tokens },
                   { "text_bytes", bytes } };
    qp_json_open_object(&w);
    qp_json_key(&w, "method");
    qp_json_cstring(&w, o->method);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        qp_json_key(&w, counts[i].key);
        qp_json_int(&w, counts[i].value);
    }
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        qp_json_key(&w, reals[i].key);
        qp_json_double(&w, reals[i].value);
    }
    qp_json_close_object(&w);
    puts(out.data);
    qp_buf_release(&out);
}

static void print_lines(const options *o, const qp_ppl *p)
{
    printf("method %s | windows %lld | tokens scored %lld | nll %.4f | bits/byte %.2f\n", o->method,
           (long long)p->windows, (long long)p->tokens, p->nll, p->bits_per_byte);
    printf("Final estimate: PPL = %.4f +/- %.4f\n", p->ppl, p->stderr_ppl);
}

static qp_status run(const options *o, qp_err *err)
{
    qp_opened m;
    qp_ids ids = { 0 };
    qp_ppl p;
    int64_t bytes = 0;
    if (!o->file) return qp_fail(err, QP_USAGE, "no text: -f FILE");
    qp_status rc = qp_open(&m, &o->model, err);
    if (rc) return rc;
    qp_ppl_options po = {
        .method = o->method, .context = o->context, .stride = o->stride, .rows = o->rows
    };
    po.bos = qp_tokenizer_bos(m.tokenizer);
    int64_t made_for = qp_model_config(m.model)->max_positions;
    if (o->context > made_for)
        qp_warn("context %lld: the model was made for %lld positions", (long long)o->context,
                (long long)made_for);
    if (isatty(STDERR_FILENO)) po.progress = show_progress;
    rc = read_ids(o, &m, &ids, &bytes, err);
    double start = qp_now();
    if (!rc) rc = qp_perplexity(&m.ctx, m.model, &po, ids.id, ids.n, bytes, &p, err);
    double seconds = qp_now() - start;
    if (!rc && o->json)
        print_json(o, &p, ids.n, bytes, seconds);
    else if (!rc)
        print_lines(o, &p);
    qp_ids_release(&ids);
    qp_opened_release(&m);
    return rc;
}

int qp_cmd_perplexity(int argc, char **argv)
{
    options o = { .method = "hf", .context = 512 };
    const qp_arg table[] = {
        QP_MODEL_ARGS(o.model),
        { "file", 'f', QP_ARG_TEXT, &o.file, "FILE", "the text" },
        { "context", 'c', QP_ARG_INT, &o.context, "N", "tokens a window sees (512)" },
        { "stride", 's', QP_ARG_INT, &o.stride, "N",
          "tokens from window to window (the context): hf, hf-exact" },
        { "method", 0, QP_ARG_TEXT, &o.method, "METHOD",
          "hf (default), hf-exact, paper, llama.cpp: docs/perplexity.md" },
        { "rows", 0, QP_ARG_INT, &o.rows, "N",
          "tokens in one pass (2048); changes memory, not the result" },
        { "json", 0, QP_ARG_FLAG, &o.json, NULL, "one JSON document" },
    };
    const qp_usage u = {
        .command = "perplexity",
        .summary = "How well a model predicts a text, by a published method.",
        .example =
            "quipu perplexity -m models/llama-3.2-1b -f wiki.test.raw -c 2048 --method paper",
        .arg = table,
        .n = sizeof table / sizeof *table
    };
    qp_err err = { 0 };
    bool done;
    qp_status rc = qp_args_parse(&u, argc, argv, &done, &err);
    if (!rc && !done) rc = run(&o, &err);
    return qp_exit_code(u.command, rc, &err);
}
