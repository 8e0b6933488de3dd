#include "train/sources.h"
#include "base/zio.h"
#include "data/corpus.h"
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

static char *copy(const char *s) { return s ? qp_xstrdup(s) : NULL; }

/* d with another path; what d holds is copied. */
static qp_dataset dataset_copy(const qp_dataset *d, const char *path)
{
    qp_dataset to = *d;
#define COPY_TEXT(name) to.name = copy(d->name);
#define COPY_CHOICE COPY_TEXT
#define COPY_REAL(name)
#define COPY_LIST(name)                                                                            \
    to.name.v = qp_xcalloc((size_t)d->name.n + 1, sizeof *to.name.v);                              \
    for (int i = 0; i < d->name.n; i++) to.name.v[i] = copy(d->name.v[i]);
#define SRC(kind, name, ...) COPY_##kind(name)
#include "train/options.def"
    free(to.path);
    to.path = qp_xstrdup(path);
    return to;
}

static void dataset_release(qp_dataset *d)
{
#define FREE_TEXT(name) free(d->name);
#define FREE_CHOICE FREE_TEXT
#define FREE_REAL(name)
#define FREE_LIST(name)                                                                            \
    for (int i = 0; i < d->name.n; i++) free(d->name.v[i]);                                        \
    free(d->name.v);
#define SRC(kind, name, ...) FREE_##kind(name)
#include "train/options.def"
}

static void add(qp_field_SOURCES *s, qp_dataset d)
{
    s->v = qp_xrealloc(s->v, (size_t)s->n + 1, sizeof *s->v);
    s->v[s->n++] = d;
}

static int ends_in_txt(const struct dirent *e)
{
    size_t n = strlen(e->d_name);
    return n > 4 && !strcmp(e->d_name + n - 4, ".txt");
}

/* Every .txt of the folder, in the order of their names; how many. */
static int add_texts(const qp_dataset *d, qp_field_SOURCES *out)
{
    struct dirent **entry = NULL;
    int n = scandir(d->path, &entry, ends_in_txt, alphasort);
    for (int i = 0; i < n; i++) {
        char *path = qp_path_join(d->path, entry[i]->d_name);
        add(out, dataset_copy(d, path));
        free(path);
        free(entry[i]);
    }
    free(entry);
    return n;
}

/* The file or files that folder d stands for. */
static qp_status expand_folder(const qp_dataset *d, const char *split, qp_field_SOURCES *out,
                               qp_err *err)
{
    char *file = NULL;
    qp_err why = { 0 };
    qp_status rc = qp_source_resolve(d->path, split, &file, &why);
    bool train = !strcmp(split, "train");
    if (!rc && file) {
        add(out, dataset_copy(d, file));
    } else if (train && add_texts(d, out) > 0) {
        rc = QP_OK;
    } else {
        rc = qp_fail(err, QP_USAGE, "%s: a folder without %s.jsonl%s", d->path, split,
                     train ? " or a .txt file" : "");
    }
    free(file);
    return rc;
}

static qp_status expand(qp_field_SOURCES *s, const char *split, qp_err *err)
{
    qp_field_SOURCES out = { 0 };
    qp_status rc = QP_OK;
    for (int i = 0; i < s->n; i++) {
        qp_dataset *d = &s->v[i];
        if (!rc && qp_path_is_dir(d->path)) {
            rc = expand_folder(d, split, &out, err);
            dataset_release(d);
        } else {
            add(&out, *d);
        }
    }
    free(s->v);
    *s = out;
    return rc;
}

static qp_dataset plain(const char *path)
{
    qp_dataset d = { .path = (char *)path, .type = "auto", .weight = 1, .train_on_eos = "turn" };
    qp_dataset to = dataset_copy(&d, path);
    to.roles_to_train.v[to.roles_to_train.n++] =
        qp_xstrdup("assistant"); /* dataset_copy leaves one place */
    return to;
}

qp_status qp_sources_expand(qp_options *o, qp_err *err)
{
    if (o->data) {
        if (o->datasets.n)
            return qp_fail(err, QP_USAGE, "data %s: datasets are given as well; one is wanted",
                           o->data);
        if (!qp_path_exists(o->data))
            return qp_fail(err, QP_USAGE, "data %s: no such file or folder", o->data);
        add(&o->datasets, plain(o->data));
        char *valid = NULL;
        qp_err none = { 0 };
        if (!o->test_datasets.n && !qp_source_resolve(o->data, "valid", &valid, &none) && valid)
            add(&o->test_datasets, plain(valid));
        free(valid);
        free(o->data);
        o->data = NULL;
    }
    qp_status rc = expand(&o->datasets, "train", err);
    return rc ? rc : expand(&o->test_datasets, "valid", err);
}
