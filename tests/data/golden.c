#include "tests/data/golden.h"
#include "base/zio.h"
#include "data/bytelevel.h"
#include "tests/base/files.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *golden_path(const char *name)
{
    static char path[1000];
    const char *shared = getenv("QP_SHARED");
    snprintf(path, sizeof path, "%s/%s", shared ? shared : "../shared", name);
    if (qp_path_exists(path)) return path;
    fprintf(stderr, "NOT TESTED: no %s (set QP_SHARED)\n", path);
    return NULL;
}

int64_t golden_rows(const char *path, void (*fn)(void *arg, const qp_value *row, int64_t line),
                    void *arg)
{
    qp_err err = { 0 };
    qp_buf text = { 0 };
    int64_t n = 0;
    ck_assert_msg(!qp_file_read(path, &text, &err), "%s", err.msg);
    for (char *at = text.data, *end = at + text.len, *stop; at < end; at = stop + 1) {
        stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop) stop = end;
        if (stop == at) continue;
        qp_value *row;
        ck_assert_msg(!qp_json_parse(&row, at, (size_t)(stop - at), &err), "%s: %s", path, err.msg);
        fn(arg, row, ++n);
        qp_json_free(row);
    }
    qp_buf_release(&text);
    return n;
}

bool golden_same_ids(const qp_ids *ids, const qp_value *want)
{
    if (ids->n != want->count) return false;
    int64_t i = 0;
    for (const qp_value *v = want->child; v; v = v->next, i++)
        if (ids->id[i] != v->integer) return false;
    return true;
}

static char *dir;

void scratch_open(void) { dir = test_dir(); }
void scratch_close(void) { test_remove_dir(dir); }

const char *scratch_path(const char *name)
{
    static char path[1000];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

const char *scratch_file(const char *name, const char *text, size_t len)
{
    qp_err err = { 0 };
    const char *path = scratch_path(name);
    ck_assert_msg(!qp_file_write(path, text, len, &err), "%s", err.msg);
    return path;
}

/* The text of a merge "a b" without the space is a token of the vocabulary. */
static void add_merged(qp_buf *vocab, const char *merges, int id)
{
    for (const char *open = strchr(merges, '"'), *close; open; open = strchr(close + 1, '"')) {
        close = strchr(open + 1, '"');
        qp_buf_str(vocab, ", \"");
        for (const char *c = open + 1; c < close; c++)
            if (*c != ' ') qp_buf_char(vocab, *c);
        qp_buf_printf(vocab, "\": %d", id++);
    }
}

const char *scratch_tokenizer(const char *merges, const char *pre, const char *added,
                              const char *model)
{
    qp_bytelevel names;
    qp_buf vocab = { 0 }, file = { 0 };
    qp_bytelevel_init(&names);
    for (int b = 0; b < 256; b++) {
        qp_buf name = { 0 };
        qp_bytelevel_names(&names, (char[]){ (char)b }, 1, &name);
        qp_buf_printf(&vocab, "%s\"%s%s\": %d", b ? ", " : "",
                      *name.data == '"' || *name.data == '\\' ? "\\" : "", name.data, b);
        qp_buf_release(&name);
    }
    add_merged(&vocab, merges, 256);
    qp_buf_printf(&file,
                  "{\"added_tokens\": [%s], \"pre_tokenizer\": %s, \"model\": {\"type\": \"BPE\", "
                  "%s \"vocab\": {%s}, \"merges\": [%s]}}",
                  added, pre, model, vocab.data, merges);
    const char *path = scratch_file("tokenizer.json", file.data, file.len);
    qp_buf_release(&vocab);
    qp_buf_release(&file);
    return path;
}

qp_tokenizer *open_or_die(const char *path)
{
    qp_err err = { 0 };
    qp_tokenizer *t;
    ck_assert_msg(!qp_tokenizer_open(&t, path, &err), "%s", err.msg);
    return t;
}
