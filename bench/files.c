/* The 1B shape in bf16 on disk: saving and loading it, and what `quipu train` does with the folder:
   how soon the first step is done, how long a checkpoint holds up the training. */
#include "bench/bench.h"
#include "base/thread.h"
#include "base/zio.h"
#include "bench/models.h"
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
    char dir[400]; /* $TMPDIR/quipu-files.XXXXXX: the model, then run/ */
} folder;

static void make_folder(folder *f)
{
    const char *tmp = getenv("TMPDIR");
    qp_err err = { 0 };
    snprintf(f->dir, sizeof f->dir, "%s/quipu-files.XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(f->dir)) bench_check(qp_fail(&err, QP_IO, "%s: cannot be made", f->dir), &err);
}

static void remove_folder(const folder *f)
{
    qp_err err = { 0 };
    if (qp_remove_tree(f->dir, &err)) fprintf(stderr, "bench: %s\n", err.msg);
}

/* Saving, which includes the way to the disk, beside a plain write of as many bytes. */
enum { BYTES, SECONDS, PLAIN_SECONDS };
static void save(const void *arg, double *value)
{
    const folder *f = arg;
    char path[500];
    qp_err err = { 0 };
    qp_buf file = { 0 };
    qp_model *m =
        bench_model(&(bench_model_options){ .name = "1b", .compute = QP_BF16, .stored = QP_BF16 });
    double start = qp_now();
    bench_check(qp_model_save(m, f->dir, QP_BF16, &err), &err);
    value[SECONDS] = qp_now() - start;
    qp_model_free(m);
    snprintf(path, sizeof path, "%s/model.safetensors", f->dir);
    bench_check(qp_file_read(path, &file, &err), &err);
    value[BYTES] = (double)file.len;
    snprintf(path, sizeof path, "%s/plain", f->dir);
    start = qp_now();
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    for (size_t done = 0; done < file.len;) {
        const ssize_t n = write(fd, file.data + done, file.len - done);
        if (n <= 0) bench_check(qp_fail(&err, QP_IO, "%s: cannot be written", path), &err);
        done += (size_t)n;
    }
    fsync(fd);
    close(fd);
    value[PLAIN_SECONDS] = qp_now() - start;
    unlink(path);
}

/* Opening and sealing, and the same with every byte of the file read once. */
enum { OPEN_SECONDS = 1, READ_SECONDS };
static void load(const void *arg, double *value)
{
    const folder *f = arg;
    const qp_model_options o = { .compute = QP_BF16, .load_in = QP_BF16 };
    qp_err err = { 0 };
    qp_model *m;
    const double start = qp_now();
    bench_check(qp_model_open(&m, f->dir, &o, &err), &err);
    bench_check(qp_model_seal(m, &err), &err);
    value[OPEN_SECONDS] = qp_now() - start;
    bench_check(qp_model_check_finite(m, &err), &err);
    value[READ_SECONDS] = qp_now() - start;
    value[BYTES] = (double)qp_model_weight_bytes(m);
}

/* One run of the program; stamp[i] is when step i + 1's line came, seconds after the start, and
 *waited the longest time that a save line admits. */
static int train(const folder *f, int rows, int steps, const char *save_steps, double *stamp,
                 double *waited)
{
    char exe[500], base[500], data[500], out[500], length[40], count[40], line[1000];
    int pipes[2], seen = 0, status;
    const ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 20);
    exe[n > 0 ? n : 0] = '\0';
    char *name = strrchr(exe, '/');
    if (!name) return perror("/proc/self/exe"), 1;
    strcpy(name, "/../quipu");
    snprintf(base, sizeof base, "base_model=%s", f->dir);
    snprintf(data, sizeof data, "%s/text.txt", f->dir);
    snprintf(out, sizeof out, "output_dir=%s/run%d", f->dir, rows);
    snprintf(length, sizeof length, "sequence_len=%d", rows);
    snprintf(count, sizeof count, "max_steps=%d", steps);
    if (pipe(pipes)) return 1;
    const double start = qp_now();
    const pid_t pid = fork();
    if (pid == 0) {
        dup2(pipes[1], STDOUT_FILENO);
        close(pipes[0]);
        close(pipes[1]);
        execl(exe, "quipu", "train", "--data", data, base, out, length, count, save_steps,
              "tokenizer=bytes", "adapter=lora", "chat_template=none", "micro_batch_size=1",
              "gradient_accumulation_steps=1", "logging_steps=1", "eval_steps=1000000",
              "val_set_size=0", "excess_length_strategy=truncate", (char *)NULL);
        perror(exe);
        _exit(127);
    }
    close(pipes[1]);
    FILE *in = fdopen(pipes[0], "r");
    while (fgets(line, sizeof line, in)) {
        const char *wait = strstr(line, "training waited ");
        int step;
        if (!strncmp(line, "step ", 5) && seen < steps) stamp[seen++] = qp_now() - start;
        if (wait && sscanf(line, "save checkpoint-%d", &step) == 1 && step < steps)
            *waited = fmax(*waited, atof(wait + strlen("training waited ")));
    }
    fclose(in);
    waitpid(pid, &status, 0);
    if (seen == steps && WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
    fprintf(stderr, "bench: quipu train ended after %d of %d steps\n", seen, steps);
    return 1;
}

enum { FEW_ROWS = 32, ROWS = 512, STEPS = 7 };
static int write_text(const folder *f)
{
    char path[500];
    snprintf(path, sizeof path, "%s/text.txt", f->dir);
    FILE *text = fopen(path, "w");
    if (!text) return perror(path), 1;
    for (int i = 0; i < 2 * ROWS * STEPS; i++) fputc(i % 7 ? 'a' + i % 26 : ' ', text);
    return fclose(text);
}

/* With a step of few tokens, so that the step itself is a small part of the time. */
static int start_row(const folder *f)
{
    double stamp[1], waited = 0;
    if (train(f, FEW_ROWS, 1, "save_steps=1000000", stamp, &waited)) return 1;
    bench_print("seconds", stamp[0]);
    return 0;
}

/* Every other step is followed by a save: how long the loop says it waited, and by how much a step
   beside a save takes longer. */
static int checkpoint_row(const folder *f)
{
    double stamp[STEPS], with[STEPS], without[STEPS], waited = 0;
    int n[2] = { 0, 0 };
    if (train(f, ROWS, STEPS, "save_steps=2", stamp, &waited)) return 1;
    for (int i = 1; i < STEPS; i++) { /* step i + 1 runs beside a save when i is even */
        if (i % 2 == 0)
            with[n[0]++] = stamp[i] - stamp[i - 1];
        else
            without[n[1]++] = stamp[i] - stamp[i - 1];
    }
    bench_print("seconds", waited);
    bench_print("longer_seconds", bench_median(with, n[0]) - bench_median(without, n[1]));
    return 0;
}

static int save_row(const folder *f)
{
    bench_result r;
    if (!bench_child(save, f, &r)) return 1;
    bench_print("seconds", r.value[SECONDS]);
    bench_print("bytes_per_s", r.value[BYTES] / r.value[SECONDS]);
    bench_print("plain_bytes_per_s", r.value[BYTES] / r.value[PLAIN_SECONDS]);
    return 0;
}

static int load_row(const folder *f)
{
    bench_result r;
    if (!bench_child(load, f, &r)) return 1;
    bench_print("seconds", r.value[OPEN_SECONDS]);
    bench_print("bytes_per_s", r.value[BYTES] / r.value[READ_SECONDS]);
    return 0;
}

static const struct {
    const char *name, *what;
    int (*run)(const folder *f);
} table[] = {
    { "save-1b", "saving 2.3 GiB, to the disk", save_row },
    { "load-1b", "opening it; reading every weight once", load_row },
    { "start-1b", "quipu train: until the first step of 32 tokens is done", start_row },
    { "checkpoint-1b", "a LoRA checkpoint: the training waits; its step takes longer by",
      checkpoint_row },
};
enum { ROWS_N = sizeof table / sizeof *table };

static int with_folder(const char *only)
{
    folder f;
    bench_result r;
    int failed = 0;
    make_folder(&f);
    if (write_text(&f)) failed = 1;
    if (only && strcmp(only, "save-1b")) failed |= !bench_child(save, &f, &r);
    for (int i = 0; i < ROWS_N && !failed; i++) {
        if (only && strcmp(only, table[i].name)) continue;
        if (!only) printf("%s: %s\n", table[i].name, table[i].what);
        failed |= table[i].run(&f);
        fflush(stdout);
    }
    remove_folder(&f);
    return failed;
}

int bench_files_row(const char *name)
{
    for (int i = 0; i < ROWS_N; i++)
        if (!strcmp(name, table[i].name)) return with_folder(name);
    return BENCH_OTHER;
}

int bench_files(void) { return with_folder(NULL); }
