/* Broken, hostile and odd files through the command that a user would give them to: the program
   must accept what is sound, and refuse the rest in one line that names it, soon, and without
   leaving anything behind. */
#include "base/thread.h"
#include "base/zio.h"
#include "tests/parity/parity.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* The manifest's limits; a stop of its own after them, for a machine that is busy. */
enum { MEMORY_KB = 1 << 20, SECONDS_CPU = 10, SECONDS = 60 };

typedef struct {
    parity *p;
    char *program, *dir, *text; /* dir: made for this group */
    char *tokenizer;            /* of chat data: one that has a template */
    int not_built;
} bench;

typedef struct {
    int code; /* exit code; -1: ended by a signal or by this group */
    double cpu_seconds;
    long peak_kb;
    char *said; /* standard error */
} outcome;

/* ---- running the program ---- */

static void become(const bench *b, char *const *argv, const char *out, const char *err)
{
    if (!freopen("/dev/null", "r", stdin) || !freopen(out, "w", stdout) ||
        !freopen(err, "w", stderr))
        _exit(127);
    execv(b->program, argv);
    _exit(127);
}

static int wait_for(pid_t pid, struct rusage *used)
{
    double end = qp_now() + SECONDS;
    for (int status;;) {
        pid_t done = wait4(pid, &status, WNOHANG, used);
        if (done == pid) return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        if (done < 0 && errno != EINTR) return -1;
        if (qp_now() > end) kill(pid, SIGKILL);
        usleep(2000);
    }
}

static outcome run(const bench *b, char *const *argv)
{
    struct rusage used = { 0 };
    char *out = qp_path_join(b->dir, "out.txt"), *err = qp_path_join(b->dir, "err.txt");
    qp_buf said = { 0 };
    qp_err ignored = { 0 };
    fflush(NULL);
    pid_t pid = fork();
    if (!pid) become(b, argv, out, err);
    outcome o = { .code = wait_for(pid, &used), .peak_kb = used.ru_maxrss };
    o.cpu_seconds = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec);
    qp_buf_str(&said, "");
    if (qp_file_read(err, &said, &ignored)) qp_buf_clear(&said);
    o.said = said.data;
    free(out);
    free(err);
    return o;
}

/* ---- what is needed beside the entry's file ---- */

static char *write_aside(const bench *b, const char *name, const qp_buf *text)
{
    char *path = qp_path_join(b->dir, name);
    qp_err err = { 0 };
    parity_ok(b->p, qp_file_write(path, text->data, text->len, &err), &err);
    return path;
}

/* A tokenizer for a model of few tokens: the first letters, byte for byte. */
static char *write_letters(const bench *b, const char *model)
{
    char *config_path = qp_path_join(model, "config.json");
    qp_value *config = NULL;
    qp_err err = { 0 };
    qp_buf text = { 0 };
    int64_t letters = 26;
    if (!qp_json_load(&config, config_path, &err)) {
        const qp_value *v = qp_json_get(config, "vocab_size");
        if (v && v->integer < letters) letters = v->integer;
    }
    qp_buf_str(&text, "{\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
                      "\"use_regex\": true}, \"decoder\": {\"type\": \"ByteLevel\"}, "
                      "\"model\": {\"type\": \"BPE\", \"merges\": [], \"vocab\": {");
    for (int i = 0; i < letters; i++)
        qp_buf_printf(&text, "%s\"%c\": %d", i ? ", " : "", 'a' + i, i);
    qp_buf_str(&text, "}}}");
    char *path = write_aside(b, "letters.json", &text);
    qp_buf_release(&text);
    qp_json_free(config);
    free(config_path);
    return path;
}

/* A configuration that trains one step of a very small model, with `more` behind it. */
static char *write_yaml(const bench *b, const char *name, const char *data, const char *more)
{
    qp_buf text = { 0 };
    qp_buf_printf(&text,
                  "model_config: {hidden_size: 8, intermediate_size: 16, num_hidden_layers: 1, "
                  "num_attention_heads: 2, num_key_value_heads: 1}\n"
                  "tokenizer: %s\ndatasets:\n  - path: %s\nsequence_len: 64\nmax_steps: 1\n"
                  "gradient_accumulation_steps: 1\ndtype: f32\noutput_dir: %s/run\n%s",
                  b->tokenizer, data, b->dir, more);
    char *path = write_aside(b, name, &text);
    qp_buf_release(&text);
    return path;
}

/* ---- the kinds of entries ---- */

static outcome inspect(bench *b, const qp_value *entry, char *path)
{
    (void)entry;
    return run(b, (char *[]){ "quipu", "inspect", path, NULL });
}

static outcome score(bench *b, char *model, char *adapter)
{
    char *letters = write_letters(b, model), *given = adapter ? adapter : "";
    outcome o =
        run(b, (char *[]){ "quipu", "perplexity", "-m", model, "-f", b->text, "-c", "8",
                           "--tokenizer", letters, adapter ? "--adapter" : NULL, given, NULL });
    free(letters);
    return o;
}

static outcome model(bench *b, const qp_value *entry, char *path)
{
    (void)entry;
    return score(b, path, NULL);
}

static outcome adapter(bench *b, const qp_value *entry, char *path)
{
    const qp_value *base = qp_json_get(entry, "base_model");
    char *at = parity_path(b->p, "bad/%s", base ? base->str : "");
    outcome o = score(b, at, path);
    free(at);
    return o;
}

static outcome tokenizer(bench *b, const qp_value *entry, char *path)
{
    (void)entry;
    return run(b, (char *[]){ "quipu", "tokenize", "--tokenizer", path, "-p", "hello", NULL });
}

static outcome data(bench *b, const qp_value *entry, char *path)
{
    (void)entry;
    char *yaml = write_yaml(b, "data.yaml", path, "");
    outcome o = run(b, (char *[]){ "quipu", "train", yaml, NULL });
    free(yaml);
    return o;
}

static outcome settings(bench *b, const qp_value *entry, char *path)
{
    (void)entry;
    qp_buf fragment = { 0 };
    qp_err err = { 0 };
    qp_buf_str(&fragment, "");
    parity_ok(b->p, qp_file_read(path, &fragment, &err), &err);
    char *yaml = write_yaml(b, strrchr(path, '/') + 1, b->text, fragment.data);
    outcome o = run(b, (char *[]){ "quipu", "train", yaml, NULL });
    qp_buf_release(&fragment);
    free(yaml);
    return o;
}

static const struct {
    const char *category;
    outcome (*try)(bench *b, const qp_value *entry, char *path);
} kinds[] = {
    { "safetensors", inspect }, { "gguf", inspect }, { "models", model },  { "adapter", adapter },
    { "tokenizer", tokenizer }, { "jsonl", data },   { "yaml", settings },
};
enum { KINDS = sizeof kinds / sizeof *kinds };

/* ---- judging ---- */

/* Lines that begin with the program's name; others are talk, such as a synonym's canonical name. */
static int messages(const char *said)
{
    int n = 0;
    for (const char *line = said; line && *line; line = strchr(line, '\n'), line += line != NULL)
        n += !strncmp(line, "quipu", 5);
    return n;
}

/* The run's folder must not be there after a refusal. */
static bool is_left(const bench *b)
{
    char *path = qp_path_join(b->dir, "run");
    bool there = qp_path_exists(path);
    qp_err err = { 0 };
    parity_ok(b->p, qp_remove_tree(path, &err), &err);
    free(path);
    return there;
}

static void judge(bench *b, const qp_value *entry, const char *file, const outcome *o)
{
    const qp_value *wish = qp_json_get(entry, "must_fail");
    const char *name = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
    bool refused = o->code == QP_USAGE || o->code == QP_BADFILE, left = is_left(b);
    b->p->compared++;
    if (o->code < 0 || o->cpu_seconds > SECONDS_CPU || o->peak_kb > MEMORY_KB)
        parity_fail(b->p, "%s: exit %d after %.0f s of computing, %ld MB; said: %s", file, o->code,
                    o->cpu_seconds, o->peak_kb >> 10, o->said);
    else if (o->code && !refused)
        parity_fail(b->p, "%s: exit %d: %s", file, o->code, o->said);
    else if (wish->kind == QP_JSON_TRUE && !refused)
        parity_fail(b->p, "%s: accepted", file);
    else if (wish->kind == QP_JSON_FALSE && refused)
        parity_fail(b->p, "%s: exit %d: %s", file, o->code, o->said);
    else if (refused && (messages(o->said) != 1 || !strstr(o->said, name)))
        parity_fail(b->p, "%s: wanted one line that names it: %s", file, o->said);
    else if (refused && left)
        parity_fail(b->p, "%s: refused, but output_dir was left behind", file);
}

static void try_entry(bench *b, const qp_value *entry)
{
    const qp_value *file = qp_json_get(entry, "file"), *category = qp_json_get(entry, "category");
    if (!file || !category || !qp_json_get(entry, "must_fail")) {
        parity_fail(b->p, "manifest.json: an entry without file, category or must_fail");
        return;
    }
    char *path = parity_path(b->p, "bad/%s", file->str);
    int i = 0;
    while (i < KINDS && strcmp(kinds[i].category, category->str)) i++;
    if (i == KINDS) {
        b->not_built++;
        snprintf(b->p->note, sizeof b->p->note, "%d of kind %s not built yet", b->not_built,
                 category->str);
    } else {
        outcome o = kinds[i].try(b, entry, path);
        judge(b, entry, file->str, &o);
        free(o.said);
    }
    free(path);
}

/* ---- the whole ---- */

static bool set_up(bench *b, parity *p)
{
    const char *build = getenv("QP_BUILD");
    char relative[1000], pattern[] = "/tmp/qp-bad-XXXXXX";
    snprintf(relative, sizeof relative, "%s/quipu", build ? build : "build");
    *b = (bench){ .p = p, .program = realpath(relative, NULL) };
    if (!b->program) return parity_fail(p, "%s: build it first", relative);
    if (!mkdtemp(pattern)) return parity_fail(p, "%s: %s", pattern, strerror(errno));
    qp_buf text = { 0 };
    for (int i = 0; i < 40; i++) qp_buf_printf(&text, "abcdefgh hgfe %d dcba\n", i);
    b->dir = qp_xstrdup(pattern);
    b->text = write_aside(b, "text.txt", &text);
    b->tokenizer = parity_path(p, "tokenizers/smollm2");
    qp_buf_release(&text);
    return !p->failure[0];
}

static void tear_down(bench *b)
{
    qp_err err = { 0 };
    if (b->dir) parity_ok(b->p, qp_remove_tree(b->dir, &err), &err);
    free(b->program);
    free(b->dir);
    free(b->text);
    free(b->tokenizer);
}

void parity_bad(parity *p, const char *path)
{
    bench b;
    qp_value *manifest = parity_json(p, "bad/manifest.json");
    (void)path;
    if (!manifest) return;
    if (set_up(&b, p)) {
        const qp_value *inputs = qp_json_get(manifest, "inputs");
        for (const qp_value *e = inputs ? inputs->child : NULL; e; e = e->next) try_entry(&b, e);
        snprintf(p->worst, sizeof p->worst, "exit codes");
    }
    tear_down(&b);
    qp_json_free(manifest);
}
