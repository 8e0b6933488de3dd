#include "model/names.h"
#include <stdio.h>
#include <string.h>

static const struct {
    const char *hf, *gguf;
} whole[] = {
    { "model.embed_tokens.weight", "token_embd.weight" },
    { "model.norm.weight", "output_norm.weight" },
    { "lm_head.weight", "output.weight" },
}, of_layer[] = {
    { "input_layernorm.weight", "attn_norm.weight" },
    { "self_attn.q_proj.weight", "attn_q.weight" },
    { "self_attn.k_proj.weight", "attn_k.weight" },
    { "self_attn.v_proj.weight", "attn_v.weight" },
    { "self_attn.o_proj.weight", "attn_output.weight" },
    { "post_attention_layernorm.weight", "ffn_norm.weight" },
    { "mlp.gate_proj.weight", "ffn_gate.weight" },
    { "mlp.up_proj.weight", "ffn_up.weight" },
    { "mlp.down_proj.weight", "ffn_down.weight" },
};

bool qp_name_gguf(const char *hf, char *out, size_t size)
{
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (!strcmp(hf, whole[i].hf)) return snprintf(out, size, "%s", whole[i].gguf) < (int)size;
    int layer, used = 0;
    if (sscanf(hf, "model.layers.%d.%n", &layer, &used) != 1 || !used) return false;
    for (size_t i = 0; i < sizeof of_layer / sizeof *of_layer; i++)
        if (!strcmp(hf + used, of_layer[i].hf))
            return snprintf(out, size, "blk.%d.%s", layer, of_layer[i].gguf) < (int)size;
    return false;
}
