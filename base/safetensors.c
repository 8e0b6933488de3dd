#include "base/safetensors.h"
#include "base/json.h"
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the files are little-endian and mapped");
enum { HEADER_MAX = 100000000 }; /* the format's own limit */

/* ---- one file's header ---- */

typedef struct {
    qp_json j;
    qp_err *err;
    int file;
    const uint8_t *data; /* what follows the header */
    uint64_t len;
    qp_file_tensor *tensor;
    int64_t count, cap;
} header;

static qp_status refuse(header *h, const char *name, const char *what)
{
    if (h->j.kind == QP_JSON_ERROR) return h->err->status; /* not JSON: said already */
    return qp_fail(h->err, QP_BADFILE, "tensor %s: %s", name, what);
}

static const struct {
    const char *name;
    int bytes;
} others[] = {
    { "I8", 1 },  { "F8_E4M3", 1 }, { "F8_E5M2", 1 }, { "F8_E8M0", 1 }, { "I16", 2 },
    { "U16", 2 }, { "U32", 4 },     { "U64", 8 },     { "C64", 8 },
};

/* The type the current string names, and its bytes; 0 for an unknown one. */
static int set_type(qp_json *j, qp_file_tensor *t)
{
    for (int i = 0; i < QP_NSTORAGE; i++)
        if (qp_storages[i].safetensors && qp_json_is(j, qp_storages[i].safetensors)) {
            t->storage = (qp_storage)i;
            t->type = qp_storages[i].safetensors;
            return qp_storages[i].bytes;
        }
    t->storage = QP_OTHER;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (qp_json_is(j, others[i].name)) return t->type = others[i].name, others[i].bytes;
    return 0;
}

/* Reads [n, n, ...], at most max of them, none negative; how many, or -1. */
static int counts(qp_json *j, int64_t *v, int max)
{
    if (qp_json_next(j) != QP_JSON_ARRAY) return -1;
    for (int n = 0;; n++) {
        qp_json_kind kind = qp_json_next(j);
        if (kind == QP_JSON_ARRAY_END) return n;
        if (kind != QP_JSON_NUMBER || !j->is_integer || j->integer < 0 || n == max) return -1;
        v[n] = j->integer;
    }
}

/* {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}: each once, in any order. */
static qp_status read_fields(header *h, qp_file_tensor *t, int *element, int64_t range[2])
{
    qp_json *j = &h->j;
    bool dtype = false, shape = false, offsets = false;
    if (qp_json_next(j) != QP_JSON_OBJECT) return refuse(h, t->name, "an object wanted");
    while (qp_json_next(j) == QP_JSON_KEY) {
        if (qp_json_is(j, "dtype")) {
            if (dtype) return refuse(h, t->name, "dtype twice");
            if (qp_json_next(j) != QP_JSON_STRING)
                return refuse(h, t->name, "dtype: a string wanted");
            *element = set_type(j, t);
            if (!*element)
                return qp_fail(h->err, QP_BADFILE, "tensor %s: unknown dtype %s", t->name,
                               j->str.data);
            dtype = true;
        } else if (qp_json_is(j, "shape")) {
            if (shape) return refuse(h, t->name, "shape twice");
            t->ndim = counts(j, t->shape, QP_FILE_DIMS);
            if (t->ndim < 0)
                return refuse(h, t->name, "shape: at most 8 sizes wanted, none of them negative");
            shape = true;
        } else if (qp_json_is(j, "data_offsets")) {
            if (offsets) return refuse(h, t->name, "data_offsets twice");
            if (counts(j, range, 2) != 2)
                return refuse(h, t->name, "data_offsets: [begin, end] wanted, neither negative");
            offsets = true;
        } else {
            qp_json_skip(j);
        }
    }
    if (j->kind != QP_JSON_OBJECT_END) return h->err->status;
    if (!dtype || !shape || !offsets)
        return refuse(h, t->name, "one of dtype, shape, data_offsets is missing");
    return QP_OK;
}

static qp_status read_tensor(header *h, qp_file_tensor *t)
{
    int64_t range[2];
    int element = 0;
    qp_status rc = read_fields(h, t, &element, range);
    if (rc) return rc;
    if (!qp_file_tensor_size(t, 1, element))
        return refuse(h, t->name, "the product of its dimensions overflows");
    if (range[0] > range[1])
        return refuse(h, t->name, "data_offsets: the end lies before the begin");
    if ((uint64_t)range[1] > h->len)
        return qp_fail(h->err, QP_BADFILE,
                       "tensor %s: ends at byte %lld of the data, the file holds only %llu of them",
                       t->name, (long long)range[1], (unsigned long long)h->len);
    size_t bytes = (size_t)(range[1] - range[0]);
    if (bytes != t->bytes)
        return qp_fail(h->err, QP_BADFILE,
                       "tensor %s: shape and dtype %s make %zu bytes, data_offsets %zu", t->name,
                       t->type, t->bytes, bytes);
    t->data = h->data + range[0];
    return QP_OK;
}

static qp_file_tensor *add_tensor(header *h)
{
    if (h->count == h->cap) {
        h->cap = h->cap ? 2 * h->cap : 64;
        h->tensor = qp_xrealloc(h->tensor, (size_t)h->cap, sizeof *h->tensor);
    }
    qp_file_tensor *t = &h->tensor[h->count++];
    *t = (qp_file_tensor){ .name = qp_xstrdup(h->j.str.data), .file = h->file };
    return t;
}

/* {"key": "text", ...}: nothing else is allowed there. */
static qp_status read_metadata(header *h)
{
    qp_json *j = &h->j;
    if (qp_json_next(j) == QP_JSON_OBJECT)
        while (qp_json_next(j) == QP_JSON_KEY && qp_json_next(j) == QP_JSON_STRING) {
        }
    if (j->kind == QP_JSON_OBJECT_END) return QP_OK;
    if (j->kind == QP_JSON_ERROR) return h->err->status;
    return qp_fail(h->err, QP_BADFILE, "__metadata__: an object of strings wanted");
}

static qp_status read_header(header *h)
{
    qp_json *j = &h->j;
    bool metadata = false;
    if (qp_json_next(j) != QP_JSON_OBJECT) return h->err->status;
    while (qp_json_next(j) == QP_JSON_KEY) {
        if (strlen(j->str.data) < j->str.len)
            return qp_fail(h->err, QP_BADFILE, "tensor %s: a NUL in the name", j->str.data);
        if (qp_json_is(j, "__metadata__")) {
            if (metadata) return qp_fail(h->err, QP_BADFILE, "__metadata__ twice");
            metadata = true;
            qp_status rc = read_metadata(h);
            if (rc) return rc;
            continue;
        }
        qp_status rc = read_tensor(h, add_tensor(h));
        if (rc) return rc;
    }
    return qp_json_next(j) == QP_JSON_END ? QP_OK : h->err->status;
}

static int by_place(const void *a, const void *b)
{
    const qp_file_tensor *x = *(qp_file_tensor *const *)a, *y = *(qp_file_tensor *const *)b;
    if (x->data != y->data) return (const char *)x->data < (const char *)y->data ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes); /* empty ones before the one they touch */
}

/* Every byte of the data must belong to exactly one tensor. */
static qp_status check_cover(header *h)
{
    qp_file_tensor end = { .name = "the end of the file", .data = h->data + h->len };
    qp_file_tensor **t = qp_xcalloc((size_t)h->count + 1, sizeof *t);
    for (int64_t i = 0; i < h->count; i++) t[i] = &h->tensor[i];
    qsort(t, (size_t)h->count, sizeof *t, by_place);
    t[h->count] = &end;
    const uint8_t *at = h->data;
    qp_status rc = QP_OK;
    for (int64_t i = 0; i <= h->count && !rc; i++) {
        const uint8_t *begin = t[i]->data;
        if (begin < at)
            rc = qp_fail(h->err, QP_BADFILE, "tensors %s and %s overlap", t[i - 1]->name,
                         t[i]->name);
        else if (begin > at)
            rc =
                qp_fail(h->err, QP_BADFILE, "%zu bytes of the data, before %s, belong to no tensor",
                        (size_t)(begin - at), t[i]->name);
        at = begin + t[i]->bytes;
    }
    free(t);
    return rc;
}

static void copy_unaligned(header *h)
{
    for (int64_t i = 0; i < h->count; i++) {
        qp_file_tensor *t = &h->tensor[i];
        int element = qp_storages[t->storage].bytes;
        if (!element || (uintptr_t)t->data % (uintptr_t)element == 0) continue;
        t->owned = qp_xmalloc(t->bytes);
        t->data = memcpy(t->owned, t->data, t->bytes);
    }
}

/* ---- a set of files ---- */

/* Takes the header's tensors into the set. */
static void append(qp_safetensors *st, header *h)
{
    if (!h->count) return;
    st->tensor = qp_xrealloc(st->tensor, (size_t)(st->count + h->count), sizeof *st->tensor);
    memcpy(st->tensor + st->count, h->tensor, (size_t)h->count * sizeof *st->tensor);
    st->count += h->count;
    h->count = 0;
}

static qp_status read_map(qp_safetensors *st, const qp_map *m, int file, qp_err *err)
{
    typedef unsigned long long ull;
    uint64_t len;
    if (m->len < sizeof len)
        return qp_fail(err, QP_BADFILE, "%zu bytes, too short for a safetensors file", m->len);
    memcpy(&len, m->data, sizeof len);
    if (len > HEADER_MAX)
        return qp_fail(err, QP_BADFILE, "header length %llu, at most %d allowed", (ull)len,
                       HEADER_MAX);
    if (len > m->len - sizeof len)
        return qp_fail(err, QP_BADFILE, "header length %llu, but the file has only %zu bytes",
                       (ull)len, m->len);
    const char *text = (const char *)m->data + sizeof len;
    if (!len || *text != '{') return qp_fail(err, QP_BADFILE, "the header does not begin with '{'");

    header h = { .err = err, .file = file };
    h.data = (const uint8_t *)text + len;
    h.len = m->len - sizeof len - len;
    qp_json_init(&h.j, text, (size_t)len, err);
    qp_status rc = read_header(&h);
    if (h.j.kind == QP_JSON_ERROR) qp_wrap(err, "the header is not JSON");
    if (!rc) rc = qp_file_tensors_sort(h.tensor, h.count, err);
    if (!rc) rc = check_cover(&h);
    if (!rc) {
        copy_unaligned(&h);
        append(st, &h);
    }
    qp_json_release(&h.j);
    qp_file_tensors_free(h.tensor, h.count);
    return rc;
}

static qp_status open_file(qp_safetensors *st, const char *path, qp_err *err)
{
    int file = st->files++;
    st->file_path = qp_xrealloc(st->file_path, (size_t)st->files, sizeof *st->file_path);
    st->map = qp_xrealloc(st->map, (size_t)st->files, sizeof *st->map);
    st->file_path[file] = qp_xstrdup(path);
    qp_status rc = qp_map_open(&st->map[file], path, err);
    if (rc) return rc;
    rc = read_map(st, &st->map[file], file, err);
    return rc ? qp_wrap(err, "%s", path) : QP_OK;
}

/* Exactly the tensors of {"weight_map": {tensor: file}}, each in the file it names. */
static qp_status check_index(const qp_safetensors *st, const qp_value *map, qp_err *err)
{
    for (const qp_value *v = map->child; v; v = v->next) {
        const qp_file_tensor *t = qp_safetensors_find(st, v->key);
        const char *slash = t ? strrchr(st->file_path[t->file], '/') : NULL;
        const char *file = !t ? "no file" : slash ? slash + 1 : st->file_path[t->file];
        if (strcmp(file, v->str))
            return qp_fail(err, QP_BADFILE, "tensor %s is in %s, the index says %s", v->key, file,
                           v->str);
    }
    /* All listed are there, and names occur once: equal counts leave no other. */
    if (st->count != map->count)
        return qp_fail(err, QP_BADFILE, "the index lists %lld tensors, its files hold %lld",
                       (long long)map->count, (long long)st->count);
    return QP_OK;
}

static bool is_open(const qp_safetensors *st, const char *path)
{
    for (int i = 0; i < st->files; i++)
        if (!strcmp(st->file_path[i], path)) return true;
    return false;
}

/* Opens every file the index names, once. They must lie beside it. */
static qp_status open_shards(qp_safetensors *st, const char *dir, const qp_value *map, qp_err *err)
{
    qp_status rc = QP_OK;
    for (const qp_value *v = map->child; v && !rc; v = v->next) {
        if (v->kind != QP_JSON_STRING || !*v->str || strchr(v->str, '/') ||
            strlen(v->str) < v->str_len)
            return qp_fail(err, QP_BADFILE, "weight_map: %s: a plain file name wanted", v->key);
        char *path = qp_path_join(dir, v->str);
        if (!is_open(st, path)) rc = open_file(st, path, err);
        free(path);
    }
    return rc;
}

static qp_status open_index(qp_safetensors *st, const char *path, qp_err *err)
{
    qp_value *root = NULL;
    qp_status rc = qp_json_load(&root, path, err);
    if (rc) return rc;
    char *dir = qp_path_parent(path);
    const qp_value *map = qp_json_get(root, "weight_map");
    if (!map || map->kind != QP_JSON_OBJECT)
        rc = qp_fail(err, QP_BADFILE, "weight_map: an object of tensor names and files wanted");
    if (!rc) rc = open_shards(st, dir, map, err);
    if (!rc) rc = qp_file_tensors_sort(st->tensor, st->count, err);
    if (!rc) rc = check_index(st, map, err);
    free(dir);
    qp_json_free(root);
    return rc ? qp_wrap(err, "%s", path) : QP_OK;
}

/* The file meant by path and name; the caller frees. A single file is preferred to an index, as
   transformers does. */
static char *resolve(const char *path, const char *name)
{
    if (name) return qp_path_join(path, name);
    if (!qp_path_is_dir(path)) return qp_xstrdup(path);
    char *single = qp_path_join(path, "model.safetensors");
    char *index = qp_path_join(path, "model.safetensors.index.json");
    bool sharded = !qp_path_exists(single) && qp_path_exists(index);
    free(sharded ? single : index);
    return sharded ? index : single;
}

qp_status qp_safetensors_open(qp_safetensors *st, const char *path, const char *name, qp_err *err)
{
    *st = (qp_safetensors){ .path = resolve(path, name) };
    size_t len = strlen(st->path), tail = strlen(".json");
    bool index = len >= tail && !strcmp(st->path + len - tail, ".json");
    qp_status rc = index ? open_index(st, st->path, err) : open_file(st, st->path, err);
    if (rc) qp_safetensors_release(st);
    return rc;
}

const qp_file_tensor *qp_safetensors_find(const qp_safetensors *st, const char *name)
{
    return qp_file_tensors_find(st->tensor, st->count, name);
}

void qp_safetensors_release(qp_safetensors *st)
{
    qp_file_tensors_free(st->tensor, st->count);
    for (int i = 0; i < st->files; i++) {
        free(st->file_path[i]);
        qp_map_release(&st->map[i]);
    }
    free(st->file_path);
    free(st->map);
    free(st->path);
    *st = (qp_safetensors){ 0 };
}
