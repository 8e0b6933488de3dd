#include "eval/perplexity.h"
#include "eval/score.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Tokens begin .. end-1; those from `scored` on count. `weight` is what the window's mean counts
 * for. */
typedef struct {
    int64_t begin, end, scored;
    double weight;
} window;

typedef struct {
    window *w;
    int64_t n;
} windows;

static void add_window(windows *list, window w)
{
    if (w.scored <= w.begin) w.scored = w.begin + 1; /* nothing predicts a window's first token */
    if (w.scored >= w.end) return;
    if (!(list->n & (list->n - 1)))
        list->w = qp_xrealloc(list->w, (size_t)(list->n ? 2 * list->n : 1), sizeof *list->w);
    list->w[list->n++] = w;
}

/* Windows every `stride` tokens until one ends the text; each counts the tokens that the one before
 * did not reach. */
static void strided(windows *list, int64_t n, int64_t context, int64_t stride, bool as_published)
{
    int64_t reached = 0;
    for (int64_t begin = 0; reached < n; begin += stride) {
        int64_t end = begin + context < n ? begin + context : n,
                from = reached > begin ? reached : begin + 1;
        /* The page weighs a window by (tokens that are new - 1), one too few wherever the first new
         * token has context. */
        add_window(list, (window){ begin, end, from,
                                   (double)(as_published ? end - reached - 1 : end - from) });
        reached = end;
    }
}

static void hf(windows *list, int64_t n, int64_t context, int64_t stride)
{
    strided(list, n, context, stride, true);
}
static void hf_exact(windows *list, int64_t n, int64_t context, int64_t stride)
{
    strided(list, n, context, stride, false);
}

static void paper(windows *list, int64_t n, int64_t context, int64_t stride)
{
    (void)stride;
    for (int64_t b = 0; b + context <= n; b += context)
        add_window(list, (window){ b, b + context, b + 1, (double)(context - 1) });
}

static void llama_cpp(windows *list, int64_t n, int64_t context, int64_t stride)
{
    (void)stride;
    if (n < 2 * context) return; /* the program refuses such a text */
    for (int64_t b = 0; b + context <= n; b += context) {
        int64_t from = b + context / 2 + 1;
        add_window(list, (window){ b, b + context, from, (double)(b + context - from) });
    }
}

static const struct method {
    const char *name;
    void (*cut)(windows *list, int64_t n, int64_t context, int64_t stride);
    int64_t least; /* contexts a text must have */
    bool strides, puts_bos;
} methods[] = {
    { "hf", hf, 0, true, false },
    { "hf-exact", hf_exact, 0, true, false },
    { "paper", paper, 1, false, false },
    { "llama.cpp", llama_cpp, 2, false, true },
};

static qp_status find_method(const struct method **method, const qp_ppl_options *o, qp_err *err)
{
    const char *name = o->method ? o->method : "hf";
    *method = NULL;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (!strcmp(name, methods[i].name)) *method = &methods[i];
    if (!*method)
        return qp_fail(
            err, QP_USAGE,
            "perplexity method \"%s\": unknown (wanted hf, hf-exact, paper or llama.cpp)", name);
    if (o->context < 2 || o->context > INT32_MAX) /* rows are counted in int32 */
        return qp_fail(err, QP_USAGE, "context %lld: wanted 2 to %d tokens", (long long)o->context,
                       INT32_MAX);
    if (o->rows < 0)
        return qp_fail(err, QP_USAGE, "rows %lld: wanted at least 1, or 0 for 2048",
                       (long long)o->rows);
    if (o->stride && !(*method)->strides)
        return qp_fail(err, QP_USAGE, "method %s has no stride", name);
    if (o->stride < 0 || o->stride > o->context)
        return qp_fail(err, QP_USAGE,
                       "stride %lld: wanted 1 to %lld, the context (tokens would be left out)",
                       (long long)o->stride, (long long)o->context);
    return QP_OK;
}

/* A window as a document. Its last token is only predicted, so it is no row. */
static void add_rows(qp_batch *b, const int32_t *ids, window w, int32_t bos)
{
    int64_t rows = w.end - 1 - w.begin, at = b->n;
    qp_batch_add(b, ids + w.begin, ids + w.begin + 1, rows);
    for (int64_t i = w.begin; i + 1 < w.scored; i++) {
        b->targets[at + i - w.begin] = -1;
        b->targets_n--;
    }
    if (bos >= 0) b->tokens[at] = bos;
}

typedef struct {
    qp_tally tally;
    double sum, weight; /* of window means */
} totals;

static void add_means(totals *t, const qp_batch *b, const double *nll, const window *w, int64_t n)
{
    qp_tally_add(&t->tally, b, nll);
    for (int64_t k = 0; k < n; nll += w[k].end - 1 - w[k].begin, k++) {
        double sum = 0;
        for (int64_t i = w[k].scored - 1 - w[k].begin; i < w[k].end - 1 - w[k].begin; i++)
            sum += nll[i];
        t->sum += sum / (double)(w[k].end - w[k].scored) * w[k].weight;
        t->weight += w[k].weight;
    }
}

static qp_status score_windows(qp_ctx *c, qp_model *m, const qp_ppl_options *o, const int32_t *ids,
                               const windows *list, int32_t bos, totals *t, qp_err *err)
{
    qp_batch b = { 0 };
    double *nll = NULL;
    qp_status rc = QP_OK;
    int64_t limit = o->rows > 0 ? o->rows : 2048;
    for (int64_t from = 0, to; from < list->n && !rc; from = to) {
        qp_batch_clear(&b);
        for (to = from; to < list->n; to++) {
            if (to > from && b.n + list->w[to].end - 1 - list->w[to].begin > limit) break;
            add_rows(&b, ids, list->w[to], bos);
        }
        nll = qp_xrealloc(nll, (size_t)b.n, sizeof *nll);
        rc = qp_score(c, m, &b, nll, err);
        if (rc) break;
        add_means(t, &b, nll, list->w + from, to - from);
        if (o->progress) o->progress(o->arg, to, list->n, exp(t->sum / t->weight));
    }
    free(nll);
    qp_batch_release(&b);
    return rc;
}

static void finish(qp_ppl *out, const qp_tally *t, double nll, double tokens_per_byte)
{
    out->tokens = t->n;
    out->nll = nll;
    out->ppl = exp(nll);
    out->stderr_ppl = out->ppl * qp_tally_error(t);
    out->bits_per_byte = nll / M_LN2 * tokens_per_byte;
}

qp_status qp_perplexity(qp_ctx *c, qp_model *m, const qp_ppl_options *o, const int32_t *ids,
                        int64_t n, int64_t bytes, qp_ppl *out, qp_err *err)
{
    *out = (qp_ppl){ 0 };
    const struct method *method;
    qp_status rc = find_method(&method, o, err);
    if (rc) return rc;
    windows list = { 0 };
    method->cut(&list, n, o->context, o->stride ? o->stride : o->context);
    totals t = { 0 };
    if (!list.n)
        rc = qp_fail(err, QP_USAGE, "the text has %lld tokens, method %s wants at least %lld",
                     (long long)n, method->name,
                     (long long)(method->least ? method->least * o->context : 2));
    if (!rc) rc = score_windows(c, m, o, ids, &list, method->puts_bos ? o->bos : -1, &t, err);
    if (!rc) finish(out, &t.tally, t.sum / t.weight, bytes > 0 ? (double)n / (double)bytes : NAN);
    out->windows = list.n;
    free(list.w);
    return rc;
}

qp_status qp_eval_loss(qp_ctx *c, qp_model *m, qp_loader *l, const qp_eval_options *o, qp_ppl *out,
                       qp_err *err)
{
    *out = (qp_ppl){ 0 };
    qp_batch b = { 0 };
    double *nll = NULL;
    qp_tally t = { 0 };
    qp_status rc = QP_OK;
    const int64_t batches = qp_loader_batches(l, 0), most = o ? o->max_tokens : 0;
    qp_position p = { 0 };
    for (int64_t i = 0; !rc && i < batches && (!most || t.n < most); i++) {
        qp_loader_next(l, &p, &b);
        nll = qp_xrealloc(nll, (size_t)b.n, sizeof *nll);
        rc = qp_score(c, m, &b, nll, err);
        if (!rc) qp_tally_add(&t, &b, nll);
        out->windows += b.documents;
        if (!rc && o && o->go_on && !o->go_on(o->arg, i + 1, batches))
            rc = qp_fail(err, QP_STOPPED, "evaluation stopped");
    }
    free(nll);
    qp_batch_release(&b);
    if (!rc) finish(out, &t, t.sum / (double)t.n, NAN);
    return rc;
}
