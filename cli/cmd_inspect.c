/* What lies in a file or folder: containers, configuration, tensors; and whether it would load. */
#include "base/gguf.h"
#include "base/json.h"
#include "base/safetensors.h"
#include "base/sha256.h"
#include "cli/cmd.h"
#include "cli/open.h"
#include "model/model.h"
#include "train/manifest.h"
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    bool json, verify, hash, all;
} options;

typedef struct {
    const options *o;
    qp_json_writer w; /* with --json */
    qp_buf out, words;
} page;

/* Text out of a file as JSON writes it, without the quotes: nothing in it can steer a terminal.
 * Holds until the next call. */
static const char *shown(page *p, const char *s, size_t len)
{
    qp_buf_clear(&p->words);
    qp_json_string(&(qp_json_writer){ .out = &p->words }, s, len);
    p->words.data[p->words.len - 1] = '\0';
    return p->words.data + 1;
}

/* ---- one tensor, one container ---- */

static void shape_text(const qp_file_tensor *t, char *out, size_t size)
{
    size_t at = (size_t)snprintf(out, size, "(");
    for (int i = 0; i < t->ndim && at < size; i++)
        at +=
            (size_t)snprintf(out + at, size - at, "%s%lld", i ? ", " : "", (long long)t->shape[i]);
    if (at < size) snprintf(out + at, size - at, ")");
}

static void tensor_hash(const qp_file_tensor *t, char hex[65])
{
    qp_sha256 h;
    qp_sha256_init(&h);
    qp_sha256_add(&h, t->data, t->bytes);
    qp_sha256_hex(&h, hex);
}

static void show_tensor(page *p, const qp_file_tensor *t)
{
    char shape[128], hex[65] = "";
    const char *type = t->storage == QP_OTHER ? t->type : qp_storages[t->storage].name;
    if (p->o->hash) tensor_hash(t, hex);
    if (!p->o->json) {
        shape_text(t, shape, sizeof shape);
        printf("  %-52s %-5s %-16s %s\n", shown(p, t->name, strlen(t->name)), type, shape, hex);
        return;
    }
    qp_json_open_object(&p->w);
    qp_json_key(&p->w, "name");
    qp_json_cstring(&p->w, t->name);
    qp_json_key(&p->w, "dtype");
    qp_json_cstring(&p->w, type);
    qp_json_key(&p->w, "shape");
    qp_json_open_array(&p->w);
    for (int i = 0; i < t->ndim; i++) qp_json_int(&p->w, t->shape[i]);
    qp_json_close_array(&p->w);
    qp_json_key(&p->w, "bytes");
    qp_json_int(&p->w, (int64_t)t->bytes);
    if (p->o->hash) {
        qp_json_key(&p->w, "sha256");
        qp_json_cstring(&p->w, hex);
    }
    qp_json_close_object(&p->w);
}

static void show_tensors(page *p, const qp_file_tensor *t, int64_t n)
{
    int64_t values = 0, bytes = 0;
    for (int64_t i = 0; i < n; i++) {
        values += t[i].numel;
        bytes += (int64_t)t[i].bytes;
    }
    if (p->o->json) {
        qp_json_key(&p->w, "tensors");
        qp_json_open_array(&p->w);
    } else
        printf("%lld tensors, %lld values, %.1f MB\n", (long long)n, (long long)values,
               (double)bytes / 1e6);
    for (int64_t i = 0; i < n; i++) show_tensor(p, &t[i]);
    if (p->o->json) qp_json_close_array(&p->w);
}

/* ---- GGUF metadata ---- */

static void show_value(page *p, const qp_gguf *g, const qp_gguf_value *v)
{
    qp_gguf_text text;
    double number;
    if (p->o->json)
        qp_json_key(&p->w, v->key);
    else
        printf("  %-44s ", shown(p, v->key, strlen(v->key)));
    if (v->is_array) {
        if (p->o->json) {
            qp_json_open_object(&p->w); /* a vocabulary's 128,000 words are not listed */
            qp_json_key(&p->w, "count");
            qp_json_int(&p->w, (int64_t)v->count);
            qp_json_close_object(&p->w);
        } else {
            printf("%llu values\n", (unsigned long long)v->count);
        }
    } else if (qp_gguf_string(g, v->key, &text)) {
        size_t len = text.len < 60 || p->o->all ? text.len : 60;
        if (p->o->json)
            qp_json_string(&p->w, text.s, text.len);
        else
            printf("%s%s\n", shown(p, text.s, len), len < text.len ? " ..." : "");
    } else {
        int64_t integer;
        bool whole = qp_gguf_int(g, v->key, &integer);
        if (!whole && !qp_gguf_double(g, v->key, &number)) number = NAN;
        if (p->o->json && whole)
            qp_json_int(&p->w, integer);
        else if (p->o->json)
            qp_json_double(&p->w, number);
        else if (whole)
            printf("%lld\n", (long long)integer);
        else
            printf("%g\n", number);
    }
}

static qp_status show_gguf(page *p, const char *path, qp_err *err)
{
    qp_gguf g;
    qp_status rc = qp_gguf_open(&g, path, err);
    if (rc) return rc;
    if (p->o->json) {
        qp_json_key(&p->w, "metadata");
        qp_json_open_object(&p->w);
    } else
        printf("GGUF version %u\n", g.version);
    for (int64_t i = 0; i < g.n_values; i++) show_value(p, &g, &g.value[i]);
    if (p->o->json) qp_json_close_object(&p->w);
    show_tensors(p, g.tensor, g.n_tensors);
    qp_gguf_release(&g);
    return QP_OK;
}

static qp_status show_safetensors(page *p, const char *path, const char *name, qp_err *err)
{
    qp_safetensors st;
    qp_status rc = qp_safetensors_open(&st, path, name, err);
    if (rc) return rc;
    show_tensors(p, st.tensor, st.count);
    qp_safetensors_release(&st);
    return QP_OK;
}

/* ---- what loads as a model ---- */

static void show_config(page *p, const qp_config *c, int64_t parameters)
{
    const struct {
        const char *key;
        int64_t value;
    } row[] = { { "parameters", parameters },
                { "vocab_size", c->vocab_size },
                { "hidden_size", c->hidden_size },
                { "intermediate_size", c->intermediate_size },
                { "layers", c->layers },
                { "heads", c->heads },
                { "kv_heads", c->kv_heads },
                { "head_dim", c->head_dim },
                { "max_positions", c->max_positions },
                { "tied", c->tied } };
    if (!p->o->json) printf("%s", shown(p, c->architecture, strlen(c->architecture)));
    if (p->o->json) {
        qp_json_key(&p->w, "architecture");
        qp_json_cstring(&p->w, c->architecture);
    }
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        if (!p->o->json)
            printf(" | %s %lld", row[i].key, (long long)row[i].value);
        else {
            qp_json_key(&p->w, row[i].key);
            qp_json_int(&p->w, row[i].value);
        }
    }
    if (!p->o->json) printf("\n");
}

/* Opening pairs every weight with its tensor and checks the shapes; no value is read. */
static qp_status check_model(page *p, const char *base, const char *adapter, qp_err *err)
{
    qp_model *m;
    const qp_model_options o = { .compute = QP_BF16, .load_in = QP_BF16 };
    qp_status rc = qp_model_open(&m, base, &o, err);
    if (rc) return rc;
    show_config(p, qp_model_config(m), qp_model_parameters(m));
    if (adapter) rc = qp_model_load_adapter(m, adapter, err);
    qp_model_free(m);
    return rc;
}

/* ---- folders ---- */

static void write_value(qp_json_writer *w, const qp_value *v)
{
    switch (v->kind) {
    case QP_JSON_STRING:
        qp_json_string(w, v->str, v->str_len);
        break;
    case QP_JSON_TRUE:
    case QP_JSON_FALSE:
        qp_json_bool(w, v->kind == QP_JSON_TRUE);
        break;
    case QP_JSON_NUMBER:
        v->is_integer ? qp_json_int(w, v->integer) : qp_json_double(w, v->number);
        break;
    case QP_JSON_ARRAY:
        qp_json_open_array(w);
        for (const qp_value *c = v->child; c; c = c->next) write_value(w, c);
        qp_json_close_array(w);
        break;
    case QP_JSON_OBJECT:
        qp_json_open_object(w);
        for (const qp_value *c = v->child; c; c = c->next) {
            qp_json_key(w, c->key);
            write_value(w, c);
        }
        qp_json_close_object(w);
        break;
    default:
        qp_json_null(w);
    }
}

static qp_status show_json_file(page *p, const char *dir, const char *name, qp_err *err)
{
    char *path = qp_path_join(dir, name);
    qp_value *v = NULL;
    qp_status rc = qp_json_load(&v, path, err);
    free(path);
    if (rc) return rc;
    if (p->o->json) {
        qp_json_key(&p->w, name);
        write_value(&p->w, v);
    } else
        printf("%s\n", name);
    for (const qp_value *c = v->child; c && !p->o->json; c = c->next) {
        qp_buf text = { 0 };
        qp_json_writer w = { .out = &text };
        write_value(&w, c);
        const char *key = c->key ? c->key : "";
        printf("  %-32s %.*s%s\n", shown(p, key, strlen(key)), p->o->all ? (int)text.len : 100,
               text.data, text.len > 100 && !p->o->all ? " ..." : "");
        qp_buf_release(&text);
    }
    qp_json_free(v);
    return QP_OK;
}

/* best and latest lead to checkpoints that stand there under their own names. */
static int own_entry(const struct dirent *e) { return e->d_name[0] != '.' && e->d_type != DT_LNK; }

/* The folder's own manifest, or that of every folder in it: a run's checkpoints. */
static qp_status verify(page *p, const char *path, qp_err *err)
{
    struct dirent **entry = NULL;
    int n = scandir(path, &entry, own_entry, alphasort), verified = 0;
    qp_status rc = QP_OK;
    for (int i = -1; i < n && !rc && !(i == 0 && verified); i++) {
        char *dir = i < 0 ? qp_xstrdup(path) : qp_path_join(path, entry[i]->d_name),
             *manifest = qp_path_join(dir, QP_MANIFEST);
        if (qp_path_exists(manifest)) {
            rc = qp_manifest_verify(dir, err);
            verified++;
            if (!rc && !p->o->json) printf("%s: every file is as %s says\n", dir, QP_MANIFEST);
        }
        free(manifest);
        free(dir);
    }
    for (int i = 0; i < n; i++) free(entry[i]);
    free(entry);
    if (!rc && !verified)
        rc = qp_fail(err, QP_USAGE, "%s: nothing to verify: no %s here or one folder below", path,
                     QP_MANIFEST);
    return rc;
}

static qp_status show_folder(page *p, const char *path, qp_err *err)
{
    qp_where w;
    const qp_model_args a = { .model = path };
    qp_status rc = p->o->verify ? verify(p, path, err) : QP_OK;
    if (!rc) rc = qp_model_where(&a, &w, err);
    if (rc) return rc;
    const char *folder = w.adapter ? w.adapter : w.base;
    if (p->o->json) {
        qp_json_key(&p->w, "kind");
        qp_json_cstring(&p->w, w.adapter ? "adapter" : "model");
        qp_json_key(&p->w, "base");
        qp_json_cstring(&p->w, w.base);
    } else if (w.adapter)
        printf("%s: adapter on %s\n", folder, w.base);
    else
        printf("%s: model\n", folder);
    rc = show_json_file(p, folder, w.adapter ? "adapter_config.json" : "config.json", err);
    if (!rc) rc = check_model(p, w.base, w.adapter, err);
    if (!rc) rc = show_safetensors(p, folder, w.adapter ? "adapter_model.safetensors" : NULL, err);
    qp_where_release(&w);
    return rc;
}

/* ---- files ---- */

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), k = strlen(end);
    return n >= k && !strcmp(s + n - k, end);
}

static qp_status show_gguf_model(page *p, const char *path, qp_err *err)
{
    qp_status rc = show_gguf(p, path, err);
    return rc ? rc : check_model(p, path, NULL, err);
}

static qp_status show_path(page *p, const char *path, qp_err *err)
{
    if (!qp_path_exists(path)) return qp_fail(err, QP_USAGE, "%s: no such file or folder", path);
    if (qp_path_is_dir(path)) return show_folder(p, path, err);
    if (p->o->verify)
        return qp_fail(err, QP_USAGE, "%s: --verify wants a folder with %s", path, QP_MANIFEST);
    if (ends_with(path, ".gguf")) return show_gguf_model(p, path, err);
    if (ends_with(path, ".safetensors") || ends_with(path, ".safetensors.index.json"))
        return show_safetensors(p, path, NULL, err);
    return qp_fail(err, QP_USAGE, "%s: wanted a folder, .safetensors or .gguf", path);
}

static qp_status run(const options *o, const qp_list *paths, qp_err *err)
{
    if (paths->n != 1) return qp_fail(err, QP_USAGE, "wanted one PATH, found %d", paths->n);
    page p = { .o = o };
    p.w = (qp_json_writer){ .out = &p.out, .indent = 2 };
    if (o->json) {
        qp_json_open_object(&p.w);
        qp_json_key(&p.w, "path");
        qp_json_cstring(&p.w, paths->item[0]);
    }
    qp_status rc = show_path(&p, paths->item[0], err);
    if (!rc && o->json) {
        qp_json_close_object(&p.w);
        puts(p.out.data);
    }
    qp_buf_release(&p.out);
    qp_buf_release(&p.words);
    return rc;
}

int qp_cmd_inspect(int argc, char **argv)
{
    options o = { 0 };
    qp_list paths = { 0 };
    const qp_arg table[] = {
        { "verify", 0, QP_ARG_FLAG, &o.verify, NULL,
          "check every file against its manifest's size and digest" },
        { "hash", 0, QP_ARG_FLAG, &o.hash, NULL, "SHA-256 of every tensor's bytes" },
        { "all", 'a', QP_ARG_FLAG, &o.all, NULL, "long values whole" },
        { "json", 0, QP_ARG_FLAG, &o.json, NULL, "one JSON document" },
    };
    const qp_usage u = { .command = "inspect",
                         .summary = "What a .safetensors, .gguf, model, adapter, run or checkpoint "
                                    "folder holds;\nfails where it could not be loaded.",
                         .positional = "PATH",
                         .example = "quipu inspect out/run1/final --verify",
                         .arg = table,
                         .n = sizeof table / sizeof *table,
                         .rest = &paths };
    qp_err err = { 0 };
    bool done;
    qp_status rc = qp_args_parse(&u, argc, argv, &done, &err);
    if (!rc && !done) rc = run(&o, &paths, &err);
    free(paths.item);
    return qp_exit_code(u.command, rc, &err);
}
