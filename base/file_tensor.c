#include "base/file_tensor.h"
#include <stdlib.h>
#include <string.h>

bool qp_file_tensor_size(qp_file_tensor *t, int block, int bytes)
{
    int64_t total;
    t->numel = 1;
    for (int i = 0; i < t->ndim; i++)
        if (t->shape[i] < 0 || __builtin_mul_overflow(t->numel, t->shape[i], &t->numel))
            return false;
    int64_t row = t->ndim ? t->shape[t->ndim - 1] : 1;
    if (row % block) return false;
    if (__builtin_mul_overflow(t->numel / block, bytes, &total)) return false;
    t->bytes = (size_t)total;
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const qp_file_tensor *)a)->name, ((const qp_file_tensor *)b)->name);
}

qp_status qp_file_tensors_sort(qp_file_tensor *t, int64_t count, qp_err *err)
{
    if (count) qsort(t, (size_t)count, sizeof *t, by_name);
    for (int64_t i = 1; i < count; i++)
        if (!strcmp(t[i - 1].name, t[i].name))
            return qp_fail(err, QP_BADFILE, "tensor %s twice", t[i].name);
    return QP_OK;
}

const qp_file_tensor *qp_file_tensors_find(const qp_file_tensor *t, int64_t count, const char *name)
{
    qp_file_tensor wanted = { .name = (char *)name };
    return count ? bsearch(&wanted, t, (size_t)count, sizeof *t, by_name) : NULL;
}

void qp_file_tensors_free(qp_file_tensor *t, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        free(t[i].name);
        free(t[i].owned);
    }
    free(t);
}
