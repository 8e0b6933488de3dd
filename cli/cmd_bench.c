/* What the products that this CPU may use reach of the machine's limits, and with --tune, which of
   them are to be tried first from now on. Each is measured in a process of its own: the choice is
   made once a process, OpenMP's threads do not survive a fork, and one that dies has only failed.
 */
#include "autograd/backend.h"
#include "autograd/cpu/product.h"
#include "autograd/cpu/quant.h"
#include "autograd/cpu/tuned.h"
#include "autograd/work.h"
#include "base/json.h"
#include "base/thread.h"
#include "cli/args.h"
#include "cli/cmd.h"
#include "train/usage.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SHAPES = 16, NT = 0, NN, TN, KINDS };
static const char *const kinds[KINDS] = { "x w^T", "dy w", "dy^T x" };
static const qp_storage types[] = { QP_BF16, QP_F32 }; /* f64 is for checks, not for speed */
enum { TYPES = 2 };

typedef struct {
    int64_t n, m, k; /* x (n, k), w (m, k), dy (n, m) */
} shape;

/* A square for the limit, products of a 1B model, of 135M and 15M, and a token alone. */
static const shape usual[] = { { 2048, 2048, 2048 }, { 512, 4096, 2048 }, { 512, 2048, 4096 },
                               { 2048, 1536, 576 },  { 4096, 768, 288 },  { 1, 4096, 2048 } };

typedef struct {
    shape shape[SHAPES];
    int shapes;
    double seconds; /* for each figure */
    int64_t threads;
} plan;

/* What a child finds out, as it comes through the pipe. */
typedef struct {
    char name[80], fault[80]; /* no name: there are no more candidates */
    double flops[SHAPES][KINDS];
    double bandwidth;
} finding;

typedef struct {
    const plan *p;
    qp_storage type;
    int candidate;
} question;

/* Numbers that are no zeros: multiplying zeros draws less power, so the clock may rise. */
static void *values(qp_storage s, int64_t n)
{
    void *m = qp_xaligned(64, qp_storage_bytes(s, n));
    for (int64_t i = 0; i < n; i++) {
        float v = ((float)(i * 37 % 16) - 7.5f) / 8;
        if (s == QP_F32) ((float *)m)[i] = v;
        if (s == QP_BF16) ((uint16_t *)m)[i] = qp_to_bf16(v);
    }
    return m;
}

typedef struct {
    const qp_kernels *k;
    qp_storage type;
    shape s;
    void *x, *dy, *sums, *work;
    qp_tensor w;
} operands;

static void multiply(const operands *o, int kind)
{
    const shape *s = &o->s;
    if (kind == NT)
        o->k->matmul_nt(o->dy, o->type, 0, 1, o->x, &o->w, 0, s->n, s->m, s->k, o->work);
    else if (kind == NN)
        o->k->matmul_nn(o->x, o->type, 0, 1, o->dy, &o->w, 0, s->n, s->m, s->k, o->work);
    else
        o->k->matmul_tn(o->sums, 0, 1, o->dy, o->x, s->n, s->m, s->k, o->work);
}

/* FLOP/s of the fastest call; the first only touches the memory. */
static double rate(const operands *o, int kind, double seconds)
{
    double best = INFINITY, until = qp_now() + seconds;
    multiply(o, kind);
    do {
        double start = qp_now();
        multiply(o, kind);
        best = fmin(best, qp_now() - start);
    } while (qp_now() < until);
    return 2 * (double)o->s.n * (double)o->s.m * (double)o->s.k / best;
}

static void measure(const question *q, finding *f)
{
    const qp_product *candidate[QP_CANDIDATES];
    if (q->candidate >= qp_product_candidates(q->type, candidate)) return;
    const qp_product *p = candidate[q->candidate];
    const char *fault = qp_product_fault(p);
    snprintf(f->name, sizeof f->name, "%s", p->name);
    snprintf(f->fault, sizeof f->fault, "%s", fault ? fault : "");
    if (fault) return;
    unsetenv("QP_PRODUCT");
    qp_cpu_prefer(q->type, p->name);
    for (int i = 0; i < q->p->shapes; i++) {
        const shape s = q->p->shape[i];
        operands o = { qp_cpu_backend()->k[q->type], q->type, s, .work = NULL };
        o.x = values(q->type, s.n * s.k);
        o.dy = values(q->type, s.n * s.m);
        o.sums = values(QP_F32, s.m * s.k);
        o.work = qp_xaligned(64, qp_matmul_work());
        o.w = (qp_tensor){
            .storage = q->type, .ndim = 2, .shape = { s.m, s.k }, .data = values(q->type, s.m * s.k)
        };
        for (int kind = 0; kind < (s.n > 1 ? KINDS : 1); kind++) /* one row is never trained on */
            f->flops[i][kind] = rate(&o, kind, q->p->seconds);
        free(o.x), free(o.dy), free(o.sums), free(o.work), free(o.w.data);
    }
}

/* What serves now, and the rate at which all threads read memory that no cache holds. */
static void survey(const question *q, finding *f)
{
    enum { READ = 1 << 26 };
    snprintf(f->name, sizeof f->name, "%s", qp_product_for(q->type)->name);
    if (q->type != types[0]) return;
    double best = INFINITY, sum, until = qp_now() + 4 * q->p->seconds;
    float *x = values(QP_F32, READ);
    void *work = qp_xaligned(64, qp_sumsq_work(READ));
    do {
        double start = qp_now();
        qp_cpu_backend()->k[QP_F32]->sumsq(&sum, work, x, READ);
        best = fmin(best, qp_now() - start);
    } while (qp_now() < until);
    f->bandwidth = READ * sizeof *x / best;
    free(x), free(work);
}

/* Has fn answer in a fresh process. False: it died, and f->fault says of what. */
static bool ask(void (*fn)(const question *, finding *), const question *q, finding *f)
{
    int out[2], status = 0;
    *f = (finding){ .fault = "no process could be started" };
    fflush(NULL);
    if (pipe(out)) return false;
    const pid_t pid = fork();
    if (pid == 0) {
        finding found = { .bandwidth = 0 };
        close(out[0]);
        qp_cpu_threads((int)q->p->threads);
        fn(q, &found);
        _exit(write(out[1], &found, sizeof found) == sizeof found ? 0 : 1);
    }
    close(out[1]);
    finding found;
    bool whole = pid > 0 && read(out[0], &found, sizeof found) == sizeof found;
    close(out[0]);
    if (pid > 0) waitpid(pid, &status, 0);
    if (whole) *f = found;
    if (!whole && WIFSIGNALED(status))
        snprintf(f->fault, sizeof f->fault, "died of signal %d", WTERMSIG(status));
    else if (!whole && pid > 0)
        snprintf(f->fault, sizeof f->fault, "ended with code %d", WEXITSTATUS(status));
    return whole;
}

typedef struct {
    finding product[QP_CANDIDATES];
    char serves[80];
    int n, fastest; /* fastest: -1 if none is sound */
    double limit;   /* FLOP/s: the best figure of all */
} table;

/* The mean over everything measured that counts each ratio alike. */
static double mean(const finding *f)
{
    double sum = 0;
    int n = 0;
    for (int i = 0; i < SHAPES; i++)
        for (int k = 0; k < KINDS; k++)
            if (f->flops[i][k] > 0) sum += log(f->flops[i][k]), n++;
    return n ? exp(sum / n) : 0;
}

/* Another than the first has to be faster than such measurements differ from themselves. */
static void judge(table *t)
{
    const double noise = 1.03;
    t->fastest = -1;
    for (int i = 0; i < t->n; i++) {
        const finding *f = &t->product[i];
        if (!*f->fault && (t->fastest < 0 || mean(f) > noise * mean(&t->product[t->fastest])))
            t->fastest = i;
        for (int s = 0; s < SHAPES; s++)
            for (int k = 0; k < KINDS; k++) t->limit = fmax(t->limit, f->flops[s][k]);
    }
}

/* bandwidth: only with the first type, else untouched. */
static qp_status fill(table *t, const plan *p, qp_storage type, double *bandwidth, qp_err *err)
{
    finding f;
    question q = { p, type, 0 };
    if (!ask(survey, &q, &f))
        return qp_fail(err, QP_FAIL, "%s: %s", qp_storages[type].name, f.fault);
    memcpy(t->serves, f.name, sizeof t->serves);
    if (f.bandwidth > 0) *bandwidth = f.bandwidth;
    for (; q.candidate < QP_CANDIDATES; q.candidate++) {
        bool answered = ask(measure, &q, &f);
        if (answered && !*f.name) break;
        if (!answered) snprintf(f.name, sizeof f.name, "candidate %d", q.candidate + 1);
        t->product[t->n++] = f;
    }
    judge(t);
    return QP_OK;
}

static void print_text(const plan *p, const table *all, double bandwidth)
{
    char *cpu = qp_proc_value("/proc/cpuinfo", "model name");
    printf("%-7s %s\n%-7s %.1f GB/s read\n", "cpu", cpu, "memory", bandwidth / 1e9);
    for (int t = 0; t < TYPES; t++)
        printf("%-7s %.0f GFLOP/s at best; products by %s\n", qp_storages[types[t]].name,
               all[t].limit / 1e9, all[t].serves);
    printf("\n%-6s%-36s%-20s", "", "product", "rows x out x in");
    for (int k = 0; k < KINDS; k++) printf("%12s", kinds[k]);
    printf("  GFLOP/s, share of the best\n");
    for (int t = 0; t < TYPES; t++)
        for (int i = 0; i < all[t].n; i++) {
            const finding *f = &all[t].product[i];
            if (*f->fault)
                printf("%-6s%-36snot used: %s\n", qp_storages[types[t]].name, f->name, f->fault);
            for (int s = 0; s < p->shapes && !*f->fault; s++) {
                char size[64];
                snprintf(size, sizeof size, "%lld x %lld x %lld", (long long)p->shape[s].n,
                         (long long)p->shape[s].m, (long long)p->shape[s].k);
                printf("%-6s%-36s%-20s", s ? "" : qp_storages[types[t]].name, s ? "" : f->name,
                       size);
                for (int k = 0; k < KINDS && f->flops[s][k] > 0; k++)
                    printf("%7.0f %3.0f%%", f->flops[s][k] / 1e9,
                           100 * f->flops[s][k] / all[t].limit);
                printf("\n");
            }
        }
    free(cpu);
}

static void json_text(qp_json_writer *w, const char *key, const char *value)
{
    qp_json_key(w, key);
    if (value && *value)
        qp_json_cstring(w, value);
    else
        qp_json_null(w);
}

static void json_number(qp_json_writer *w, const char *key, double value)
{
    qp_json_key(w, key);
    qp_json_double(w, value);
}

static void json_product(qp_json_writer *w, const plan *p, qp_storage type, const finding *f)
{
    static const char *const keys[KINDS] = { "nt", "nn", "tn" };
    qp_json_open_object(w);
    json_text(w, "type", qp_storages[type].name);
    json_text(w, "product", f->name);
    json_text(w, "fault", f->fault);
    json_number(w, "mean_flops", mean(f));
    qp_json_key(w, "shapes");
    qp_json_open_array(w);
    for (int s = 0; s < p->shapes && !*f->fault; s++) {
        qp_json_open_object(w);
        json_number(w, "rows", (double)p->shape[s].n);
        json_number(w, "out", (double)p->shape[s].m);
        json_number(w, "in", (double)p->shape[s].k);
        for (int k = 0; k < KINDS && f->flops[s][k] > 0; k++)
            json_number(w, keys[k], f->flops[s][k]);
        qp_json_close_object(w);
    }
    qp_json_close_array(w);
    qp_json_close_object(w);
}

static void print_json(const plan *p, const table *all, double bandwidth, const char *written)
{
    qp_buf out = { 0 };
    qp_json_writer w = { .out = &out, .indent = 2 };
    qp_json_open_object(&w);
    json_number(&w, "memory_bytes_per_s", bandwidth);
    for (int t = 0; t < TYPES; t++) {
        qp_json_key(&w, qp_storages[types[t]].name);
        qp_json_open_object(&w);
        json_number(&w, "limit_flops", all[t].limit);
        json_text(&w, "serves", all[t].serves);
        json_text(&w, "fastest", all[t].fastest < 0 ? NULL : all[t].product[all[t].fastest].name);
        qp_json_close_object(&w);
    }
    qp_json_key(&w, "products");
    qp_json_open_array(&w);
    for (int t = 0; t < TYPES; t++)
        for (int i = 0; i < all[t].n; i++) json_product(&w, p, types[t], &all[t].product[i]);
    qp_json_close_array(&w);
    json_text(&w, "written", written);
    qp_json_close_object(&w);
    puts(out.data);
    qp_buf_release(&out);
}

static qp_status read_shapes(plan *p, const qp_list *given, qp_err *err)
{
    enum { MOST = 1 << 18 };
    p->shapes = given->n ? given->n : (int)(sizeof usual / sizeof *usual);
    if (p->shapes > SHAPES)
        return qp_fail(err, QP_USAGE, "--shape: %d of them, at most %d", p->shapes, SHAPES);
    for (int i = 0; i < p->shapes; i++) {
        shape *s = &p->shape[i];
        char rest;
        if (!given->n)
            *s = usual[i];
        else if (sscanf(given->item[i], "%ldx%ldx%ld%c", &s->n, &s->m, &s->k, &rest) != 3 ||
                 s->n < 1 || s->m < 1 || s->k < 1 || s->n > MOST || s->m > MOST || s->k > MOST)
            return qp_fail(err, QP_USAGE, "--shape %s: not ROWSxOUTxIN, each from 1 to %d",
                           given->item[i], MOST);
    }
    return QP_OK;
}

static qp_status write_choice(const table *all, qp_err *err)
{
    const char *name[QP_NCOMPUTE] = { NULL };
    for (int t = 0; t < TYPES; t++)
        if (all[t].fastest >= 0) name[types[t]] = all[t].product[all[t].fastest].name;
    return qp_tuned_write(name, err);
}

static qp_status bench(const plan *p, bool tune, bool json, qp_err *err)
{
    table *all = qp_xcalloc(TYPES, sizeof *all);
    double bandwidth = 0;
    char *path = tune ? qp_tuned_path() : NULL;
    qp_status rc = QP_OK;
    if (tune && !path)
        rc = qp_fail(err, QP_USAGE, "neither XDG_CACHE_HOME nor HOME names a folder");
    for (int t = 0; t < TYPES && !rc; t++) rc = fill(&all[t], p, types[t], &bandwidth, err);
    if (!rc && !json) print_text(p, all, bandwidth);
    if (!rc && tune) rc = write_choice(all, err);
    if (!rc && json) print_json(p, all, bandwidth, path);
    for (int t = 0; t < TYPES && !rc && tune && !json; t++)
        printf("%sfrom now on %s by %s\n", t ? "" : "\n", qp_storages[types[t]].name,
               all[t].fastest < 0 ? "what passes its test" : all[t].product[all[t].fastest].name);
    if (!rc && tune && !json) printf("written to %s\n", path);
    free(path);
    free(all);
    return rc;
}

int qp_cmd_bench(int argc, char **argv)
{
    bool tune = false, json = false, done;
    plan p = { .seconds = 0.1 };
    qp_list shapes = { 0 };
    const qp_arg table_of_args[] = {
        { "tune", 0, QP_ARG_FLAG, &tune, NULL,
          "remember the fastest products for this class of CPU, in $XDG_CACHE_HOME/quipu/products "
          "or ~/.cache/quipu/products; bits of results change with the product" },
        { "shape", 0, QP_ARG_LIST, &shapes, "ROWSxOUTxIN",
          "measure these products in place of the usual ones; repeat it" },
        { "seconds", 0, QP_ARG_REAL, &p.seconds, "S", "for each figure [0.1]" },
        { "threads", 0, QP_ARG_INT, &p.threads, "N", "how many work [all CPUs]" },
        { "json", 0, QP_ARG_FLAG, &json, NULL, "one JSON document" }
    };
    const qp_usage u = { .command = "bench",
                         .summary =
                             "What every matrix product that this CPU can use reaches of the "
                             "machine's limits; half a minute.",
                         .example = "quipu bench --tune\n  quipu bench --shape 512x14336x4096",
                         .arg = table_of_args,
                         .n = sizeof table_of_args / sizeof *table_of_args };
    qp_err err = { 0 };
    qp_status rc = qp_args_parse(&u, argc, argv, &done, &err);
    if (!rc && !done) {
        rc = read_shapes(&p, &shapes, &err);
        if (!rc && !(p.seconds >= 0 && p.seconds <= 60))
            rc = qp_fail(&err, QP_USAGE, "--seconds %g: not from 0 to 60", p.seconds);
        if (!rc && (p.threads < 0 || p.threads > 4096))
            rc = qp_fail(&err, QP_USAGE, "--threads %ld: not from 1 to 4096", (long)p.threads);
        if (!rc) rc = bench(&p, tune, json, &err);
    }
    free(shapes.item);
    return qp_exit_code(u.command, rc, &err);
}
