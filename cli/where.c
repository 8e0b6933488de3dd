/* A model path to its parts. */
#include "base/json.h"
#include "base/zio.h"
#include "cli/open.h"
#include "train/config.h"
#include <stdlib.h>
#include <string.h>

static bool holds(const char *dir, const char *name)
{
    char *path = qp_path_join(dir, name);
    bool is = qp_path_exists(path);
    free(path);
    return is;
}

/* The folder of weights that `path` stands for. */
static qp_status weights_folder(const char *path, char **dir, qp_err *err)
{
    static const char *const below[] = { "final", "latest" };
    if (!qp_path_exists(path)) return qp_fail(err, QP_USAGE, "%s: no such file or folder", path);
    if (!qp_path_is_dir(path) || holds(path, "adapter_config.json") || holds(path, "config.json")) {
        *dir = qp_xstrdup(path);
        return QP_OK;
    }
    for (int i = 0; i < 2; i++) {
        char *sub = qp_path_join(path, below[i]);
        if (holds(sub, "adapter_config.json") || holds(sub, "config.json")) {
            *dir = sub;
            return QP_OK;
        }
        free(sub);
    }
    return qp_fail(err, QP_USAGE,
                   "%s: no model here (wanted config.json, adapter_config.json, or final/ or "
                   "latest/ with one)",
                   path);
}

static qp_status base_of_adapter(const char *dir, char **base, qp_err *err)
{
    char *path = qp_path_join(dir, "adapter_config.json");
    qp_value *v = NULL;
    qp_status rc = qp_json_load(&v, path, err);
    const qp_value *name = rc ? NULL : qp_json_get(v, "base_model_name_or_path");
    if (!rc && (!name || name->kind != QP_JSON_STRING || !name->str[0]))
        rc = qp_fail(
            err, QP_BADFILE,
            "%s: no base_model_name_or_path: name the base with -m and this folder with --adapter",
            path);
    if (!rc) {
        *base = qp_xstrdup(name->str);
        char *beside = qp_path_join(dir, name->str);
        if (!qp_path_exists(*base) && qp_path_exists(beside)) {
            free(*base);
            *base = qp_xstrdup(beside);
        }
        free(beside);
        if (!qp_path_exists(*base))
            rc =
                qp_fail(err, QP_USAGE,
                        "%s: base model %s: no such file or folder (-m BASE --adapter %s names it)",
                        path, *base, dir);
    }
    qp_json_free(v);
    free(path);
    return rc;
}

static bool is_adapter(const char *dir)
{
    return qp_path_is_dir(dir) && holds(dir, "adapter_config.json");
}

static qp_status find_base(const qp_model_args *a, qp_where *w, qp_err *err)
{
    qp_status rc = weights_folder(a->model, &w->base, err);
    if (rc || !is_adapter(w->base)) return rc;
    w->adapter = w->base;
    w->base = NULL;
    return base_of_adapter(w->adapter, &w->base, err);
}

static qp_status find_adapter(const qp_model_args *a, qp_where *w, qp_err *err)
{
    if (!a->adapter) return QP_OK;
    if (w->adapter)
        return qp_fail(err, QP_USAGE, "%s is an adapter itself: --adapter %s cannot be added to it",
                       w->adapter, a->adapter);
    qp_status rc = weights_folder(a->adapter, &w->adapter, err);
    if (!rc && !is_adapter(w->adapter))
        rc = qp_fail(err, QP_USAGE, "--adapter %s: no adapter_config.json in it", a->adapter);
    return rc;
}

static bool has_tokenizer(const char *dir)
{
    return holds(dir, "tokenizer.json") || holds(dir, "tokenizer.model");
}

/* What the run that made this checkpoint or result was told: its tokenizer, which may be none of
   the base's, or a new model's. NULL: no run, or none that can be read. */
static char *tokenizer_of_run(const char *folder)
{
    char *record = qp_path_join(folder, "../run.json"),
         *yaml = qp_path_join(folder, "../config.yaml"), *found = NULL;
    qp_options *o = NULL;
    qp_err ignored = { 0 };
    if (qp_path_exists(record) && !qp_options_load(&o, yaml, 0, NULL, &ignored)) {
        const char *named = o->tokenizer ? o->tokenizer : o->base_model;
        if (named && (!strcmp(named, "bytes") || qp_path_exists(named))) found = qp_xstrdup(named);
    }
    qp_options_free(o);
    free(yaml);
    free(record);
    return found;
}

/* The tokenizer named; else the one saved with the adapter or model, else its run's, else the
   base's. */
static char *find_tokenizer(const qp_model_args *a, const qp_where *w)
{
    const char *folder = w->adapter ? w->adapter : w->base;
    if (a->tokenizer) return qp_xstrdup(a->tokenizer);
    if (!qp_path_is_dir(folder) || has_tokenizer(folder)) return qp_xstrdup(folder);
    char *of_run = tokenizer_of_run(folder);
    if (of_run) return of_run;
    if (!qp_path_is_dir(w->base) || has_tokenizer(w->base)) return qp_xstrdup(w->base);
    return NULL;
}

qp_status qp_model_where(const qp_model_args *a, qp_where *w, qp_err *err)
{
    *w = (qp_where){ 0 };
    if (!a->model) return qp_fail(err, QP_USAGE, "no model: -m MODEL");
    qp_status rc = find_base(a, w, err);
    if (!rc) rc = find_adapter(a, w, err);
    if (!rc)
        w->tokenizer = find_tokenizer(a, w);
    else
        qp_where_release(w);
    return rc;
}

void qp_where_release(qp_where *w)
{
    free(w->base);
    free(w->adapter);
    free(w->tokenizer);
    *w = (qp_where){ 0 };
}
