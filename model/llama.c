#include "model/llama.h"
#include "autograd/segment.h"
#include "model/kv.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int64_t index;
    qp_tensor *attn_norm, *mlp_norm;
    qp_proj *q, *k, *v, *o, *gate, *up, *down;
} block;

typedef struct {
    qp_tensor *embed, *norm;
    int64_t layers;
    block block[];
} llama;

/* What every block of one forward reads. */
typedef struct {
    const qp_config *cfg;
    const qp_batch *batch;
    const void *cos, *sin;
    qp_kv *kv; /* or NULL */
} pass;

static qp_tensor *attention(qp_ctx *c, const block *l, const pass *p, qp_tensor *h)
{
    const qp_batch *b = p->batch;
    qp_tensor *qkv[3];
    qp_proj_forward_all(c, 3, (qp_proj *[]){ l->q, l->k, l->v }, h, qkv);
    qp_tensor *q = qp_rope(c, qkv[0], p->cos, p->sin, b->pos, p->cfg->heads);
    qp_tensor *k = qp_rope(c, qkv[1], p->cos, p->sin, b->pos, p->cfg->kv_heads), *v = qkv[2];
    if (p->kv) qp_kv_put(c, p->kv, l->index, &k, &v);
    qp_span span = { b->first, b->last };
    qp_tensor *y = qp_attention(c, q, k, v, span, p->cfg->heads, p->cfg->kv_heads);
    return qp_proj_forward(c, l->o, y);
}

static qp_tensor *mlp(qp_ctx *c, const block *l, qp_tensor *h)
{
    qp_tensor *gate_up[2];
    qp_proj_forward_all(c, 2, (qp_proj *[]){ l->gate, l->up }, h, gate_up);
    return qp_proj_forward(c, l->down, qp_swiglu(c, gate_up[0], gate_up[1]));
}

static qp_tensor *block_forward(qp_ctx *c, void *module, const void *env, qp_tensor *x)
{
    const block *l = module;
    const pass *p = env;
    x = qp_add(c, x, attention(c, l, p, qp_rmsnorm(c, x, l->attn_norm, p->cfg->norm_eps)));
    return qp_add(c, x, mlp(c, l, qp_rmsnorm(c, x, l->mlp_norm, p->cfg->norm_eps)));
}

static int64_t positions(const qp_batch *b)
{
    int32_t most = 0;
    for (int64_t i = 0; i < b->n; i++) most = b->pos[i] > most ? b->pos[i] : most;
    return (int64_t)most + 1;
}

static qp_tensor *llama_hidden(qp_ctx *c, qp_model *m, const qp_batch *b, qp_kv *kv)
{
    llama *net = m->net;
    QP_ASSERT(!kv || !c->recording, "a forward with a cache cannot be recorded");
    pass *p = qp_arena_alloc(&c->arena, sizeof *p); /* segments read it again in backward */
    *p = (pass){ .cfg = &m->config, .batch = b, .kv = kv };
    qp_rope_table_rows(&m->rope, positions(b), &p->cos, &p->sin);
    qp_tensor *x = qp_embedding(c, net->embed, b->tokens, b->n, m->options.compute);
    for (int64_t i = 0; i < net->layers; i++)
        x = qp_segment(c, block_forward, &net->block[i], p, x, x->ndim, x->shape);
    if (kv) qp_kv_advance(kv, b->n);
    return qp_rmsnorm(c, x, net->norm, m->config.norm_eps);
}

/* The seven linears of a block, by Hugging Face's names. */
static const struct {
    const char *name;
    size_t slot; /* in block */
} linears[] = {
    { "self_attn.q_proj", offsetof(block, q) }, { "self_attn.k_proj", offsetof(block, k) },
    { "self_attn.v_proj", offsetof(block, v) }, { "self_attn.o_proj", offsetof(block, o) },
    { "mlp.gate_proj", offsetof(block, gate) }, { "mlp.up_proj", offsetof(block, up) },
    { "mlp.down_proj", offsetof(block, down) },
};
enum { Q, K, V, O, GATE, UP, DOWN, LINEARS };

static qp_proj **slot_of(block *l, int which)
{
    return (qp_proj **)((char *)l + linears[which].slot);
}

static void llama_each_linear(qp_model *m, void (*fn)(void *u, const char *name, qp_proj **slot),
                              void *u)
{
    llama *net = m->net;
    char name[96];
    for (int64_t i = 0; i < net->layers; i++)
        for (int j = 0; j < LINEARS; j++) {
            snprintf(name, sizeof name, "model.layers.%lld.%s", (long long)i, linears[j].name);
            fn(u, name, slot_of(&net->block[i], j));
        }
}

static qp_tensor *declare_norm(qp_model *m, const char *name)
{
    return qp_model_declare(m, name, 1, &m->config.hidden_size, (qp_init){ .constant = 1 }, 0);
}

static qp_tensor *declare_matrix(qp_model *m, const char *name, int64_t out, int64_t in, double std,
                                 int64_t rope_heads)
{
    return qp_model_declare(m, name, 2, (int64_t[]){ out, in }, (qp_init){ .normal = std },
                            rope_heads);
}

/* Fresh o_proj and down_proj are smaller, so that the sum of 2L residuals does not grow with depth:
   Radford et al. 2019 (GPT-2), section 2.3. */
static void build_block(qp_model *m, block *l, int64_t index)
{
    const qp_config *g = &m->config;
    const int64_t d = g->hidden_size, f = g->intermediate_size;
    const int64_t q = g->heads * g->head_dim, kv = g->kv_heads * g->head_dim;
    const double std = g->initializer_range, residual = std / sqrt(2.0 * (double)g->layers);
    const struct {
        int64_t out, in;
        double std;
        int64_t rope_heads;
    } shape[LINEARS] = {
        [Q] = { q, d, std, g->heads },  [K] = { kv, d, std, g->kv_heads }, [V] = { kv, d, std, 0 },
        [O] = { d, q, residual, 0 },    [GATE] = { f, d, std, 0 },         [UP] = { f, d, std, 0 },
        [DOWN] = { d, f, residual, 0 },
    };
    char name[96];
    l->index = index;
    snprintf(name, sizeof name, "model.layers.%lld.input_layernorm.weight", (long long)index);
    l->attn_norm = declare_norm(m, name);
    snprintf(name, sizeof name, "model.layers.%lld.post_attention_layernorm.weight",
             (long long)index);
    l->mlp_norm = declare_norm(m, name);
    for (int j = 0; j < LINEARS; j++) {
        snprintf(name, sizeof name, "model.layers.%lld.%s.weight", (long long)index,
                 linears[j].name);
        *slot_of(l, j) = qp_dense_new(
            declare_matrix(m, name, shape[j].out, shape[j].in, shape[j].std, shape[j].rope_heads));
    }
}

static void llama_build(qp_model *m)
{
    const qp_config *g = &m->config;
    llama *net = qp_xcalloc(1, sizeof *net + (size_t)g->layers * sizeof *net->block);
    net->layers = g->layers;
    net->embed = declare_matrix(m, "model.embed_tokens.weight", g->vocab_size, g->hidden_size,
                                g->initializer_range, 0);
    for (int64_t i = 0; i < g->layers; i++) build_block(m, &net->block[i], i);
    net->norm = declare_norm(m, "model.norm.weight");
    m->head = g->tied ? net->embed
                      : declare_matrix(m, "lm_head.weight", g->vocab_size, g->hidden_size,
                                       g->initializer_range, 0);
    m->net = net;
}

static void llama_free(void *p)
{
    llama *net = p;
    if (!net) return;
    for (int64_t i = 0; i < net->layers; i++)
        for (int j = 0; j < LINEARS; j++) qp_proj_free(*slot_of(&net->block[i], j));
    free(net);
}

const qp_arch qp_llama = {
    .name = "LlamaForCausalLM",
    .build = llama_build,
    .free = llama_free,
    .hidden = llama_hidden,
    .each_linear = llama_each_linear,
};
