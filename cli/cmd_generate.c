#include "base/json.h"
#include "base/log.h"
#include "base/zio.h"
#include "cli/cmd.h"
#include "cli/open.h"
#include "data/chat.h"
#include "eval/generate.h"
#include "eval/stream.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    qp_model_args model;
    const char *prompt, *file, *system, *template_name, *date;
    qp_sampling sampling;
    int64_t max_tokens, seed;
    qp_list stop;
    bool chat, ignore_eos, json;
} options;

/* ---- the prompt ---- */

static qp_status read_prompt(const options *o, qp_buf *text, qp_err *err)
{
    if (!o->prompt == !o->file)
        return qp_fail(err, QP_USAGE, "wanted a prompt, as one of -p TEXT and -f FILE");
    if (o->file) return qp_file_read(o->file, text, err);
    qp_buf_str(text, o->prompt);
    return QP_OK;
}

static qp_status render(const options *o, const qp_tokenizer *t, const qp_buf *text, qp_ids *ids,
                        qp_err *err)
{
    const qp_chat *chat;
    qp_status rc = qp_chat_find(&chat, o->template_name, t, err);
    if (rc) return rc;
    if (!strcmp(qp_chat_name(chat), "none"))
        return qp_fail(
            err, QP_USAGE,
            "--chat: the model's tokenizer has no known template (--chat-template names one)");
    qp_message m[2];
    int64_t n = 0;
    if (o->system) m[n++] = (qp_message){ "system", o->system, strlen(o->system) };
    m[n++] = (qp_message){ "user", text->data, text->len };
    qp_chat_options co = { .date = o->date, .generation = true };
    return qp_chat_render(chat, t, m, n, &co, ids, NULL, err);
}

/* What the user types on the command line may name special tokens; what goes through a template may
 * not. */
static qp_status encode_prompt(const options *o, const qp_tokenizer *t, qp_ids *ids, qp_err *err)
{
    qp_buf text = { 0 };
    qp_buf_str(&text, "");
    qp_status rc = read_prompt(o, &text, err);
    if (!rc && (o->chat || o->system))
        rc = render(o, t, &text, ids, err);
    else if (!rc)
        rc = qp_tokenizer_encode(t, text.data, text.len, QP_TOK_BOS | QP_TOK_SPECIAL, ids, err);
    qp_buf_release(&text);
    return rc;
}

/* ---- where it ends ---- */

/* The ids that end a text or a turn: the model's, the tokenizer's, and the names that chat
 * templates use. */
static void stop_ids(const qp_opened *m, qp_ids *ids)
{
    static const char *const turn_ends[] = { "<|eot_id|>", "<|eom_id|>", "<|im_end|>",
                                             "<|end_of_text|>", "<|endoftext|>" };
    const qp_config *cfg = qp_model_config(m->model);
    for (int i = 0; i < cfg->n_eos; i++) qp_ids_add(ids, cfg->eos_id[i]);
    if (qp_tokenizer_eos(m->tokenizer) >= 0) qp_ids_add(ids, qp_tokenizer_eos(m->tokenizer));
    for (size_t i = 0; i < sizeof turn_ends / sizeof *turn_ends; i++) {
        int32_t id = qp_tokenizer_id(m->tokenizer, turn_ends[i]);
        if (id >= 0) qp_ids_add(ids, id);
    }
}

/* ---- the text ---- */

typedef struct {
    const qp_tokenizer *t;
    qp_stream stream;
    qp_buf piece, ready, text; /* text: all of it, for --json */
    bool print, failed;
} sink;

static void show(sink *s)
{
    qp_buf_add(&s->text, s->ready.data ? s->ready.data : "", s->ready.len);
    if (s->print && s->ready.len)
        s->failed |=
            fwrite(s->ready.data, 1, s->ready.len, stdout) != s->ready.len || fflush(stdout);
    qp_buf_clear(&s->ready);
}

static bool take(void *arg, int32_t id)
{
    sink *s = arg;
    qp_err none = { 0 };
    qp_buf_clear(&s->piece);
    /* A vocabulary is often padded: the model can name an id that the tokenizer has no text for. */
    if (qp_tokenizer_decode(s->t, &id, 1, true, &s->piece, &none)) return true;
    bool on =
        qp_stream_add(&s->stream, s->piece.data ? s->piece.data : "", s->piece.len, &s->ready);
    show(s);
    return on && !s->failed;
}

static void sink_release(sink *s)
{
    qp_stream_release(&s->stream);
    qp_buf_release(&s->piece);
    qp_buf_release(&s->ready);
    qp_buf_release(&s->text);
}

static void print_json(const sink *s, int64_t prompt_tokens, const int32_t *ids, int64_t n,
                       const qp_generate_stats *st)
{
    qp_buf out = { 0 };
    qp_json_writer w = { .out = &out, .indent = 2 };
    qp_json_open_object(&w);
    qp_json_key(&w, "text");
    qp_json_string(&w, s->text.data ? s->text.data : "", s->text.len);
    qp_json_key(&w, "prompt_tokens");
    qp_json_int(&w, prompt_tokens);
    qp_json_key(&w, "tokens");
    qp_json_int(&w, n);
    qp_json_key(&w, "finish_reason"); /* as OpenAI's API names them */
    qp_json_cstring(&w, st->stopped ? "stop" : "length");
    qp_json_key(&w, "prompt_seconds");
    qp_json_double(&w, st->prompt_seconds);
    qp_json_key(&w, "token_seconds");
    qp_json_double(&w, st->token_seconds);
    qp_json_key(&w, "ids");
    qp_json_open_array(&w);
    for (int64_t i = 0; i < n; i++) qp_json_int(&w, ids[i]);
    qp_json_close_array(&w);
    qp_json_close_object(&w);
    puts(out.data);
    qp_buf_release(&out);
}

static qp_status produce(const options *o, qp_opened *m, const qp_ids *prompt, qp_err *err)
{
    qp_ids stop = { 0 };
    sink s = { .t = m->tokenizer, .print = !o->json };
    s.stream.stop = o->stop.item;
    s.stream.n_stop = o->stop.n;
    if (!o->ignore_eos) stop_ids(m, &stop);
    int64_t room = qp_model_config(m->model)->max_positions - prompt->n, n = 0;
    int64_t most = room < 1 ? 1 : o->max_tokens < room ? o->max_tokens : room; /* 1: refused */
    int32_t *out = qp_xmalloc((size_t)most * sizeof *out);
    qp_generate_options g = { .max_tokens = most,
                              .stop_ids = stop.id,
                              .n_stop = (int)stop.n,
                              .sampling = o->sampling,
                              .on_token = take,
                              .arg = &s };
    g.sampling.seed = (uint64_t)o->seed;
    qp_generate_stats st;
    qp_status rc = qp_generate(&m->ctx, m->model, prompt->id, prompt->n, &g, out, &n, &st, err);
    if (!rc) {
        qp_stream_end(&s.stream, &s.ready);
        show(&s);
        if (o->json)
            print_json(&s, prompt->n, out, n, &st);
        else
            putchar('\n'), fflush(stdout); /* before the talk on stderr */
        qp_info("prompt %lld tokens, %.1f tok/s | generated %lld tokens, %.1f tok/s",
                (long long)prompt->n, (double)prompt->n / st.prompt_seconds, (long long)n,
                n > 1 ? (double)(n - 1) / st.token_seconds : 0);
    }
    free(out);
    sink_release(&s);
    qp_ids_release(&stop);
    return rc;
}

static qp_status check(const options *o, qp_err *err)
{
    const qp_sampling *s = &o->sampling;
    const struct {
        const char *name;
        double value;
        bool good;
        const char *wanted;
    } row[] = {
        { "max-tokens", (double)o->max_tokens, o->max_tokens >= 1, "at least 1" },
        { "temperature", s->temperature, s->temperature >= 0, "0 or more" },
        { "top-k", (double)s->top_k, s->top_k >= 0, "0 or more" },
        { "top-p", s->top_p, s->top_p > 0 && s->top_p <= 1, "more than 0, at most 1" },
        { "min-p", s->min_p, s->min_p >= 0 && s->min_p <= 1, "0 to 1" },
        { "repetition-penalty", s->repetition_penalty, s->repetition_penalty > 0, "more than 0" },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        if (!row[i].good)
            return qp_fail(err, QP_USAGE, "--%s %g: wanted %s", row[i].name, row[i].value,
                           row[i].wanted);
    return QP_OK;
}

static qp_status run(const options *o, qp_err *err)
{
    qp_opened m;
    qp_status rc = check(o, err);
    if (!rc) rc = qp_open(&m, &o->model, err);
    if (rc) return rc;
    qp_ids prompt = { 0 };
    rc = encode_prompt(o, m.tokenizer, &prompt, err);
    if (!rc) rc = produce(o, &m, &prompt, err);
    qp_ids_release(&prompt);
    qp_opened_release(&m);
    return rc;
}

int qp_cmd_generate(int argc, char **argv)
{
    options o = { .template_name = "auto", .date = "26 Jul 2024", .max_tokens = 128, .seed = 42 };
    o.sampling = (qp_sampling){ .top_p = 1, .repetition_penalty = 1 };
    const qp_arg table[] = {
        QP_MODEL_ARGS(o.model),
        { "prompt", 'p', QP_ARG_TEXT, &o.prompt, "TEXT", "what the model goes on from" },
        { "file", 'f', QP_ARG_TEXT, &o.file, "FILE", "the prompt is in a file" },
        { "chat", 0, QP_ARG_FLAG, &o.chat, NULL,
          "the prompt is a user's turn: apply the model's chat template" },
        { "system", 0, QP_ARG_TEXT, &o.system, "TEXT",
          "the system message before it (implies --chat)" },
        { "chat-template", 0, QP_ARG_TEXT, &o.template_name, "NAME",
          "auto (default), llama3, llama3.1-hf, chatml, smollm2, ..." },
        { "chat-template-date", 0, QP_ARG_TEXT, &o.date, "DATE",
          "for templates that show one (26 Jul 2024)" },
        { "max-tokens", 'n', QP_ARG_INT, &o.max_tokens, "N", "at most so many new tokens (128)" },
        { "temperature", 0, QP_ARG_REAL, &o.sampling.temperature, "T",
          "0: always the likeliest (default)" },
        { "top-k", 0, QP_ARG_INT, &o.sampling.top_k, "K",
          "only the K likeliest; 0: all (default)" },
        { "top-p", 0, QP_ARG_REAL, &o.sampling.top_p, "P",
          "only the likeliest that make up P of the mass (1: off)" },
        { "min-p", 0, QP_ARG_REAL, &o.sampling.min_p, "P",
          "only those with P of the likeliest's probability (0: off)" },
        { "repetition-penalty", 0, QP_ARG_REAL, &o.sampling.repetition_penalty, "X",
          "on tokens already there (1: off)" },
        { "seed", 0, QP_ARG_INT, &o.seed, "N", "the same seed, the same text (42)" },
        { "stop", 0, QP_ARG_LIST, &o.stop, "TEXT", "end where this text appears; may be repeated" },
        { "ignore-eos", 0, QP_ARG_FLAG, &o.ignore_eos, NULL, "go on past the model's end tokens" },
        { "json", 0, QP_ARG_FLAG, &o.json, NULL, "one JSON document" },
    };
    const qp_usage u = { .command = "generate",
                         .summary = "Goes on from a prompt, or answers it with --chat.",
                         .example = "quipu generate -m out/run1 --chat -p \"What is 7 times 8?\" "
                                    "--temperature 0.7 --top-p 0.9",
                         .arg = table,
                         .n = sizeof table / sizeof *table };
    qp_err err = { 0 };
    bool done;
    qp_status rc = qp_args_parse(&u, argc, argv, &done, &err);
    if (!rc && !done) rc = run(&o, &err);
    free(o.stop.item);
    return qp_exit_code(u.command, rc, &err);
}
