#include "autograd/param.h"
#include "base/buf.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

qp_params *qp_params_new(qp_storage compute)
{
    QP_ASSERT(compute < QP_NCOMPUTE, "parameters of type %s", qp_storages[compute].name);
    qp_params *p = qp_xcalloc(1, sizeof *p);
    p->compute = compute;
    return p;
}

qp_tensor *qp_params_add(qp_params *p, const char *name, int ndim, const int64_t *shape)
{
    QP_ASSERT(!p->sealed, "parameter %s comes after the store was sealed", name);
    QP_ASSERT(ndim >= 0 && ndim <= QP_MAX_DIMS, "parameter %s of %d dimensions", name, ndim);
    QP_ASSERT(!qp_params_find(p, name), "parameter %s twice", name);
    qp_tensor *t = qp_xmalloc(sizeof *t);
    *t = (qp_tensor){ .storage = p->compute, .ndim = ndim, .needs_grad = true, .is_param = true };
    if (ndim) memcpy(t->shape, shape, (size_t)ndim * sizeof *shape);
    p->item = qp_xrealloc(p->item, (size_t)p->count + 1, sizeof *p->item);
    p->item[p->count++] =
        (qp_param){ .name = qp_xstrdup(name), .t = t, .decay = ndim >= 2, .lr_scale = 1 };
    return t;
}

static qp_param *item_of(const qp_params *p, const qp_tensor *t)
{
    for (int64_t i = 0; i < p->count; i++)
        if (p->item[i].t == t) return &p->item[i];
    qp_fatal(QP_BUG, __FILE__, __LINE__, "%s is no parameter of this store", qp_str(t));
}

void qp_params_tune(qp_params *p, const qp_tensor *t, bool decay, double lr_scale)
{
    qp_param *item = item_of(p, t);
    QP_ASSERT(!p->sealed, "parameter %s: settings after the store was sealed", item->name);
    QP_ASSERT(lr_scale >= 0, "parameter %s: lr_scale %g", item->name, lr_scale);
    item->decay = decay;
    item->lr_scale = lr_scale;
}

/* The group of items with these settings: behind what is sorted, in order of declaration. */
static void add_group(qp_params *p, bool decay, double lr_scale, qp_param *sorted, int64_t *at)
{
    qp_param_group g = { .lo = p->n, .decay = decay, .lr_scale = lr_scale };
    for (int64_t i = 0; i < p->count; i++) {
        if (p->item[i].decay != decay || p->item[i].lr_scale != lr_scale) continue;
        sorted[*at] = p->item[i];
        sorted[(*at)++].lo = p->n;
        p->n += qp_numel(p->item[i].t);
    }
    g.hi = p->n;
    if (g.hi == g.lo) return;
    QP_ASSERT(p->groups < QP_PARAM_GROUPS, "parameters with more than %d different settings",
              QP_PARAM_GROUPS);
    p->group[p->groups++] = g;
}

/* Sorts by group and gives every item its range. */
static void lay_out(qp_params *p)
{
    qp_param *sorted = qp_xmalloc((size_t)p->count * sizeof *sorted);
    int64_t at = 0;
    for (int decay = 1; decay >= 0; decay--)
        for (int64_t i = 0; i < p->count; i++) {
            bool seen = p->item[i].decay != decay;
            for (int64_t j = 0; j < at && !seen; j++)
                seen = sorted[j].decay == decay && sorted[j].lr_scale == p->item[i].lr_scale;
            if (!seen) add_group(p, decay, p->item[i].lr_scale, sorted, &at);
        }
    free(p->item);
    p->item = sorted;
}

/* Straight from the kernel: zero, aligned, and no page is touched before it is written. Of an
   outline there are addresses only, as many as are asked for. */
static qp_status map(const qp_params *p, void **at, qp_storage storage, qp_err *err)
{
    const size_t bytes = qp_storage_bytes(storage, p->n);
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | (p->outline ? MAP_NORESERVE : 0);
    if (!bytes) return QP_OK;
    void *mem = mmap(NULL, bytes, p->outline ? PROT_NONE : PROT_READ | PROT_WRITE, flags, -1, 0);
    if (mem == MAP_FAILED)
        return qp_fail(err, QP_NOMEM, "%.1f MB for %lld trained values: %s", (double)bytes / 1e6,
                       (long long)p->n, strerror(errno));
    *at = mem;
    return QP_OK;
}

qp_status qp_params_seal(qp_params *p, qp_err *err)
{
    QP_ASSERT(!p->sealed, "a parameter store sealed twice");
    lay_out(p);
    p->sealed = true;
    const qp_storage sum = qp_sum_storage(p->compute);
    qp_status rc = map(p, &p->master, sum, err);
    if (!rc) rc = map(p, &p->grad, sum, err);
    if (!rc && sum != p->compute) rc = map(p, &p->value, p->compute, err);
    if (rc) return rc;
    if (sum == p->compute) p->value = p->master;
    for (int64_t i = 0; i < p->count; i++) {
        qp_param *item = &p->item[i];
        if (!p->n) break;
        item->t->data = (char *)p->value + qp_storage_bytes(p->compute, item->lo);
        item->t->grad_home = (char *)p->grad + qp_storage_bytes(sum, item->lo);
    }
    return QP_OK;
}

qp_param *qp_params_find(const qp_params *p, const char *name)
{
    for (int64_t i = 0; i < p->count; i++)
        if (!strcmp(p->item[i].name, name)) return &p->item[i];
    return NULL;
}

void qp_params_set(qp_params *p, qp_param *item, qp_storage from, const void *data)
{
    QP_ASSERT(p->sealed, "parameter %s set before the store was sealed", item->name);
    QP_ASSERT(from <= QP_F16, "parameter %s set from %s", item->name, qp_storages[from].name);
    const qp_storage sum = qp_sum_storage(p->compute);
    void *to = (char *)p->master + qp_storage_bytes(sum, item->lo);
    qp_cpu_backend()->k[sum]->cast_in(to, 0, data, from, qp_numel(item->t));
}

/* Elements lo .. hi-1 of value = master, rounded. */
static void publish(qp_params *p, int64_t lo, int64_t hi)
{
    if (p->value == p->master) return;
    qp_cpu_backend()->k[p->compute]->cast_in((char *)p->value + qp_storage_bytes(p->compute, lo), 0,
                                             (float *)p->master + lo, QP_F32, hi - lo);
}

void qp_params_publish(qp_params *p) { publish(p, 0, p->n); }

void qp_params_fill(qp_params *p, const qp_tensor *t, qp_init init, uint64_t seed)
{
    const qp_param *item = item_of(p, t);
    const qp_storage sum = qp_sum_storage(p->compute);
    QP_ASSERT(p->sealed, "parameter %s filled before the store was sealed", item->name);
    qp_init_draw(init, seed, item->name, sum, (char *)p->master + qp_storage_bytes(sum, item->lo),
                 qp_numel(t));
    publish(p, item->lo, item->lo + qp_numel(t));
}

void qp_params_begin_step(qp_params *p)
{
    for (int64_t i = 0; i < p->count; i++) p->item[i].t->grad = NULL;
}

void qp_params_end_grads(qp_params *p)
{
    const qp_storage sum = qp_sum_storage(p->compute);
    for (int64_t i = 0; i < p->count; i++) {
        qp_tensor *t = p->item[i].t;
        if (t->grad) continue;
        t->grad = t->grad_home;
        if (t->grad) memset(t->grad, 0, qp_storage_bytes(sum, qp_numel(t)));
    }
}

void qp_params_free(qp_params *p)
{
    if (!p) return;
    const size_t sums = qp_storage_bytes(qp_sum_storage(p->compute), p->n);
    if (p->value && p->value != p->master) munmap(p->value, qp_storage_bytes(p->compute, p->n));
    if (p->master) munmap(p->master, sums);
    if (p->grad) munmap(p->grad, sums);
    for (int64_t i = 0; i < p->count; i++) {
        free(p->item[i].name);
        free(p->item[i].t);
    }
    free(p->item);
    free(p);
}
