#include "base/safetensors.h"
#include "base/json.h"
#include <stdlib.h>
#include <string.h>

/* Larger elements first, else the caller's order: then every tensor lies aligned without padding.
 */
static int by_alignment(const void *a, const void *b)
{
    const qp_save_tensor *x = *(const qp_save_tensor *const *)a,
                         *y = *(const qp_save_tensor *const *)b;
    int dx = qp_storages[x->storage].bytes, dy = qp_storages[y->storage].bytes;
    return dx != dy ? (dx < dy) - (dx > dy) : (x > y) - (x < y);
}

static size_t bytes_of(const qp_save_tensor *t)
{
    const qp_storage_info *info = &qp_storages[t->storage];
    QP_ASSERT(info->safetensors, "tensor %s: safetensors has no type %s", t->name, info->name);
    qp_file_tensor f = { .ndim = t->ndim };
    memcpy(f.shape, t->shape, sizeof f.shape);
    QP_ASSERT(qp_file_tensor_size(&f, 1, info->bytes),
              "tensor %s: its dimensions are negative or overflow", t->name);
    return f.bytes;
}

static void describe(qp_json_writer *w, const qp_save_tensor *t, size_t begin, size_t end)
{
    qp_json_key(w, t->name);
    qp_json_open_object(w);
    qp_json_key(w, "dtype");
    qp_json_cstring(w, qp_storages[t->storage].safetensors);
    qp_json_key(w, "shape");
    qp_json_open_array(w);
    for (int i = 0; i < t->ndim; i++) qp_json_int(w, t->shape[i]);
    qp_json_close_array(w);
    qp_json_key(w, "data_offsets");
    qp_json_open_array(w);
    qp_json_int(w, (int64_t)begin);
    qp_json_int(w, (int64_t)end);
    qp_json_close_array(w);
    qp_json_close_object(w);
}

/* The length and the header, padded with spaces so that the data begins at a multiple of 8. */
static void header(qp_buf *out, const qp_save_tensor *const *t, int64_t count)
{
    uint64_t len = 0;
    qp_buf_add(out, &len, sizeof len);
    qp_json_writer w = { .out = out };
    qp_json_open_object(&w);
    qp_json_key(&w, "__metadata__");
    qp_json_open_object(&w);
    qp_json_key(&w, "format");
    qp_json_cstring(&w, "pt"); /* transformers refuses files without it */
    qp_json_close_object(&w);
    size_t at = 0;
    for (int64_t i = 0; i < count; i++) {
        size_t bytes = bytes_of(t[i]);
        describe(&w, t[i], at, at + bytes);
        at += bytes;
    }
    qp_json_close_object(&w);
    while (out->len % 8) qp_buf_char(out, ' ');
    len = out->len - sizeof len;
    memcpy(out->data, &len, sizeof len);
}

qp_status qp_safetensors_write(const char *path, const qp_save_tensor *tensors, int64_t count,
                               qp_err *err)
{
    const qp_save_tensor **t = qp_xcalloc((size_t)count, sizeof *t);
    for (int64_t i = 0; i < count; i++) t[i] = &tensors[i];
    qsort(t, (size_t)count, sizeof *t, by_alignment);
    qp_buf head = { 0 };
    header(&head, t, count);

    qp_out out;
    qp_status rc = qp_out_open(&out, path, err);
    if (!rc) rc = qp_out_add(&out, head.data, head.len, err);
    for (int64_t i = 0; i < count && !rc; i++)
        rc = qp_out_add(&out, t[i]->data, bytes_of(t[i]), err);
    if (!rc) rc = qp_out_finish(&out, err);
    qp_buf_release(&head);
    free(t);
    return rc;
}
