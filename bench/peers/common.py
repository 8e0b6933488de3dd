"""What the peers' scripts share: models, timing, and lines "name value" as bench/run --row prints them."""
import resource
import statistics
import time

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

# The shapes of bench/models.c.
SHAPES = {
    "15m": dict(vocab_size=32000, hidden_size=288, intermediate_size=768, num_hidden_layers=6,
                num_attention_heads=6, num_key_value_heads=6, tie_word_embeddings=True),
    "1b": dict(vocab_size=128256, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16,
               num_attention_heads=32, num_key_value_heads=8, tie_word_embeddings=True),
}
DTYPES = {"bf16": torch.bfloat16, "f32": torch.float32, "amp": torch.float32}


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def load(model, dtype):
    """The model of a shape's name, random, or of a folder."""
    torch.manual_seed(0)
    if model in SHAPES:
        return AutoModelForCausalLM.from_config(LlamaConfig(**SHAPES[model]), dtype=dtype, attn_implementation="sdpa")
    return AutoModelForCausalLM.from_pretrained(model, dtype=dtype, attn_implementation="sdpa")


def median_seconds(call, times):
    """Of so many calls, after one that does not count."""
    seconds = []
    for i in range(times + 1):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def report(name, value):
    print(f"{name} {value:.9g}", flush=True)
