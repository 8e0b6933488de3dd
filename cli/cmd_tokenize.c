#include "base/json.h"
#include "base/log.h"
#include "base/zio.h"
#include "cli/cmd.h"
#include "cli/open.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *model, *tokenizer, *text, *file, *decode;
    bool plain, no_bos, show, json;
} options;

static qp_status open_tokenizer(const options *o, qp_tokenizer **t, qp_err *err)
{
    if (!o->model == !o->tokenizer)
        return qp_fail(err, QP_USAGE, "wanted one of -m MODEL and --tokenizer FILE");
    if (o->tokenizer) return qp_tokenizer_open(t, o->tokenizer, err);
    qp_where where;
    qp_status rc = qp_model_where(&(qp_model_args){ .model = o->model }, &where, err);
    if (rc) return rc;
    if (where.tokenizer)
        rc = qp_tokenizer_open(t, where.tokenizer, err);
    else
        rc =
            qp_fail(err, QP_USAGE, "%s: no tokenizer beside the model: --tokenizer FILE", o->model);
    qp_where_release(&where);
    return rc;
}

/* ---- ids to text ---- */

/* Numbers with spaces or commas between, as this command prints them, in brackets or not. */
static qp_status read_ids(const char *s, qp_ids *ids, qp_err *err)
{
    while (*(s += strspn(s, " ,[]\n\t"))) {
        char *end;
        errno = 0;
        long id = strtol(s, &end, 10);
        if (end == s || errno || id < 0 || id > INT32_MAX || (*end && !strchr(" ,[]\n\t", *end)))
            return qp_fail(err, QP_USAGE, "--decode: '%.20s': wanted ids such as 128000 9906", s);
        qp_ids_add(ids, (int32_t)id);
        s = end;
    }
    return QP_OK;
}

static qp_status decode(const options *o, const qp_tokenizer *t, qp_buf *out, qp_err *err)
{
    qp_ids ids = { 0 };
    qp_buf text = { 0 };
    qp_status rc = read_ids(o->decode, &ids, err);
    if (!rc) rc = qp_tokenizer_decode(t, ids.id, ids.n, false, &text, err);
    if (!rc && !o->json) qp_buf_add(out, text.data ? text.data : "", text.len);
    if (!rc && o->json) {
        qp_json_writer w = { .out = out };
        qp_json_open_object(&w);
        qp_json_key(&w, "text");
        qp_json_string(&w, text.data ? text.data : "", text.len);
        qp_json_close_object(&w);
    }
    qp_ids_release(&ids);
    qp_buf_release(&text);
    return rc;
}

/* ---- text to ids ---- */

static void put_ids(qp_json_writer *w, const char *key, const qp_ids *ids)
{
    qp_json_key(w, key);
    qp_json_open_array(w);
    for (int64_t i = 0; i < ids->n; i++) qp_json_int(w, ids->id[i]);
    qp_json_close_array(w);
}

static qp_status put_json(const qp_tokenizer *t, const qp_ids *ids, const qp_ids *at, size_t bytes,
                          qp_buf *out, qp_err *err)
{
    qp_json_writer w = { .out = out };
    qp_buf piece = { 0 };
    qp_status rc = QP_OK;
    qp_json_open_object(&w);
    qp_json_key(&w, "kind");
    qp_json_cstring(&w, qp_tokenizer_kind(t));
    qp_json_key(&w, "vocab");
    qp_json_int(&w, qp_tokenizer_vocab(t));
    qp_json_key(&w, "bytes");
    qp_json_int(&w, (int64_t)bytes);
    qp_json_key(&w, "tokens");
    qp_json_int(&w, ids->n);
    put_ids(&w, "ids", ids);
    put_ids(&w, "offsets", at);
    qp_json_key(&w, "pieces");
    qp_json_open_array(&w);
    for (int64_t i = 0; i < ids->n && !rc; i++) {
        qp_buf_clear(&piece);
        rc = qp_tokenizer_decode(t, &ids->id[i], 1, false, &piece, err);
        qp_json_string(&w, piece.data ? piece.data : "", piece.len);
    }
    qp_json_close_array(&w);
    qp_json_close_object(&w);
    qp_buf_release(&piece);
    return rc;
}

/* A line a token: id, the byte where it begins, its text in quotes. */
static qp_status put_table(const qp_tokenizer *t, const qp_ids *ids, const qp_ids *at, qp_buf *out,
                           qp_err *err)
{
    qp_buf piece = { 0 };
    qp_status rc = QP_OK;
    for (int64_t i = 0; i < ids->n && !rc; i++) {
        qp_buf_clear(&piece);
        rc = qp_tokenizer_decode(t, &ids->id[i], 1, false, &piece, err);
        qp_buf_printf(out, "%s%8d %8d  ", i ? "\n" : "", ids->id[i], at->id[i]);
        qp_json_string(&(qp_json_writer){ .out = out }, piece.data ? piece.data : "", piece.len);
    }
    qp_buf_release(&piece);
    return rc;
}

static qp_status encode(const options *o, const qp_tokenizer *t, qp_buf *out, qp_err *err)
{
    qp_buf text = { 0 };
    qp_ids ids = { 0 }, at = { 0 };
    unsigned flags = (o->no_bos ? 0 : QP_TOK_BOS) | (o->plain ? 0 : QP_TOK_SPECIAL);
    qp_buf_str(&text, o->text ? o->text : "");
    qp_status rc = o->file ? qp_file_read(o->file, &text, err) : QP_OK;
    if (!rc) {
        rc = qp_tokenizer_encode_at(t, text.data, text.len, flags, &ids, &at, err);
        if (rc && o->file) qp_wrap(err, "%s", o->file);
    }
    if (!rc && o->json)
        rc = put_json(t, &ids, &at, text.len, out, err);
    else if (!rc && o->show)
        rc = put_table(t, &ids, &at, out, err);
    else
        for (int64_t i = 0; i < ids.n; i++) qp_buf_printf(out, "%s%d", i ? " " : "", ids.id[i]);
    if (!rc && o->show)
        qp_info("%s, vocabulary %lld: %zu bytes, %lld tokens", qp_tokenizer_kind(t),
                (long long)qp_tokenizer_vocab(t), text.len, (long long)ids.n);
    qp_buf_release(&text);
    qp_ids_release(&ids);
    qp_ids_release(&at);
    return rc;
}

static qp_status run(const options *o, qp_err *err)
{
    qp_tokenizer *t = NULL;
    qp_buf out = { 0 };
    if (!!o->text + !!o->file + !!o->decode != 1)
        return qp_fail(err, QP_USAGE, "wanted one of -p TEXT, -f FILE and --decode IDS");
    qp_status rc = open_tokenizer(o, &t, err);
    if (!rc) rc = o->decode ? decode(o, t, &out, err) : encode(o, t, &out, err);
    if (!rc) {
        qp_buf_char(&out, '\n');
        fwrite(out.data, 1, out.len, stdout);
    }
    qp_buf_release(&out);
    qp_tokenizer_free(t);
    return rc;
}

int qp_cmd_tokenize(int argc, char **argv)
{
    options o = { 0 };
    bool done;
    const qp_arg table[] = {
        { "model", 'm', QP_ARG_TEXT, &o.model, "MODEL",
          "a model folder, .gguf, run or checkpoint" },
        { "tokenizer", 0, QP_ARG_TEXT, &o.tokenizer, "FILE",
          "tokenizer.json, tokenizer.model, .gguf, a folder, or bytes" },
        { "prompt", 'p', QP_ARG_TEXT, &o.text, "TEXT", "the text" },
        { "file", 'f', QP_ARG_TEXT, &o.file, "FILE", "a file with the text" },
        { "decode", 0, QP_ARG_TEXT, &o.decode, "IDS", "ids to text: \"128000 9906\"" },
        { "plain", 0, QP_ARG_FLAG, &o.plain, NULL, "text of special tokens is plain text" },
        { "no-bos", 0, QP_ARG_FLAG, &o.no_bos, NULL, "no BOS in front" },
        { "show", 0, QP_ARG_FLAG, &o.show, NULL, "a line a token: id, first byte, text" },
        { "json", 0, QP_ARG_FLAG, &o.json, NULL, "one JSON document" },
    };
    const qp_usage u = { .command = "tokenize",
                         .summary = "Ids of a text, or the text of ids.",
                         .example =
                             "quipu tokenize -m models/llama-3.2-1b -p \"Hello world\" --show",
                         .arg = table,
                         .n = sizeof table / sizeof *table };
    qp_err err = { 0 };
    qp_status rc = qp_args_parse(&u, argc, argv, &done, &err);
    if (!rc && !done) rc = run(&o, &err);
    return qp_exit_code(u.command, rc, &err);
}
