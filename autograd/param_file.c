/* A store to a safetensors file and back. */
#include "autograd/param.h"
#include "base/buf.h"
#include "base/safetensors.h"
#include <stdlib.h>
#include <string.h>

/* In front of the names of what is not a parameter. */
#define BESIDE "optimizer/"
static const char STEP[] = BESIDE "step";

/* A flat array and the name of one parameter's part in it; the caller frees the name. */
typedef struct {
    const char *name; /* NULL: the masters */
    void *data;
} array;

static array array_of(const qp_params *p, const qp_params_beside *b, int k)
{
    return k < 0 ? (array){ NULL, p->master } : (array){ b->name[k], b->data[k] };
}

static char *name_in(const array *a, const qp_param *item)
{
    return a->name ? qp_xformat(BESIDE "%s/%s", a->name, item->name) : qp_xstrdup(item->name);
}

static void *part_of(const array *a, const qp_params *p, const qp_param *item)
{
    return (char *)a->data + qp_storage_bytes(qp_sum_storage(p->compute), item->lo);
}

qp_status qp_params_save_beside(const qp_params *p, const qp_params_beside *b, const char *path,
                                qp_err *err)
{
    QP_ASSERT(p->sealed, "%s: a store saved before it was sealed", path);
    qp_save_tensor *out = qp_xcalloc((size_t)p->count * (size_t)(b->count + 1) + 1, sizeof *out);
    int64_t n = 0, step = b->step ? *b->step : 0;
    for (int k = -1; k < b->count; k++) {
        const array a = array_of(p, b, k);
        for (int64_t i = 0; i < p->count; i++) {
            const qp_param *item = &p->item[i];
            qp_save_tensor *t = &out[n++];
            *t = (qp_save_tensor){ .name = name_in(&a, item),
                                   .storage = qp_sum_storage(p->compute),
                                   .ndim = item->t->ndim,
                                   .data = part_of(&a, p, item) };
            memcpy(t->shape, item->t->shape, sizeof item->t->shape);
        }
    }
    const int64_t named = n;
    if (b->step) out[n++] = (qp_save_tensor){ .name = STEP, .storage = QP_I64, .data = &step };
    const qp_status rc = qp_safetensors_write(path, out, n, err);
    for (int64_t i = 0; i < named; i++) free((char *)(uintptr_t)out[i].name);
    free(out);
    return rc;
}

/* "f32(3, 4)" of a tensor in a file. */
static const char *shape_of(const qp_file_tensor *f)
{
    qp_tensor t = { .storage = f->storage, .ndim = f->ndim };
    memcpy(t.shape, f->shape, sizeof t.shape);
    return qp_str(&t);
}

static qp_status check(const qp_file_tensor *f, const char *name, const qp_tensor *t, qp_err *err)
{
    if (!f) return qp_fail(err, QP_BADFILE, "no tensor %s, wanted: %s", name, qp_str(t));
    if (f->ndim != t->ndim || memcmp(f->shape, t->shape, (size_t)t->ndim * sizeof *t->shape))
        return qp_fail(err, QP_BADFILE, "tensor %s is %s, wanted: %s", name, shape_of(f),
                       qp_str(t));
    if (f->storage > QP_F16)
        return qp_fail(err, QP_BADFILE, "tensor %s has type %s, wanted: f64, f32, bf16 or f16",
                       name, f->type);
    return QP_OK;
}

/* Checks array a against the file, or copies it from there. */
static qp_status visit(const qp_params *p, const array *a, const qp_safetensors *file, bool copy,
                       qp_err *err)
{
    const qp_storage sum = qp_sum_storage(p->compute);
    qp_status rc = QP_OK;
    for (int64_t i = 0; i < p->count && !rc; i++) {
        const qp_param *item = &p->item[i];
        char *name = name_in(a, item);
        const qp_file_tensor *f = qp_safetensors_find(file, name);
        if (!copy)
            rc = check(f, name, item->t, err);
        else
            qp_cpu_backend()->k[sum]->cast_in(part_of(a, p, item), 0, f->data, f->storage,
                                              f->numel);
        free(name);
    }
    return rc;
}

static qp_status check_others(const qp_params *p, const qp_safetensors *file, qp_err *err)
{
    for (int64_t i = 0; i < file->count; i++) {
        const qp_file_tensor *f = &file->tensor[i];
        if (!strncmp(f->name, BESIDE, strlen(BESIDE)) || qp_params_find(p, f->name)) continue;
        return qp_fail(err, QP_BADFILE, "tensor %s %s is not among the %lld parameters", f->name,
                       shape_of(f), (long long)p->count);
    }
    return QP_OK;
}

static qp_status check_step(const qp_safetensors *file, qp_err *err)
{
    const qp_file_tensor *f = qp_safetensors_find(file, STEP);
    if (!f) return qp_fail(err, QP_BADFILE, "no tensor %s: saved without an optimizer?", STEP);
    if (f->storage != QP_I64 || f->numel != 1)
        return qp_fail(err, QP_BADFILE, "tensor %s is %s, wanted: i64()", STEP, shape_of(f));
    return QP_OK;
}

static qp_status load(qp_params *p, const qp_params_beside *b, const qp_safetensors *file,
                      qp_err *err)
{
    qp_status rc = b->step ? check_step(file, err) : QP_OK;
    for (int copy = 0; copy < 2; copy++)
        for (int k = -1; k < b->count && !rc; k++) {
            const array a = array_of(p, b, k);
            rc = visit(p, &a, file, copy, err);
            if (!rc && !copy) rc = check_others(p, file, err);
        }
    if (rc) return rc;
    if (b->step) memcpy(b->step, qp_safetensors_find(file, STEP)->data, sizeof *b->step);
    qp_params_publish(p);
    return QP_OK;
}

qp_status qp_params_load_beside(qp_params *p, const qp_params_beside *b, const char *path,
                                qp_err *err)
{
    qp_safetensors file;
    QP_ASSERT(p->sealed, "%s: loaded before the store was sealed", path);
    qp_status rc = qp_safetensors_open(&file, path, NULL, err);
    if (rc) return rc;
    rc = load(p, b, &file, err);
    qp_safetensors_release(&file);
    return rc ? qp_wrap(err, "%s", path) : QP_OK;
}

static const qp_params_beside nothing = { 0 };

qp_status qp_params_save(const qp_params *p, const char *path, qp_err *err)
{
    return qp_params_save_beside(p, &nothing, path, err);
}

qp_status qp_params_load(qp_params *p, const char *path, qp_err *err)
{
    return qp_params_load_beside(p, &nothing, path, err);
}
