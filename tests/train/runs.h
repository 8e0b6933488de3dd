/* Whole runs of the program as child processes, in a folder of the test's own, and what two of them
   may be compared by. */
#ifndef QP_TESTS_TRAIN_RUNS_H
#define QP_TESTS_TRAIN_RUNS_H
#include "base/json.h"
#include "base/sha256.h"
#include "base/zio.h"
#include "tests/suites.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64];
static qp_err err;

static inline void write_text(const char *name, const char *text)
{
    char *path = qp_path_join(dir, name);
    ck_assert_msg(!qp_file_write(path, text, strlen(text), &err), "%s", err.msg);
    free(path);
}

static const char settings[] =
    "model_config: {hidden_size: 16, intermediate_size: 32, num_hidden_layers: 2, "
    "num_attention_heads: 2,\n"
    "               num_key_value_heads: 1}\n"
    "tokenizer: bytes\nchat_template: none\ndatasets: [{path: DIR/train.jsonl}]\n"
    "test_datasets: [{path: DIR/valid.jsonl}]\nsequence_len: 48\nmicro_batch_size: "
    "1\ngradient_accumulation_steps: 3\n"
    "max_steps: 8\nlearning_rate: 1.0e-2\nwarmup_steps: 2\neval_steps: 3\nsave_steps: 2\nlora_r: "
    "2\nlora_dropout: 0.2\n"
    "lora_alpha: 4\nlogging_steps: 2\n";

static inline void runs_set_up(void)
{
    qp_buf data = { 0 }, yaml = { 0 };
    /* Saves wait for the disk; in memory the suite takes a third of the time. */
    bool memory = access("/dev/shm", W_OK) == 0;
    strcpy(dir, memory ? "/dev/shm/qp_resume_XXXXXX" : "/tmp/qp_resume_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    for (int i = 0; i < 17; i++)
        qp_buf_printf(&data, "{\"prompt\": \"%d plus %d is \", \"completion\": \"%d\"}\n", i, 3 * i,
                      4 * i);
    write_text("train.jsonl", data.data);
    write_text("valid.jsonl", "{\"prompt\": \"5 plus 6 is \", \"completion\": \"11\"}\n");
    for (const char *s = settings; *s; s++) {
        bool here = !strncmp(s, "DIR", 3);
        here ? qp_buf_str(&yaml, dir) : qp_buf_char(&yaml, *s);
        if (here) s += 2;
    }
    write_text("run.yaml", yaml.data);
    qp_buf_release(&data);
    qp_buf_release(&yaml);
}

static inline void runs_tear_down(void)
{
    ck_assert_msg(!qp_remove_tree(dir, &err), "%s", err.msg);
}

/* Starts `quipu train DIR/run.yaml output_dir=DIR/OUT words...`; what it says goes to DIR/OUT.log.
 */
static inline pid_t start(const char *out, const char *fault, int threads, rlim_t file_limit,
                          const char *words)
{
    const char *build = getenv("QP_BUILD");
    char *program = qp_xformat("%s/quipu", build ? build : "build"), *copy = qp_xstrdup(words),
         *rest = copy, *word;
    char *argv[32] = { program, "train", qp_path_join(dir, "run.yaml"),
                       qp_xformat("output_dir=%s/%s", dir, out) };
    char *log = qp_xformat("%s/%s.log", dir, out), threads_text[16];
    int n = 4;
    ck_assert_msg(qp_path_exists(program), "%s: build it first", program);
    while ((word = strsep(&rest, " ")))
        if (*word) argv[n++] = word;
    snprintf(threads_text, sizeof threads_text, "%d", threads);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0644);
        dup2(fd, 1);
        dup2(fd, 2);
        fault ? setenv("QP_FAULT", fault, 1) : unsetenv("QP_FAULT");
        setenv("OMP_NUM_THREADS", threads_text, 1);
        struct rlimit limit = { file_limit, file_limit };
        if (file_limit) setrlimit(RLIMIT_FSIZE, &limit);
        execv(program, argv);
        _exit(127);
    }
    free(program);
    free(copy);
    free(argv[2]);
    free(argv[3]);
    free(log);
    return pid;
}

/* Exit code, or 1000 + the signal that ended it. */
static inline int finish(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0) ck_assert_int_eq(errno, EINTR);
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

static inline void forget(const char *out)
{
    char *path = qp_path_join(dir, out);
    ck_assert(!qp_remove_tree(path, &err));
    free(path);
}

static inline char *log_of(const char *out)
{
    qp_buf b = { 0 };
    char *path = qp_xformat("%s/%s.log", dir, out);
    qp_buf_str(&b, "");
    ck_assert(!qp_file_read(path, &b, &err));
    free(path);
    return b.data;
}

static inline void expect(const char *out, int got, int want)
{
    if (got == want) return;
    ck_abort_msg("%s: exit %d, not %d: %s", out, got, want, log_of(out));
}

static inline void train(const char *out, const char *words)
{
    expect(out, finish(start(out, NULL, 1, 0, words)), QP_OK);
}

static inline void says(const char *out, const char *words)
{
    char *log = log_of(out);
    ck_assert_msg(strstr(log, words) != NULL, "no \"%s\" in: %s", words, log);
    free(log);
}

/* Digest of out/final/FILE, whichever of the two it has. */
static inline void digest(const char *out, char hex[65])
{
    char *path = qp_xformat("%s/%s/final/adapter_model.safetensors", dir, out);
    if (!qp_path_exists(path)) {
        free(path);
        path = qp_xformat("%s/%s/final/model.safetensors", dir, out);
    }
    ck_assert_msg(!qp_sha256_file(path, hex, &err), "%s", err.msg);
    free(path);
}

static inline void same_result(const char *a, const char *b)
{
    char x[65], y[65];
    digest(a, x);
    digest(b, y);
    ck_assert_msg(!strcmp(x, y), "%s and %s differ", a, b);
}

static inline double number(const qp_value *v, const char *key)
{
    const qp_value *n = qp_json_get(v, key);
    return n ? n->number : -1;
}

/* Steps, losses and rates of metrics.jsonl; its times and sizes are of no interest. */
static inline char *metrics(const char *out)
{
    qp_buf text = { 0 }, kept = { 0 };
    char *path = qp_xformat("%s/%s/metrics.jsonl", dir, out), *rest, *line;
    ck_assert_msg(!qp_file_read(path, &text, &err), "%s", err.msg);
    for (rest = text.data; (line = strsep(&rest, "\n")) && *line;) {
        qp_value *v;
        ck_assert_msg(!qp_json_parse(&v, line, strlen(line), &err), "%s", line);
        qp_buf_printf(&kept, "%g %g %.17g %.17g %.17g\n", number(v, "step"), number(v, "eval_step"),
                      number(v, "loss"), number(v, "lr"), number(v, "grad_norm"));
        qp_json_free(v);
    }
    qp_buf_release(&text);
    free(path);
    return kept.data;
}

static inline void same_metrics(const char *a, const char *b)
{
    char *x = metrics(a), *y = metrics(b);
    ck_assert_str_eq(x, y);
    free(x);
    free(y);
}

static inline void no_temporaries(const char *out)
{
    char *path = qp_path_join(dir, out);
    DIR *d = opendir(path);
    ck_assert_ptr_nonnull(d);
    for (struct dirent *e; (e = readdir(d));)
        ck_assert_msg(!strstr(e->d_name, ".tmp"), "%s is left", e->d_name);
    closedir(d);
    free(path);
}

static inline void same_links(const char *a, const char *b)
{
    static const char *const links[] = { "best", "latest" };
    for (int i = 0; i < 2; i++) {
        char x[64] = "", y[64] = "";
        char *p = qp_xformat("%s/%s/%s", dir, a, links[i]),
             *q = qp_xformat("%s/%s/%s", dir, b, links[i]);
        ck_assert(readlink(p, x, sizeof x - 1) > 0 && readlink(q, y, sizeof y - 1) > 0);
        ck_assert_str_eq(x, y);
        free(p);
        free(q);
    }
}

/* What the log says from `words` on. */
static inline const char *place(const char *log, const char *words)
{
    const char *at = strstr(log, words);
    ck_assert_msg(at != NULL, "no \"%s\" in: %s", words, log);
    return at;
}
#endif
