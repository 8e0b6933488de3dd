#include "base/gguf.h"
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the files are little-endian and mapped");
enum { DIMS = 4, DEFAULT_ALIGNMENT = 32 };
typedef unsigned long long ull;

/* ---- reading with bounds ---- */

/* The part not read yet. Nothing is taken, skipped or allocated that `left` does not cover. */
typedef struct {
    const uint8_t *at;
    uint64_t left;
    qp_err *err;
} cursor;

static qp_status cut(cursor *c, const char *what)
{
    return qp_fail(c->err, QP_BADFILE, "the file ends inside %s", what);
}

static qp_status take(cursor *c, void *to, size_t n, const char *what)
{
    memset(to, 0, n); /* what the file does not have reads as 0 */
    if (n > c->left) return cut(c, what);
    memcpy(to, c->at, n);
    c->at += n;
    c->left -= n;
    return QP_OK;
}

/* count items of n bytes, left where they are. */
static qp_status pass(cursor *c, uint64_t count, uint64_t n, const char *what)
{
    if (count > c->left / n)
        return qp_fail(c->err, QP_BADFILE,
                       "%s: %llu x %llu bytes, but only %llu are left in the file", what,
                       (ull)count, (ull)n, (ull)c->left);
    c->at += count * n;
    c->left -= count * n;
    return QP_OK;
}

static qp_status take_text(cursor *c, qp_gguf_text *t, const char *what)
{
    t->s = NULL;
    qp_status rc = take(c, &t->len, sizeof t->len, what);
    if (rc) return rc;
    if (t->len > c->left)
        return qp_fail(c->err, QP_BADFILE,
                       "%s: string length %llu, but only %llu bytes are left in the file", what,
                       (ull)t->len, (ull)c->left);
    t->s = (const char *)c->at;
    return pass(c, t->len, 1, what);
}

/* A key or a tensor's name; the caller frees. */
static qp_status take_name(cursor *c, char **name, const char *what)
{
    qp_gguf_text t;
    qp_status rc = take_text(c, &t, what);
    if (rc) return rc;
    if (t.len >= 65536 || memchr(t.s, '\0', t.len)) /* the format's limit for keys */
        return qp_fail(c->err, QP_BADFILE, "%s: %llu bytes long or with a NUL", what, (ull)t.len);
    *name = qp_xformat("%.*s", (int)t.len, t.s);
    return QP_OK;
}

/* ---- metadata ---- */

static const uint8_t value_bytes[] = {
    [QP_GGUF_U8] = 1,  [QP_GGUF_I8] = 1,  [QP_GGUF_U16] = 2, [QP_GGUF_I16] = 2,
    [QP_GGUF_U32] = 4, [QP_GGUF_I32] = 4, [QP_GGUF_F32] = 4, [QP_GGUF_BOOL] = 1,
    [QP_GGUF_U64] = 8, [QP_GGUF_I64] = 8, [QP_GGUF_F64] = 8,
};

/* Walks over the strings first: a count that the file does not bear out allocates nothing. */
static qp_status take_strings(cursor *c, qp_gguf_value *v)
{
    cursor first = *c;
    qp_gguf_text t;
    qp_status rc = QP_OK;
    for (uint64_t i = 0; i < v->count && !rc; i++) rc = take_text(c, &t, v->key);
    if (rc) return rc;
    v->text = qp_xcalloc(v->count, sizeof *v->text);
    for (uint64_t i = 0; i < v->count && !rc; i++) rc = take_text(&first, &v->text[i], v->key);
    return rc;
}

static qp_status take_value(cursor *c, qp_gguf_value *v)
{
    uint32_t type;
    qp_status rc = take(c, &type, sizeof type, v->key);
    v->count = 1;
    if (!rc && type == QP_GGUF_ARRAY) {
        v->is_array = true;
        rc = take(c, &type, sizeof type, v->key);
        if (!rc) rc = take(c, &v->count, sizeof v->count, v->key);
        if (!rc && type == QP_GGUF_ARRAY)
            return qp_fail(c->err, QP_BADFILE, "%s: an array of arrays is not supported", v->key);
    }
    if (rc) return rc;
    if (type > QP_GGUF_F64)
        return qp_fail(c->err, QP_BADFILE, "%s: unknown value type %u", v->key, type);
    v->type = (qp_gguf_type)type;
    v->data = c->at;
    return type == QP_GGUF_STRING ? take_strings(c, v)
                                  : pass(c, v->count, value_bytes[type], v->key);
}

/* Arrays grow with what has been read, not with what the file claims. */
static void *grow(void *p, int64_t count, size_t size)
{
    bool full = count == 0 || (count >= 16 && (count & (count - 1)) == 0);
    return full ? qp_xrealloc(p, count ? (size_t)count * 2 : 16, size) : p;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static qp_status refuse_duplicate_keys(const qp_gguf *g, qp_err *err)
{
    const char **key = qp_xcalloc((size_t)g->n_values, sizeof *key);
    for (int64_t i = 0; i < g->n_values; i++) key[i] = g->value[i].key;
    qsort(key, (size_t)g->n_values, sizeof *key, by_key);
    qp_status rc = QP_OK;
    for (int64_t i = 1; i < g->n_values && !rc; i++)
        if (!strcmp(key[i - 1], key[i]))
            rc = qp_fail(err, QP_BADFILE, "metadata key %s twice", key[i]);
    free(key);
    return rc;
}

static qp_status take_metadata(qp_gguf *g, cursor *c, uint64_t count)
{
    qp_status rc = QP_OK;
    for (uint64_t i = 0; i < count && !rc; i++) {
        g->value = grow(g->value, g->n_values, sizeof *g->value);
        qp_gguf_value *v = &g->value[g->n_values];
        *v = (qp_gguf_value){ 0 };
        rc = take_name(c, &v->key, "a metadata key");
        if (rc) break;
        g->n_values++;
        rc = take_value(c, v);
    }
    return rc ? rc : refuse_duplicate_keys(g, c->err);
}

/* ---- tensors ---- */

/* ggml's numbers, elements a block, bytes a block. */
typedef struct {
    const char *name;
    qp_storage storage;
    int block, bytes;
} tensor_type;
static const tensor_type types[] = {
    [0] = { "F32", QP_F32, 1, 4 },           [1] = { "F16", QP_F16, 1, 2 },
    [2] = { "Q4_0", QP_Q4_0, 32, 18 },       [3] = { "Q4_1", QP_Q4_1, 32, 20 },
    [6] = { "Q5_0", QP_OTHER, 32, 22 },      [7] = { "Q5_1", QP_OTHER, 32, 24 },
    [8] = { "Q8_0", QP_Q8_0, 32, 34 },       [9] = { "Q8_1", QP_OTHER, 32, 36 },
    [10] = { "Q2_K", QP_OTHER, 256, 84 },    [11] = { "Q3_K", QP_OTHER, 256, 110 },
    [12] = { "Q4_K", QP_OTHER, 256, 144 },   [13] = { "Q5_K", QP_OTHER, 256, 176 },
    [14] = { "Q6_K", QP_OTHER, 256, 210 },   [15] = { "Q8_K", QP_OTHER, 256, 292 },
    [16] = { "IQ2_XXS", QP_OTHER, 256, 66 }, [17] = { "IQ2_XS", QP_OTHER, 256, 74 },
    [18] = { "IQ3_XXS", QP_OTHER, 256, 98 }, [19] = { "IQ1_S", QP_OTHER, 256, 50 },
    [20] = { "IQ4_NL", QP_OTHER, 32, 18 },   [21] = { "IQ3_S", QP_OTHER, 256, 110 },
    [22] = { "IQ2_S", QP_OTHER, 256, 82 },   [23] = { "IQ4_XS", QP_OTHER, 256, 136 },
    [24] = { "I8", QP_OTHER, 1, 1 },         [25] = { "I16", QP_OTHER, 1, 2 },
    [26] = { "I32", QP_I32, 1, 4 },          [27] = { "I64", QP_I64, 1, 8 },
    [28] = { "F64", QP_F64, 1, 8 },          [29] = { "IQ1_M", QP_OTHER, 256, 56 },
    [30] = { "BF16", QP_BF16, 1, 2 },        [34] = { "TQ1_0", QP_OTHER, 256, 54 },
    [35] = { "TQ2_0", QP_OTHER, 256, 66 },   [39] = { "MXFP4", QP_OTHER, 32, 17 },
};

static const tensor_type *find_type(uint32_t type)
{
    return type < sizeof types / sizeof *types && types[type].name ? &types[type] : NULL;
}

/* The file's dimensions run from the innermost out. */
static qp_status take_shape(cursor *c, qp_file_tensor *t)
{
    uint32_t ndim;
    qp_status rc = take(c, &ndim, sizeof ndim, t->name);
    if (rc) return rc;
    if (ndim > DIMS)
        return qp_fail(c->err, QP_BADFILE, "tensor %s: %u dimensions, at most %d allowed", t->name,
                       ndim, DIMS);
    t->ndim = (int)ndim;
    for (int i = t->ndim - 1; i >= 0 && !rc; i--)
        rc = take(c, &t->shape[i], sizeof t->shape[i], t->name);
    return rc; /* those above 2^63 read as negative and are refused with the size */
}

/* One tensor's entry. Its data is left as an offset, for where the data begins is known only at the
 * end. */
static qp_status take_tensor(cursor *c, qp_file_tensor *t, uint64_t *offset)
{
    uint32_t type = 0;
    qp_status rc = take_shape(c, t);
    if (!rc) rc = take(c, &type, sizeof type, t->name);
    if (!rc) rc = take(c, offset, sizeof *offset, t->name);
    if (rc) return rc;
    const tensor_type *info = find_type(type);
    if (!info) return qp_fail(c->err, QP_BADFILE, "tensor %s: unknown type %u", t->name, type);
    t->storage = info->storage;
    t->type = info->name;
    if (!qp_file_tensor_size(t, info->block, info->bytes))
        return qp_fail(c->err, QP_BADFILE,
                       "tensor %s: its dimensions overflow, or a row is not whole blocks of %d",
                       t->name, info->block);
    return QP_OK;
}

static qp_status read_alignment(const qp_gguf *g, int64_t *alignment, qp_err *err)
{
    *alignment = DEFAULT_ALIGNMENT;
    if (!qp_gguf_find(g, "general.alignment")) return QP_OK;
    bool number = qp_gguf_int(g, "general.alignment", alignment);
    int64_t a = *alignment;
    if (!number || a < 8 || a > 1 << 20 || (a & (a - 1)))
        return qp_fail(err, QP_BADFILE, "general.alignment: a power of 2, 8 at least, wanted");
    return QP_OK;
}

/* Turns offsets into pointers, each checked against what is left of the file. */
static qp_status place(qp_gguf *g, cursor *c, const uint64_t *offset)
{
    int64_t alignment;
    qp_status rc = read_alignment(g, &alignment, c->err);
    if (rc || !g->n_tensors) return rc;
    uint64_t a = (uint64_t)alignment, pad = (a - (uint64_t)(c->at - g->map.data) % a) % a;
    if (pad > c->left) return cut(c, "the padding before the tensors");
    c->at += pad;
    c->left -= pad;
    for (int64_t i = 0; i < g->n_tensors; i++) {
        qp_file_tensor *t = &g->tensor[i];
        if (offset[i] % a)
            return qp_fail(c->err, QP_BADFILE,
                           "tensor %s: offset %llu is not a multiple of the alignment %llu",
                           t->name, (ull)offset[i], (ull)a);
        if (offset[i] > c->left || t->bytes > c->left - offset[i])
            return qp_fail(
                c->err, QP_BADFILE,
                "tensor %s: offset %llu and %zu bytes, but the file holds only %llu bytes of data",
                t->name, (ull)offset[i], t->bytes, (ull)c->left);
        t->data = c->at + offset[i];
    }
    return QP_OK;
}

static int by_place(const void *a, const void *b)
{
    const qp_file_tensor *x = *(qp_file_tensor *const *)a, *y = *(qp_file_tensor *const *)b;
    if (x->data != y->data) return (const char *)x->data < (const char *)y->data ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static qp_status refuse_overlap(const qp_gguf *g, qp_err *err)
{
    qp_file_tensor **t = qp_xcalloc((size_t)g->n_tensors, sizeof *t);
    for (int64_t i = 0; i < g->n_tensors; i++) t[i] = &g->tensor[i];
    qsort(t, (size_t)g->n_tensors, sizeof *t, by_place);
    qp_status rc = QP_OK;
    for (int64_t i = 1; i < g->n_tensors && !rc; i++)
        if ((const uint8_t *)t[i - 1]->data + t[i - 1]->bytes > (const uint8_t *)t[i]->data)
            rc = qp_fail(err, QP_BADFILE, "tensors %s and %s overlap", t[i - 1]->name, t[i]->name);
    free(t);
    return rc;
}

static qp_status take_tensors(qp_gguf *g, cursor *c, uint64_t count)
{
    uint64_t *offset = NULL;
    qp_status rc = QP_OK;
    for (uint64_t i = 0; i < count && !rc; i++) {
        g->tensor = grow(g->tensor, g->n_tensors, sizeof *g->tensor);
        offset = grow(offset, g->n_tensors, sizeof *offset);
        qp_file_tensor *t = &g->tensor[g->n_tensors];
        *t = (qp_file_tensor){ 0 };
        rc = take_name(c, &t->name, "a tensor's name");
        if (rc) break;
        rc = take_tensor(c, t, &offset[g->n_tensors++]);
    }
    if (!rc) rc = place(g, c, offset);
    free(offset);
    if (!rc) rc = qp_file_tensors_sort(g->tensor, g->n_tensors, c->err);
    return rc ? rc : refuse_overlap(g, c->err);
}

/* ---- the file ---- */

static qp_status read_file(qp_gguf *g, cursor *c)
{
    char magic[4];
    uint64_t tensors = 0, values = 0;
    if (take(c, magic, sizeof magic, "the magic") || memcmp(magic, "GGUF", sizeof magic))
        return qp_fail(c->err, QP_BADFILE, "not a GGUF file: it does not begin with \"GGUF\"");
    qp_status rc = take(c, &g->version, sizeof g->version, "the version");
    if (!rc && g->version != 2 && g->version != 3)
        return qp_fail(c->err, QP_BADFILE,
                       "GGUF version %u; 2 and 3 are supported, little-endian only", g->version);
    if (!rc) rc = take(c, &tensors, sizeof tensors, "the tensor count");
    if (!rc) rc = take(c, &values, sizeof values, "the metadata count");
    if (rc) return rc;
    /* The shortest entries: an empty name and a byte; an empty name and no dimension. */
    if (values > c->left / (8 + 4 + 1))
        return qp_fail(c->err, QP_BADFILE, "metadata count %llu: more than the file can hold",
                       (ull)values);
    if (tensors > c->left / (8 + 4 + 4 + 8))
        return qp_fail(c->err, QP_BADFILE, "tensor count %llu: more than the file can hold",
                       (ull)tensors);
    rc = take_metadata(g, c, values);
    return rc ? rc : take_tensors(g, c, tensors);
}

qp_status qp_gguf_open(qp_gguf *g, const char *path, qp_err *err)
{
    *g = (qp_gguf){ 0 };
    qp_status rc = qp_map_open(&g->map, path, err);
    if (rc) return rc;
    g->path = qp_xstrdup(path);
    cursor c = { g->map.data, g->map.len, err };
    rc = read_file(g, &c);
    if (!rc) return QP_OK;
    qp_gguf_release(g);
    return qp_wrap(err, "%s", path);
}

void qp_gguf_release(qp_gguf *g)
{
    for (int64_t i = 0; i < g->n_values; i++) {
        free(g->value[i].key);
        free(g->value[i].text);
    }
    free(g->value);
    qp_file_tensors_free(g->tensor, g->n_tensors);
    qp_map_release(&g->map);
    free(g->path);
    *g = (qp_gguf){ 0 };
}

const qp_file_tensor *qp_gguf_tensor(const qp_gguf *g, const char *name)
{
    return qp_file_tensors_find(g->tensor, g->n_tensors, name);
}

/* ---- values ---- */

const qp_gguf_value *qp_gguf_find(const qp_gguf *g, const char *key)
{
    for (int64_t i = 0; i < g->n_values; i++)
        if (!strcmp(g->value[i].key, key)) return &g->value[i];
    return NULL;
}

/* Element i as an integer; false for other types and above INT64_MAX. */
static bool integer(const qp_gguf_value *v, uint64_t i, int64_t *out)
{
    if (v->type >= sizeof value_bytes || !value_bytes[v->type]) return false;
    const uint8_t *p = v->data + i * value_bytes[v->type];
    union {
        int8_t i8;
        int16_t i16;
        int32_t i32;
        int64_t i64;
        uint64_t u;
    } x = { .u = 0 };
    memcpy(&x, p, value_bytes[v->type]);
    switch (v->type) {
    case QP_GGUF_I8:
        return *out = x.i8, true;
    case QP_GGUF_I16:
        return *out = x.i16, true;
    case QP_GGUF_I32:
        return *out = x.i32, true;
    case QP_GGUF_BOOL:
        return *out = x.u != 0, true;
    case QP_GGUF_F32:
    case QP_GGUF_F64:
        return false;
    default:
        return *out = x.i64, x.i64 >= 0 || v->type == QP_GGUF_I64; /* unsigned, padded with 0 */
    }
}

static bool floating(const qp_gguf_value *v, uint64_t i, double *out)
{
    float f;
    int64_t n;
    if (v->type == QP_GGUF_F32) {
        memcpy(&f, v->data + i * sizeof f, sizeof f);
        return *out = f, true;
    }
    if (v->type == QP_GGUF_F64) return memcpy(out, v->data + i * sizeof *out, sizeof *out), true;
    return integer(v, i, &n) ? *out = (double)n, true : false;
}

static const qp_gguf_value *scalar(const qp_gguf *g, const char *key)
{
    const qp_gguf_value *v = qp_gguf_find(g, key);
    return v && !v->is_array ? v : NULL;
}

bool qp_gguf_int(const qp_gguf *g, const char *key, int64_t *v)
{
    const qp_gguf_value *found = scalar(g, key);
    return found && integer(found, 0, v);
}

bool qp_gguf_double(const qp_gguf *g, const char *key, double *v)
{
    const qp_gguf_value *found = scalar(g, key);
    return found && floating(found, 0, v);
}

bool qp_gguf_string(const qp_gguf *g, const char *key, qp_gguf_text *v)
{
    const qp_gguf_value *found = scalar(g, key);
    if (!found || found->type != QP_GGUF_STRING) return false;
    *v = found->text[0];
    return true;
}

int64_t qp_gguf_array_int(const qp_gguf_value *v, uint64_t i)
{
    int64_t n;
    QP_ASSERT(i < v->count && integer(v, i, &n), "%s: element %llu of %llu is no integer", v->key,
              (ull)i, (ull)v->count);
    return n;
}

double qp_gguf_array_double(const qp_gguf_value *v, uint64_t i)
{
    double x;
    QP_ASSERT(i < v->count && floating(v, i, &x), "%s: element %llu of %llu is no number", v->key,
              (ull)i, (ull)v->count);
    return x;
}
