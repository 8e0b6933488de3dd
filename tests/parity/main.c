/* usage: parity GOLDEN SHARED [group,...]: a line a group, then 'N passed, N failed'. */
#include "autograd/cpu/dispatch.h"
#include "tests/parity/parity.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *path;
    void (*check)(parity *p, const char *path);
} groups[] = {
#define GROUP(path, fn) { path, fn },
#include "tests/parity/groups.def"
#undef GROUP
};
enum { GROUPS = sizeof groups / sizeof groups[0] };

/* What the layout has and this build does not check yet, to be named instead of passed over. */
static const char *const not_built[] = {
    "training/dora",         "training/dpo",      "interop",
    "tokenizers/bpe",        "tokenizers/llama2", "tokenizers/templates/llama2.jsonl",
    "real/ppl_lm_eval.json", "real/choice"
};

typedef struct {
    const char *only;
    int passed, failed;
} tally;

/* True when the path equals the word, begins with it or ends in it, in whole components. */
static bool names(const char *word, size_t n, const char *path)
{
    for (const char *at = path; at; at = strchr(at, '/'), at = at ? at + 1 : NULL)
        if (!strncmp(at, word, n) && (at[n] == 0 || at[n] == '/' || at[n] == '.')) return true;
    return false;
}

/* `only` holds names separated by commas; one behind a minus leaves its groups out. */
static bool chosen(const char *only, const char *path)
{
    bool wanted = true, asked = false;
    for (const char *w = only; *w;) {
        size_t n = strcspn(w, ",");
        if (n > 1 && w[0] == '-') {
            if (names(w + 1, n - 1, path)) return false;
        } else if (n) {
            wanted = (asked && wanted) || names(w, n, path);
            asked = true;
        }
        w += n + (w[n] == ',');
    }
    return wanted;
}

static bool exists(const parity *p, const char *relative)
{
    char *path = parity_path(p, "%s", relative);
    bool there = qp_path_exists(path);
    free(path);
    return there;
}

/* A group's path as it stands in the folder, its ending included; false: it is absent. */
static bool resolve(const parity *p, const char *path, char *found, size_t size)
{
    static const char *const endings[] = { "", ".safetensors", ".jsonl" };
    for (int i = 0; i < 3; i++) {
        snprintf(found, size, "%s%s", path, endings[i]);
        if (exists(p, found)) return true;
    }
    return false;
}

static void run(const parity *base, tally *t, const char *path,
                void (*check)(parity *, const char *))
{
    if (!chosen(t->only, path)) return;
    parity p = *base;
    char file[300];
    p.path = resolve(base, path, file, sizeof file) ? file : path;
    check(&p, path);
    if (!p.compared) parity_fail(&p, "nothing was compared");
    bool bad = p.failure[0];
    t->passed += !bad;
    t->failed += bad;
    printf("%-34s %s  largest %.2e of %.1e (%s), %lld values%s%s\n", path,
           bad ? "FAILED" : "ok    ", p.difference, p.tolerance, p.worst, (long long)p.compared,
           p.note[0] ? "; " : "", p.note);
    if (bad) printf("    %s\n", p.failure);
    fflush(stdout);
}

typedef struct {
    tally *t;
    const char *folder; /* "models/" */
    void (*check)(parity *, const char *);
} entry;

static void run_entry(parity *p, const char *name, void *arg)
{
    entry *e = arg;
    char path[300];
    snprintf(path, sizeof path, "%s%s", e->folder, name);
    run(p, e->t, path, e->check);
}

int main(int argc, char **argv)
{
    qp_cpu_prepare(argc, argv);
    if (argc < 3) {
        fprintf(stderr, "usage: parity GOLDEN SHARED [group,...]\n");
        return QP_USAGE;
    }
    tally t = { .only = argc > 3 ? argv[3] : "" };
    parity base = { .golden = argv[1], .shared = argv[2] };
    qp_value *tolerances = parity_json(&base, "tolerances.json");
    base.tolerances = qp_json_get(tolerances, "groups");
    if (!base.tolerances) {
        fprintf(stderr, "parity: %s/tolerances.json: %s\n", argv[1],
                base.failure[0] ? base.failure : "no \"groups\"");
        return QP_BADFILE;
    }
    for (int i = 0; i < GROUPS; i++) {
        const char *path = groups[i].path;
        char file[300];
        size_t len = strlen(path);
        if (path[len - 1] ==
            '/') { /* every entry; greedy continuations lie beside the model cases */
            const char *folder = !strcmp(path, "greedy/") ? "model_cases/" : path;
            entry e = { &t, path, groups[i].check };
            if (exists(&base, folder)) parity_each(&base, folder, "", run_entry, &e);
        } else if (resolve(&base, path, file, sizeof file)) {
            run(&base, &t, path, groups[i].check);
        } else if (chosen(t.only, path)) {
            printf("%-34s absent from this folder\n", path);
        }
    }
    for (size_t i = 0; i < sizeof not_built / sizeof not_built[0]; i++)
        if (chosen(t.only, not_built[i]) && exists(&base, not_built[i]))
            printf("%-34s not built yet\n", not_built[i]);
    qp_json_free(tolerances);
    if (!t.passed && !t.failed) {
        printf("no group of %s matches '%s'\n", argv[1], t.only);
        t.failed = 1;
    }
    printf("%d passed, %d failed\n", t.passed, t.failed);
    return t.failed ? QP_FAIL : QP_OK;
}
