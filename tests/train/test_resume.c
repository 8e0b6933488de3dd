/* Whole runs of the program as a child process: stopped in every way there is, gone on with, and
   compared byte for byte with the run that never stopped. */
#include "autograd/cpu/dispatch.h"
#include "autograd/cpu/product.h"
#include "base/json.h"
#include "base/sha256.h"
#include "base/thread.h"
#include "base/zio.h"
#include "tests/suites.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64];
static qp_err err;

static void write_text(const char *name, const char *text)
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

static void set_up(void)
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

static void tear_down(void) { ck_assert_msg(!qp_remove_tree(dir, &err), "%s", err.msg); }

/* Starts `quipu train DIR/run.yaml output_dir=DIR/OUT words...`; what it says goes to DIR/OUT.log.
 */
static pid_t start(const char *out, const char *fault, int threads, rlim_t file_limit,
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
static int finish(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0) ck_assert_int_eq(errno, EINTR);
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void forget(const char *out)
{
    char *path = qp_path_join(dir, out);
    ck_assert(!qp_remove_tree(path, &err));
    free(path);
}

static char *log_of(const char *out)
{
    qp_buf b = { 0 };
    char *path = qp_xformat("%s/%s.log", dir, out);
    qp_buf_str(&b, "");
    ck_assert(!qp_file_read(path, &b, &err));
    free(path);
    return b.data;
}

static void expect(const char *out, int got, int want)
{
    if (got == want) return;
    ck_abort_msg("%s: exit %d, not %d: %s", out, got, want, log_of(out));
}

static void train(const char *out, const char *words)
{
    expect(out, finish(start(out, NULL, 1, 0, words)), QP_OK);
}

static void says(const char *out, const char *words)
{
    char *log = log_of(out);
    ck_assert_msg(strstr(log, words) != NULL, "no \"%s\" in: %s", words, log);
    free(log);
}

/* Digest of out/final/FILE, whichever of the two it has. */
static void digest(const char *out, char hex[65])
{
    char *path = qp_xformat("%s/%s/final/adapter_model.safetensors", dir, out);
    if (!qp_path_exists(path)) {
        free(path);
        path = qp_xformat("%s/%s/final/model.safetensors", dir, out);
    }
    ck_assert_msg(!qp_sha256_file(path, hex, &err), "%s", err.msg);
    free(path);
}

static void same_result(const char *a, const char *b)
{
    char x[65], y[65];
    digest(a, x);
    digest(b, y);
    ck_assert_msg(!strcmp(x, y), "%s and %s differ", a, b);
}

static double number(const qp_value *v, const char *key)
{
    const qp_value *n = qp_json_get(v, key);
    return n ? n->number : -1;
}

/* Steps, losses and rates of metrics.jsonl; its times and sizes are of no interest. */
static char *metrics(const char *out)
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

static void same_metrics(const char *a, const char *b)
{
    char *x = metrics(a), *y = metrics(b);
    ck_assert_str_eq(x, y);
    free(x);
    free(y);
}

static void no_temporaries(const char *out)
{
    char *path = qp_path_join(dir, out);
    DIR *d = opendir(path);
    ck_assert_ptr_nonnull(d);
    for (struct dirent *e; (e = readdir(d));)
        ck_assert_msg(!strstr(e->d_name, ".tmp"), "%s is left", e->d_name);
    closedir(d);
    free(path);
}

static void same_links(const char *a, const char *b)
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

/* The kinds of run: everything or adapters, f32 or bf16. Adapters need a base, made by a short run.
 */
static const char *const kinds[] = { "adapter=none dtype=f32", "adapter=none dtype=bf16",
                                     "lora f32", "lora bf16" };
enum { KINDS = 4 };

static const char *words_of(int kind)
{
    static char words[400];
    if (kind < 2) return kinds[kind];
    char *base = qp_xformat("%s/base/final", dir);
    if (!qp_path_exists(base)) train("base", "dtype=f32 max_steps=2");
    snprintf(words, sizeof words, "adapter=lora model_config=null base_model=%s dtype=%s", base,
             strchr(kinds[kind], ' ') + 1);
    free(base);
    return words;
}

START_TEST(killed_at_every_fault_point_it_ends_in_the_same_bytes)
{
    static const char *const faults[] = { "micro_mid:2",     "save_begin:1",   "save_mid:1",
                                          "save_manifest:2", "save_renamed:1", "save_linked:1",
                                          "eval_mid:1",      "micro_mid:4",    "eval_end:1",
                                          "save_mid:2",      "save_begin:1",   "final_mid:1" };
    const char *words = words_of(_i);
    train("whole", words);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        expect("cut", finish(start("cut", faults[i], 1, 0, words)), 1000 + SIGKILL);
    train("cut", words);
    same_result("whole", "cut");
    same_metrics("whole", "cut");
    same_links("whole", "cut");
    no_temporaries("cut");
}
END_TEST

/* Moments are drawn from the time that a whole run takes, so that they fall everywhere in it. */
START_TEST(killed_at_random_moments_it_ends_in_the_same_bytes)
{
    char *words = qp_xformat("%s max_steps=24", words_of(_i));
    uint64_t random = 12345 + (uint64_t)_i;
    int code, kills = 0, tries = 0;
    double begun = qp_now();
    train("whole", words);
    double whole = qp_now() - begun;
    do {
        if (tries && !kills) forget("cut"); /* it was through before the signal came: again */
        pid_t pid = start("cut", NULL, 1, 0, words);
        random = random * 6364136223846793005U + 1442695040888963407U;
        if (++tries < 100 && kills < 6) {
            usleep((useconds_t)(whole * 1e6 * (double)(random >> 33) / 2147483648.0));
            kill(pid, SIGKILL);
        }
        code = finish(pid);
        kills += code == 1000 + SIGKILL;
    } while (code == 1000 + SIGKILL || (!kills && tries < 100));
    expect("cut", code, QP_OK);
    ck_assert_int_gt(kills, 0);
    same_result("whole", "cut");
    same_metrics("whole", "cut");
    same_links("whole", "cut");
    no_temporaries("cut");
    free(words);
}
END_TEST

START_TEST(one_thread_and_two_give_the_same_bytes)
{
    const char *words = words_of(_i);
    train("one", words);
    expect("two", finish(start("two", NULL, 2, 0, words)), QP_OK);
    same_result("one", "two");
    same_metrics("one", "two");
}
END_TEST

START_TEST(recompute_and_logging_change_no_byte)
{
    const char *words = words_of(_i);
    train("one", words);
    char *more = qp_xformat(
        "%s gradient_checkpointing=true logging_steps=3 save_steps=5 eval_steps=0", words);
    train("two", more);
    free(more);
    same_result("one", "two");
}
END_TEST

START_TEST(a_signal_saves_and_leaves_with_75)
{
    train("whole", "");
    pid_t pid = start("cut", NULL, 1, 0, "");
    char *first = qp_xformat("%s/cut/checkpoint-000002", dir);
    for (int i = 0; i < 20000 && !qp_path_exists(first); i++) usleep(500);
    kill(pid, SIGTERM);
    int code = finish(pid);
    if (code != QP_OK) { /* it may have been too quick */
        expect("cut", code, QP_STOPPED);
        says("cut", "save checkpoint-");
        says("cut", "stopped by signal 15");
    }
    train("cut", "");
    same_result("whole", "cut");
    same_metrics("whole", "cut");
    free(first);
}
END_TEST

START_TEST(two_signals_at_once_are_one)
{
    pid_t pid = start("out", NULL, 1, 0, "max_steps=1000000 eval_steps=0 save_steps=0");
    char *begun = qp_xformat("%s/out/metrics.jsonl", dir);
    for (int i = 0; i < 20000 && !qp_path_exists(begun); i++) usleep(500);
    kill(pid, SIGTERM);
    kill(pid, SIGTERM);
    expect("out", finish(pid), QP_STOPPED);
    free(begun);
}
END_TEST

/* Two evaluations of some tenths of a second: before the first step and after the last. */
START_TEST(a_signal_in_the_last_evaluation_leaves_it_to_the_next_session)
{
    static const char words[] = "max_steps=1 logging_steps=1 eval_steps=0";
    qp_buf valid = { 0 }, seen = { 0 };
    for (int i = 0; i < 1500; i++)
        qp_buf_printf(&valid, "{\"prompt\": \"%d plus 6 is\", \"completion\": \"11\"}\n", i);
    write_text("valid.jsonl", valid.data);
    train("whole", words);
    pid_t pid = start("cut", NULL, 1, 0, words);
    char *path = qp_xformat("%s/cut/metrics.jsonl", dir);
    qp_buf_str(&seen, "");
    for (int i = 0; i < 20000 && !strstr(seen.data, "{\"step\""); i++) {
        usleep(500);
        qp_buf_clear(&seen);
        qp_buf_str(&seen, "");
        if (qp_path_exists(path)) ck_assert(!qp_file_read(path, &seen, &err));
    }
    kill(pid, SIGTERM);
    expect("cut", finish(pid), QP_STOPPED);
    train("cut", words);
    same_metrics("whole", "cut");
    same_links("whole", "cut");
    qp_buf_release(&valid);
    qp_buf_release(&seen);
    free(path);
}
END_TEST

START_TEST(a_finished_run_says_so_and_changes_nothing)
{
    char before[65], after[65];
    train("out", "");
    digest("out", before);
    train("out", "");
    says("out", "finished, at step 8");
    digest("out", after);
    ck_assert_str_eq(before, after);
}
END_TEST

START_TEST(other_settings_in_a_used_folder_are_refused_by_name)
{
    train("out", "");
    expect("out", finish(start("out", NULL, 1, 0, "learning_rate=0.02 seed=1")), QP_USAGE);
    says("out", "learning_rate: 0.01 there, 0.02 here");
    says("out", "seed: 42 there, 1 here");
    expect("out", finish(start("out", NULL, 1, 0, "max_steps=9")), QP_USAGE);
    says("out", "max_steps: 8 there, 9 here");
    write_text("train.jsonl", "{\"prompt\": \"other \", \"completion\": \"data\"}\n");
    expect("out", finish(start("out", NULL, 1, 0, "")), QP_USAGE);
    says("out", "data (SHA-256)");
}
END_TEST

START_TEST(a_constant_rate_lets_a_run_be_made_longer)
{
    train("whole", "lr_scheduler=constant max_steps=8");
    train("out", "lr_scheduler=constant max_steps=5");
    expect("out", finish(start("out", "final_mid:1", 1, 0, "lr_scheduler=constant max_steps=8")),
           1000 + SIGKILL); /* final/ is the shorter run's */
    train("out", "lr_scheduler=constant max_steps=8");
    same_result("whole", "out");
}
END_TEST

static void flip_byte(const char *file)
{
    char *path = qp_path_join(dir, file);
    FILE *f = fopen(path, "r+b");
    ck_assert_msg(f != NULL, "%s", path);
    fseek(f, 5000, SEEK_SET);
    int c = fgetc(f);
    fseek(f, 5000, SEEK_SET);
    fputc(c ^ 4, f);
    fclose(f);
    free(path);
}

START_TEST(a_corrupt_newest_checkpoint_is_reported_and_the_one_before_used)
{
    train("whole", "");
    expect("cut", finish(start("cut", "save_linked:2", 1, 0, "")),
           1000 + SIGKILL); /* 2 and 3 are there */
    flip_byte("cut/latest/state.h5");
    train("cut", "");
    says("cut", "state.h5: SHA-256");
    says("cut", "going on from");
    same_result("whole", "cut");
    same_metrics("whole", "cut");
}
END_TEST

START_TEST(a_full_disk_is_74_and_leaves_the_earlier_checkpoint)
{
    train("whole", "");
    expect("cut", finish(start("cut", "save_begin:2", 1, 0, "")), 1000 + SIGKILL);
    expect("cut", finish(start("cut", NULL, 1, 20000, "")), QP_IO); /* state.h5 has more */
    no_temporaries("cut");
    train("cut", "");
    says("cut", "checkpoint-000002");
    same_result("whole", "cut");
}
END_TEST

/* What the log says from `words` on. */
static const char *place(const char *log, const char *words)
{
    const char *at = strstr(log, words);
    ck_assert_msg(at != NULL, "no \"%s\" in: %s", words, log);
    return at;
}

/* The save of step 2 takes half a second; steps of this model a few milliseconds. */
START_TEST(training_goes_on_while_a_checkpoint_is_written)
{
    static const char words[] = "logging_steps=1 save_steps=2 eval_steps=0";
    train("whole", words);
    expect("out", finish(start("out", "save_writes:1", 1, 0, words)), QP_OK);
    char *log = log_of("out");
    const char *saved = place(log, "save checkpoint-000002");
    ck_assert(place(log, "step 3/8") < saved);
    ck_assert(place(log, "step 4/8") < saved); /* whose own save waits */
    ck_assert(place(log, "step 5/8") > saved);
    free(log);
    same_result("whole", "out");
    no_temporaries("out");
}
END_TEST

static double waited(const char *log, const char *save)
{
    return strtod(place(place(log, save), "waited ") + strlen("waited "), NULL);
}

/* What was saved of step 2 must not have step 3's update in it: gone on with, it gives the same. */
START_TEST(an_update_waits_until_a_checkpoint_has_read_what_it_changes)
{
    static const char words[] = "logging_steps=1 save_steps=2 eval_steps=0 save_total_limit=9";
    static const char *const later[] = { "out/checkpoint-000004", "out/checkpoint-000006",
                                         "out/checkpoint-000008", "out/final" };
    train("whole", words);
    expect("out", finish(start("out", "save_reads:1", 1, 0, words)), QP_OK);
    char *log = log_of("out");
    ck_assert_double_ge(waited(log, "save checkpoint-000002"), 0.3);
    free(log);
    for (int i = 0; i < 4; i++) forget(later[i]);
    train("out", words);
    says("out", "checkpoint-000002");
    same_result("whole", "out");
}
END_TEST

static int64_t count_events(const qp_value *events, const char *name, const char *category)
{
    int64_t n = 0;
    for (const qp_value *e = events->child; e; e = e->next) {
        const qp_value *cat = qp_json_get(e, "cat");
        n += cat && !strcmp(cat->str, category) && !strcmp(qp_json_get(e, "name")->str, name);
    }
    return n;
}

/* Three steps of three micro-batches; two layers of seven linears. */
START_TEST(a_profiled_run_ends_in_the_same_bytes_and_shows_three_of_its_steps)
{
    static const char words[] = "dtype=f32 eval_steps=3 save_steps=2";
    qp_buf text = { 0 };
    qp_value *root;
    char *path = qp_xformat("%s/out/profile.txt", dir),
         *more = qp_xformat("%s profile=true", words);
    train("whole", words);
    train("out", more);
    same_result("whole", "out");
    says("out", "profile of 8 steps");
    ck_assert(!qp_file_read(path, &text, &err));
    place(text.data, "GFLOP/s");
    free(path);
    path = qp_xformat("%s/out/trace.json", dir);
    ck_assert_msg(!qp_json_load(&root, path, &err), "%s", err.msg);
    const qp_value *events = qp_json_get(root, "traceEvents");
    ck_assert_int_eq(count_events(events, "optimizer", "phase"), 3);
    ck_assert_int_eq(count_events(events, "data", "phase"), 3);
    ck_assert_int_eq(count_events(events, "forward", "phase"), 9);
    ck_assert_int_eq(count_events(events, "backward", "phase"), 9);
    ck_assert_int_eq(count_events(events, "evaluation", "phase"), 1);
    ck_assert_int_ge(count_events(events, "checkpoint", "phase"), 1);
    ck_assert_int_eq(count_events(events, "linear", "forward"), 9 * 2 * 7);
    ck_assert_int_eq(count_events(events, "linear", "backward"), 9 * 2 * 7);
    ck_assert_int_eq(count_events(events, "optimizer", "forward"), 3);
    qp_json_free(root);
    qp_buf_release(&text);
    free(path);
    free(more);
}
END_TEST

START_TEST(a_second_process_on_the_folder_is_refused)
{
    char *out = qp_path_join(dir, "out"), *lock = qp_path_join(out, ".lock");
    ck_assert(!qp_mkdirs(out, &err));
    int fd = open(lock, O_RDWR | O_CREAT, 0644);
    ck_assert_int_eq(flock(fd, LOCK_EX), 0);
    expect("out", finish(start("out", NULL, 1, 0, "")), QP_FAIL);
    says("out", "in use by");
    close(fd);
    train("out", "");
    free(out);
    free(lock);
}
END_TEST

/* A product for bf16 that could serve here but does not; NULL: there is one only. */
static const char *other_product(void)
{
    const qp_product *p[QP_CANDIDATES];
    int n = qp_product_candidates(QP_BF16, p);
    for (int i = 0; i < n; i++)
        if (p[i] != qp_product_for(QP_BF16) && p[i] != &qp_amx_emulated && !qp_product_fault(p[i]))
            return p[i]->name;
    return NULL;
}

START_TEST(other_kernels_are_warned_of)
{
    const char *variable = _i ? "QP_PRODUCT" : "QP_ISA";
    const char *value = _i ? other_product() : qp_cpu_build(1) ? "base" : NULL;
    if (!value) return; /* on this machine all is as it was */
    expect("cut", finish(start("cut", "save_linked:1", 1, 0, "dtype=bf16 save_steps=1")),
           1000 + SIGKILL);
    setenv(variable, value, 1);
    train("cut", "dtype=bf16 save_steps=1");
    unsetenv(variable);
    says("cut", "was made by kernels");
}
END_TEST

/* Without a word of warning: the numbers are those of a run that never stopped. */
START_TEST(a_run_goes_on_with_the_product_that_it_began_with)
{
    const char *other = other_product();
    if (!other) return;
    setenv("QP_PRODUCT", other, 1);
    train("whole", "dtype=bf16");
    expect("cut", finish(start("cut", "save_linked:1", 1, 0, "dtype=bf16")), 1000 + SIGKILL);
    unsetenv("QP_PRODUCT");
    train("cut", "dtype=bf16");
    same_result("whole", "cut");
    char *log = log_of("cut");
    ck_assert_msg(!strstr(log, "was made by kernels") && strstr(log, other), "%s", log);
    free(log);
}
END_TEST

START_TEST(a_fresh_start_in_a_used_folder_is_refused)
{
    train("out", "max_steps=2");
    expect("out", finish(start("out", NULL, 1, 0, "max_steps=2 resume_from_checkpoint=none")),
           QP_USAGE);
    says("out", "is there already");
}
END_TEST

START_TEST(what_is_no_number_stops_the_run_before_the_update)
{
    train("whole", "");
    expect("cut", finish(start("cut", "nan_loss:8", 1, 0, "")), QP_FAIL); /* the second of step 3 */
    says("cut", "step 3: loss is nan in micro-batch 1 of epoch 1's position 0");
    says("cut", "plus");
    expect("cut", finish(start("cut", "inf_gradient:2", 1, 0, "")), QP_FAIL); /* from step 2 on */
    says("cut", "step 4: gradient norm is inf");
    train("cut", "");
    same_result("whole", "cut");
    same_metrics("whole", "cut");
}
END_TEST

START_TEST(a_step_that_is_no_number_can_be_skipped)
{
    expect("out", finish(start("out", "nan_loss:8", 1, 0, "on_nonfinite=skip")), QP_OK);
    says("out", "step 3: loss is nan");
    says("out", "step 8/8");
}
END_TEST

START_TEST(a_run_records_what_made_it)
{
    static const char *const words[] = { "\"base_sha256\"", "\"data_sha256\"", "\"binary_sha256\"",
                                         "\"quipu\"",       "\"compiler\"",    "\"openblas\"",
                                         "\"onednn\"",      "\"kernels\"",     "\"seed\": 42" };
    train("whole", "");
    qp_buf text = { 0 };
    char *path = qp_xformat("%s/whole/run.json", dir);
    ck_assert(!qp_file_read(path, &text, &err));
    qp_buf_char(&text, '\0');
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        ck_assert_msg(strstr(text.data, words[i]) != NULL, "no %s in %s", words[i], text.data);
    qp_buf_release(&text);
    free(path);
}
END_TEST

START_TEST(the_resolved_configuration_repeats_the_run)
{
    train("one", "");
    char *yaml = qp_xformat("%s/one/config.yaml", dir), *to = qp_xformat("%s/run.yaml", dir);
    qp_buf text = { 0 };
    ck_assert(!qp_file_read(yaml, &text, &err) && !qp_file_write(to, text.data, text.len, &err));
    train("two", "");
    same_result("one", "two");
    qp_buf_release(&text);
    free(yaml);
    free(to);
}
END_TEST

START_TEST(patience_ends_a_run_that_gets_no_better)
{
    train("out", "learning_rate=0 eval_steps=1 early_stopping_patience=2 save_steps=0");
    says("out", "eval step 3");
    char *all = metrics("out");
    ck_assert_ptr_null(strstr(all, "\n-1 4 "));
    free(all);
    train("out", "learning_rate=0 eval_steps=1 early_stopping_patience=2 save_steps=0");
    says("out", "finished, at step 3");
}
END_TEST

Suite *suite_resume(void)
{
    Suite *s = suite_create("resume");
    TCase *t = tcase_create("runs");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_loop_test(t, killed_at_every_fault_point_it_ends_in_the_same_bytes, 0, KINDS);
    tcase_add_loop_test(t, killed_at_random_moments_it_ends_in_the_same_bytes, 0, KINDS);
    tcase_add_loop_test(t, one_thread_and_two_give_the_same_bytes, 0, KINDS);
    tcase_add_loop_test(t, recompute_and_logging_change_no_byte, 0, KINDS);
    tcase_add_test(t, a_signal_saves_and_leaves_with_75);
    tcase_add_test(t, two_signals_at_once_are_one);
    tcase_add_test(t, a_signal_in_the_last_evaluation_leaves_it_to_the_next_session);
    tcase_add_test(t, a_finished_run_says_so_and_changes_nothing);
    tcase_add_test(t, other_settings_in_a_used_folder_are_refused_by_name);
    tcase_add_test(t, a_constant_rate_lets_a_run_be_made_longer);
    tcase_add_test(t, a_corrupt_newest_checkpoint_is_reported_and_the_one_before_used);
    tcase_add_test(t, a_full_disk_is_74_and_leaves_the_earlier_checkpoint);
    tcase_add_test(t, training_goes_on_while_a_checkpoint_is_written);
    tcase_add_test(t, an_update_waits_until_a_checkpoint_has_read_what_it_changes);
    tcase_add_test(t, a_profiled_run_ends_in_the_same_bytes_and_shows_three_of_its_steps);
    tcase_add_test(t, a_second_process_on_the_folder_is_refused);
    tcase_add_loop_test(t, other_kernels_are_warned_of, 0, 2);
    tcase_add_test(t, a_run_goes_on_with_the_product_that_it_began_with);
    tcase_add_test(t, a_fresh_start_in_a_used_folder_is_refused);
    tcase_add_test(t, what_is_no_number_stops_the_run_before_the_update);
    tcase_add_test(t, a_step_that_is_no_number_can_be_skipped);
    tcase_add_test(t, a_run_records_what_made_it);
    tcase_add_test(t, the_resolved_configuration_repeats_the_run);
    tcase_add_test(t, patience_ends_a_run_that_gets_no_better);
    suite_add_tcase(s, t);
    return s;
}
