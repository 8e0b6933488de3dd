#include "autograd/print.h"
#include <stdlib.h>
#include <string.h>

/* A tensor that no node made. */
typedef struct {
    const qp_tensor *t;
    char *name;
} leaf;

typedef struct {
    int nodes, leaves;
    const qp_node **node; /* first to last */
    leaf *leaf;
} listing;

/* The node before number i that made t last, or -1. */
static int maker(const listing *l, const qp_tensor *t, int i)
{
    while (--i >= 0 && l->node[i]->out != t) {
    }
    return i;
}

static int leaf_of(const listing *l, const qp_tensor *t)
{
    int i = l->leaves;
    while (--i >= 0 && l->leaf[i].t != t) {
    }
    return i;
}

static char *name_of(const qp_params *p, const qp_tensor *t, const char *kind, int number)
{
    for (int64_t i = 0; p && i < p->count; i++)
        if (p->item[i].t == t) return qp_xstrdup(p->item[i].name);
    return qp_xformat("%s%d", kind, number);
}

/* A segment lists its own output among its inputs, to know whether a parameter is inside. */
static bool shown(const qp_node *n, int k) { return n->in[k] && n->in[k] != n->out; }

static void add_leaf(listing *l, const qp_params *p, const qp_tensor *t, int *parameters)
{
    l->leaf = qp_xrealloc(l->leaf, (size_t)l->leaves + 1, sizeof *l->leaf);
    const int number = t->is_param ? ++*parameters : l->leaves - *parameters + 1;
    l->leaf[l->leaves++] = (leaf){ t, name_of(p, t, t->is_param ? "p" : "x", number) };
}

static listing list(const qp_ctx *c, const qp_params *p)
{
    listing l = { 0 };
    int parameters = 0;
    for (const qp_node *n = c->tape; n; n = n->prev) l.nodes++;
    l.node = qp_xcalloc((size_t)l.nodes, sizeof *l.node);
    int at = l.nodes;
    for (const qp_node *n = c->tape; n; n = n->prev) l.node[--at] = n;
    for (int i = 0; i < l.nodes; i++)
        for (int k = 0; k < l.node[i]->count; k++) {
            const qp_tensor *t = l.node[i]->in[k];
            if (shown(l.node[i], k) && maker(&l, t, i) < 0 && leaf_of(&l, t) < 0)
                add_leaf(&l, p, t, &parameters);
        }
    return l;
}

static void release(listing *l)
{
    for (int i = 0; i < l->leaves; i++) free(l->leaf[i].name);
    free(l->leaf);
    free(l->node);
}

static void call(qp_buf *out, const listing *l, int i)
{
    const qp_node *n = l->node[i];
    const int earlier = n->shares_out ? maker(l, n->out, i) : -1;
    qp_buf_printf(out, "%s(", n->op->name);
    const char *comma = "";
    for (int k = 0; k < n->count; k++) {
        if (!shown(n, k)) continue;
        const int from = maker(l, n->in[k], i);
        if (from >= 0)
            qp_buf_printf(out, "%s%%%d", comma, from + 1);
        else
            qp_buf_printf(out, "%s%s", comma, l->leaf[leaf_of(l, n->in[k])].name);
        comma = ", ";
    }
    qp_buf_char(out, ')');
    if (earlier >= 0) qp_buf_printf(out, " into %%%d", earlier + 1);
}

void qp_tape_print(const qp_ctx *c, const qp_params *p, qp_buf *out)
{
    listing l = list(c, p);
    for (int i = 0; i < l.leaves; i++) {
        const qp_tensor *t = l.leaf[i].t;
        qp_buf_printf(out, "%-40s %-20s %s\n", l.leaf[i].name, qp_str(t),
                      t->needs_grad ? "gradient" : "no gradient");
    }
    qp_buf line = { 0 };
    for (int i = 0; i < l.nodes; i++) {
        qp_buf_clear(&line);
        qp_buf_printf(&line, "%%%d = ", i + 1);
        call(&line, &l, i);
        qp_buf_printf(out, "%-40s %s\n", line.data, qp_str(l.node[i]->out));
    }
    qp_buf_release(&line);
    release(&l);
}

static void quoted(qp_buf *out, const char *s)
{
    for (; *s; s++) {
        if (*s == '"' || *s == '\\') qp_buf_char(out, '\\');
        qp_buf_char(out, *s);
    }
}

/* A box of two lines: a name, and the tensor's type and shape. */
static void box(qp_buf *out, char kind, int i, const char *name, const qp_tensor *t,
                const char *look)
{
    qp_buf_printf(out, "    %c%d [label=\"", kind, i);
    quoted(out, name);
    qp_buf_printf(out, "\\n%s\"%s]\n", qp_str(t), look);
}

static void edge(qp_buf *out, char kind, int from, int to, bool gradient)
{
    qp_buf_printf(out, "    %c%d -> n%d%s\n", kind, from, to, gradient ? "" : " [style=dotted]");
}

void qp_tape_dot(const qp_ctx *c, const qp_params *p, qp_buf *out)
{
    listing l = list(c, p);
    qp_buf_str(out, "digraph tape {\n"
                    "    rankdir=TB; nodesep=0.25; ranksep=0.35\n"
                    "    node [shape=box, style=\"rounded,filled\", fillcolor=\"#e8eef7\", "
                    "fontname=\"Helvetica\", fontsize=11]\n");
    for (int i = 0; i < l.leaves; i++) {
        const qp_tensor *t = l.leaf[i].t;
        box(out, 'x', i, l.leaf[i].name, t,
            t->is_param     ? ", shape=ellipse, style=filled, fillcolor=\"#fbe3c0\""
            : t->needs_grad ? ", shape=ellipse, style=filled, fillcolor=\"#ffffff\""
                            : ", shape=ellipse, style=\"filled,dotted\", fillcolor=\"#ffffff\"");
    }
    for (int i = 0; i < l.nodes; i++) {
        const qp_node *n = l.node[i];
        box(out, 'n', i, n->op->name, n->out, "");
        if (n->shares_out && maker(&l, n->out, i) >= 0)
            edge(out, 'n', maker(&l, n->out, i), i, true);
        for (int k = 0; k < n->count; k++) {
            if (!shown(n, k)) continue;
            const int from = maker(&l, n->in[k], i);
            if (from >= 0)
                edge(out, 'n', from, i, true);
            else
                edge(out, 'x', leaf_of(&l, n->in[k]), i, n->in[k]->needs_grad);
        }
    }
    qp_buf_str(out, "}\n");
    release(&l);
}
