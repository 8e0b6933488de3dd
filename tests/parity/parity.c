#include "tests/parity/parity.h"
#include <dirent.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool parity_fail(parity *p, const char *fmt, ...)
{
    if (p->failure[0]) return false;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(p->failure, sizeof p->failure, fmt, ap);
    va_end(ap);
    return false;
}

bool parity_ok(parity *p, qp_status rc, const qp_err *err)
{
    return rc == QP_OK || parity_fail(p, "%s", err->msg);
}

/* The longest group of tolerances.json that begins p->path and has this metric. */
static const qp_value *tolerance_row(const parity *p, const char *metric)
{
    const qp_value *best = NULL;
    size_t longest = 0;
    for (const qp_value *g = p->tolerances->child; g; g = g->next) {
        size_t n = strlen(g->key);
        const qp_value *row = qp_json_get(g, metric);
        if (row && n >= longest && !strncmp(p->path, g->key, n)) best = row, longest = n;
    }
    return best;
}

const char *parity_but(const parity *p, const char *metric)
{
    const qp_value *but = qp_json_get(tolerance_row(p, metric), "but");
    return but ? but->str : NULL;
}

static void judge(parity *p, const char *metric, const char *what, double difference,
                  double tolerance, int64_t n)
{
    p->compared += n;
    double ratio = difference == 0 ? 0 : tolerance > 0 ? difference / tolerance : INFINITY;
    bool over = !(difference <= tolerance); /* NaN is over */
    if (over) ratio = isnan(ratio) ? INFINITY : ratio;
    if (!p->worst[0] || ratio > p->ratio) {
        p->ratio = ratio;
        p->difference = difference;
        p->tolerance = tolerance;
        snprintf(p->worst, sizeof p->worst, "%s of %s", metric, what);
    }
    if (over)
        parity_fail(p, "%s of %s: difference %.3g, allowed %.3g", metric, what, difference,
                    tolerance);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The `share` quantile of |got - want|. */
static double quantile(const double *got, const double *want, int64_t n, double share)
{
    double *d = qp_xmalloc((size_t)n * sizeof *d);
    for (int64_t i = 0; i < n; i++) d[i] = fabs(got[i] - want[i]);
    qsort(d, (size_t)n, sizeof *d, by_size);
    double q = d[(int64_t)ceil(share * (double)n) - 1];
    free(d);
    return q;
}

void parity_compare(parity *p, const char *metric, const char *what, const double *got,
                    const double *want, int64_t n)
{
    const qp_value *row = tolerance_row(p, metric);
    const qp_value *value = qp_json_get(row, "value"), *unit_row = qp_json_get(row, "unit");
    if (!value || !unit_row) {
        parity_fail(p, "tolerances.json has no '%s' for %s", metric, p->path);
        return;
    }
    const char *unit = unit_row->str;
    double tol = value->number, diff = 0, largest = 0, sum = 0, norm = 0, relative = 0;
    bool nan = false;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs(got[i] - want[i]);
        if (got[i] == want[i] || (isnan(got[i]) && isnan(want[i]))) d = 0; /* not finite, alike */
        nan |= isnan(d);
        diff = fmax(diff, d);
        if (isfinite(want[i])) largest = fmax(largest, fabs(want[i]));
        relative = fmax(relative, d == 0 ? 0 : d / fabs(want[i]));
        sum += d * d;
        norm += want[i] * want[i];
    }
    const qp_value *share = qp_json_get(row, "share");
    if (share && n > 0) diff = quantile(got, want, n, share->number);
    if (!strcmp(unit, "rel_max"))
        diff /= fmax(1, largest);
    else if (!strcmp(unit, "rel"))
        diff = relative;
    else if (!strcmp(unit, "rel_l2"))
        diff = sum == 0 ? 0 : sqrt(sum / norm);
    else if (!strcmp(unit, "rms"))
        diff = n ? sqrt(sum / (double)n) : 0;
    else if (strcmp(unit, "abs") && strcmp(unit, "exact")) {
        parity_fail(p, "tolerances.json: unknown unit '%s'", unit);
        return;
    }
    judge(p, metric, what, nan ? (double)NAN : diff, tol, n);
}

void parity_number(parity *p, const char *metric, const char *what, double got, double want)
{
    parity_compare(p, metric, what, &got, &want, 1);
}

void parity_ints(parity *p, const char *what, const int32_t *got, int64_t n_got,
                 const int32_t *want, int64_t n_want)
{
    int64_t i = 0;
    while (i < n_got && i < n_want && got[i] == want[i]) i++;
    bool same = i == n_got && i == n_want;
    judge(p, "ids", what, same ? 0 : 1, 0, n_want);
    if (same) return;
    snprintf(p->failure, sizeof p->failure,
             "%s: %lld ids, wanted %lld; first difference at %lld: %lld, wanted %lld", what,
             (long long)n_got, (long long)n_want, (long long)i, i < n_got ? (long long)got[i] : -1,
             i < n_want ? (long long)want[i] : -1);
}

void parity_bytes(parity *p, const char *what, const char *got, size_t n_got, const char *want,
                  size_t n_want)
{
    bool same = n_got == n_want && (!n_got || !memcmp(got, want, n_got));
    judge(p, "text", what, same ? 0 : 1, 0, (int64_t)n_want);
    if (!same)
        snprintf(p->failure, sizeof p->failure, "%s: '%.*s', wanted '%.*s'", what,
                 (int)(n_got < 200 ? n_got : 200), got, (int)(n_want < 200 ? n_want : 200), want);
}

char *parity_path(const parity *p, const char *fmt, ...)
{
    char relative[1000];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(relative, sizeof relative, fmt, ap);
    va_end(ap);
    return qp_path_join(p->golden, relative);
}

qp_value *parity_json(parity *p, const char *relative)
{
    qp_err err = { 0 };
    qp_value *v = NULL;
    char *path = parity_path(p, "%s", relative);
    parity_ok(p, qp_json_load(&v, path, &err), &err);
    free(path);
    return v;
}

bool parity_open(parity *p, qp_safetensors *st, const char *relative)
{
    qp_err err = { 0 };
    char *path = parity_path(p, "%s", relative);
    bool ok = parity_ok(p, qp_safetensors_open(st, path, NULL, &err), &err);
    free(path);
    return ok;
}

static double widen_one(const void *data, qp_storage s, int64_t i)
{
    uint32_t bits;
    float f;
    switch (s) {
    case QP_F64:
        return ((const double *)data)[i];
    case QP_F32:
        return (double)((const float *)data)[i];
    case QP_I64:
        return (double)((const int64_t *)data)[i];
    case QP_I32:
        return (double)((const int32_t *)data)[i];
    case QP_U8:
    case QP_BOOL:
        return (double)((const uint8_t *)data)[i];
    case QP_BF16:
        bits = (uint32_t)((const uint16_t *)data)[i] << 16;
        memcpy(&f, &bits, sizeof f);
        return (double)f;
    case QP_F16: {
        uint16_t h = ((const uint16_t *)data)[i];
        int e = h >> 10 & 31, m = h & 1023;
        double v = e == 31 ? (m ? (double)NAN : (double)INFINITY)
                   : e     ? ldexp(1024 + m, e - 25)
                           : ldexp(m, -24);
        return h >> 15 ? -v : v;
    }
    default:
        QP_ASSERT(false, "golden data hold no %s", qp_storages[s].name);
    }
}

double *parity_widen(const void *data, qp_storage s, int64_t n)
{
    double *v = qp_xcalloc((size_t)(n ? n : 1), sizeof *v);
    for (int64_t i = 0; i < n; i++) v[i] = widen_one(data, s, i);
    return v;
}

double *parity_f64(parity *p, const qp_safetensors *st, const char *name, int64_t *n)
{
    const qp_file_tensor *t = qp_safetensors_find(st, name);
    if (n) *n = t ? t->numel : 0;
    if (t) return parity_widen(t->data, t->storage, t->numel);
    parity_fail(p, "%s: no tensor '%s'", st->path, name);
    return NULL;
}

int32_t *parity_i32(parity *p, const qp_safetensors *st, const char *name, int64_t *n)
{
    int64_t count;
    double *wide = parity_f64(p, st, name, &count);
    if (n) *n = count;
    if (!wide) return NULL;
    int32_t *v = qp_xcalloc((size_t)(count ? count : 1), sizeof *v);
    for (int64_t i = 0; i < count; i++) v[i] = (int32_t)wide[i];
    free(wide);
    return v;
}

double parity_get(parity *p, const qp_value *object, const char *key)
{
    const qp_value *v = qp_json_get(object, key);
    if (v && v->kind == QP_JSON_NUMBER) return v->number;
    parity_fail(p, "no number '%s' in the group's JSON", key);
    return (double)NAN;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void parity_each(parity *p, const char *folder, const char *ending,
                 void (*fn)(parity *p, const char *name, void *arg), void *arg)
{
    char *path = parity_path(p, "%s", folder), **names = NULL;
    size_t n = 0, end = strlen(ending);
    DIR *d = opendir(path);
    if (!d) parity_fail(p, "%s: no such folder", path);
    for (struct dirent *e; d && (e = readdir(d));) {
        size_t len = strlen(e->d_name);
        if (e->d_name[0] == '.' || len < end || strcmp(e->d_name + len - end, ending)) continue;
        names = qp_xrealloc(names, n + 1, sizeof *names);
        names[n++] = qp_xstrdup(e->d_name);
    }
    if (d) closedir(d);
    if (n) qsort(names, n, sizeof *names, by_name);
    for (size_t i = 0; i < n; i++) {
        fn(p, names[i], arg);
        free(names[i]);
    }
    free(names);
    free(path);
}

void parity_context(qp_ctx *c)
{
    qp_err err = { 0 };
    if (qp_ctx_init(c, qp_cpu_backend(), 0, &err))
        qp_fatal(err.status, __FILE__, __LINE__, "%s", err.msg);
}
