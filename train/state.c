#include "train/state.h"
#include <stdlib.h>
#include <string.h>

enum { FORMAT = 1 };

typedef qp_status (*transfer)(qp_h5 *h, const char *name, const qp_param *p, qp_storage s,
                              void *data, qp_err *err);

static qp_status put(qp_h5 *h, const char *name, const qp_param *p, qp_storage s, void *data,
                     qp_err *err)
{
    return qp_h5_put(h, name, s, p->t->ndim, p->t->shape, data, err);
}

static qp_status get(qp_h5 *h, const char *name, const qp_param *p, qp_storage s, void *data,
                     qp_err *err)
{
    return qp_h5_get(h, name, s, qp_numel(p->t), data, err);
}

/* A parameter's part of one flat array of the store's layout: "master/model.norm.weight". */
static qp_status part(qp_h5 *h, const char *group, const qp_params *ps, const qp_param *p,
                      void *flat, transfer move, qp_err *err)
{
    qp_storage s = qp_sum_storage(ps->compute);
    char *name = qp_xformat("/%s/%s", group, p->name);
    qp_status rc = move(h, name, p, s, (char *)flat + qp_storage_bytes(s, p->lo), err);
    free(name);
    return rc;
}

/* Data sets in the store's order, each parameter's beside each other. */
static qp_status each_array(qp_h5 *h, const qp_optim *o, transfer move, qp_err *err)
{
    const qp_params *ps = o->params;
    qp_status rc = QP_OK;
    for (int64_t i = 0; !rc && i < ps->count; i++) {
        const qp_param *p = &ps->item[i];
        rc = part(h, "master", ps, p, ps->master, move, err);
        for (int k = 0; !rc && k < o->type->states; k++)
            rc = part(h, o->type->state_name[k], ps, p, o->state[k], move, err);
    }
    return rc;
}

static qp_status describe(qp_h5 *h, const qp_progress *p, const qp_optim *o, const char *trajectory,
                          const char *kernels, qp_err *err)
{
    qp_status rc = qp_h5_put_int(h, "format", FORMAT, err);
    if (!rc) rc = qp_h5_put_string(h, "optimizer", o->type->name, err);
    if (!rc) rc = qp_h5_put_string(h, "trajectory", trajectory, err);
    if (!rc) rc = qp_h5_put_string(h, "kernels", kernels, err);
#define PUT_INT(name)                                                                              \
    if (!rc) rc = qp_h5_put_int(h, #name, p->name, err);
#define PUT_REAL(name)                                                                             \
    if (!rc) rc = qp_h5_put_double(h, #name, p->name, err);
    QP_PROGRESS(PUT_INT, PUT_REAL)
    return rc;
}

qp_status qp_state_save(const char *dir, const qp_progress *p, const qp_optim *o,
                        const char *trajectory, const char *kernels, qp_err *err)
{
    qp_h5 *h;
    qp_status rc = qp_h5_create(&h, o->params->count * (1 + o->type->states), err);
    if (rc) return rc;
    rc = describe(h, p, o, trajectory, kernels, err);
    if (!rc) rc = each_array(h, o, put, err);
    if (rc) {
        qp_h5_free(h);
        return rc;
    }
    char *path = qp_path_join(dir, "state.h5");
    rc = qp_h5_save(h, path, err);
    free(path);
    return rc;
}

static qp_status open_state(qp_h5 **h, const char *dir, qp_err *err)
{
    int64_t format = 0;
    char *path = qp_path_join(dir, "state.h5");
    qp_status rc = qp_h5_open(h, path, err);
    if (!rc && (rc = qp_h5_get_int(*h, "format", &format, err))) qp_h5_free(*h);
    if (!rc && format != FORMAT) {
        qp_h5_free(*h);
        rc = qp_fail(err, QP_BADFILE, "%s: format %lld, this program reads %d", path,
                     (long long)format, FORMAT);
    }
    free(path);
    return rc;
}

qp_status qp_state_peek(const char *dir, qp_progress *p, char **trajectory, char **kernels,
                        qp_err *err)
{
    qp_h5 *h;
    *trajectory = *kernels = NULL;
    qp_status rc = open_state(&h, dir, err);
    if (rc) return rc;
#define GET_INT(name)                                                                              \
    if (!rc) rc = qp_h5_get_int(h, #name, &p->name, err);
#define GET_REAL(name)                                                                             \
    if (!rc) rc = qp_h5_get_double(h, #name, &p->name, err);
    QP_PROGRESS(GET_INT, GET_REAL)
    if (!rc) rc = qp_h5_get_string(h, "trajectory", trajectory, err);
    if (!rc) rc = qp_h5_get_string(h, "kernels", kernels, err);
    qp_h5_free(h);
    return rc ? qp_wrap(err, "%s/state.h5", dir) : QP_OK;
}

qp_status qp_state_load(const char *dir, qp_optim *o, qp_err *err)
{
    qp_h5 *h;
    qp_status rc = open_state(&h, dir, err);
    if (rc) return rc;
    rc = each_array(h, o, get, err);
    qp_h5_free(h);
    if (rc) return qp_wrap(err, "%s/state.h5", dir);
    qp_params_publish(o->params);
    return QP_OK;
}

/* The value of `key` in "key: value" lines; its length in *n. NULL: not there. */
static const char *value_of(const char *lines, const char *key, size_t key_len, size_t *n)
{
    for (const char *s = lines; *s; s += strcspn(s, "\n"), s += *s == '\n')
        if (!strncmp(s, key, key_len) && s[key_len] == ':') {
            s += key_len + 1 + (s[key_len + 1] == ' ');
            *n = strcspn(s, "\n");
            return s;
        }
    return NULL;
}

void qp_trajectory_diff(const char *there, const char *here, qp_buf *out)
{
    for (const char *s = here; *s; s += strcspn(s, "\n"), s += *s == '\n') {
        size_t key = strcspn(s, ":"), a = 0, b = 0;
        const char *was = value_of(there, s, key, &a), *is = value_of(here, s, key, &b);
        if (was && is && a == b && !memcmp(was, is, a)) continue;
        qp_buf_printf(out, "%s%.*s: %.*s there, %.*s here", out->len ? "; " : "", (int)key, s,
                      was ? (int)a : 7, was ? was : "nothing", (int)b, is);
    }
}
