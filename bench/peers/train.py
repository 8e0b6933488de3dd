"""Training steps with PyTorch, transformers and PEFT: tokens a second, peak memory, and what no training can do without."""
import argparse

import torch
from peft import LoraConfig, get_peft_model

import common

LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("model", help="a shape or a folder")
    p.add_argument("--lora", action="store_true")
    p.add_argument("--dtype", default="bf16", choices=common.DTYPES, help="amp: f32 weights, products in bf16")
    p.add_argument("--adapters", default="bf16", choices=["bf16", "f32"], help="f32: computes in bf16 under autocast")
    p.add_argument("--batch", type=int, default=1)
    p.add_argument("--seq", type=int, default=512)
    p.add_argument("--steps", type=int, default=3)
    p.add_argument("--lean", action="store_true", help="gradient checkpointing")
    return p.parse_args()


def prepare(a):
    model = common.load(a.model, common.DTYPES[a.dtype])
    model.config.use_cache = False
    if a.lora:
        wanted = LoraConfig(r=16, lora_alpha=32, target_modules=LINEARS, task_type="CAUSAL_LM")
        model = get_peft_model(model, wanted, autocast_adapter_dtype=a.adapters == "f32")
    if a.lean:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    return model.train()


def held_bytes(model):
    """Weights, and a gradient and two moments of what is trained, each of its parameter's type."""
    return sum(p.numel() * p.element_size() * (4 if p.requires_grad else 1) for p in model.parameters())


def main():
    a = arguments()
    program = common.peak_bytes()
    model = prepare(a)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
    ids = torch.randint(0, model.config.vocab_size, (a.batch, a.seq))
    mixed = a.dtype == "amp" or (a.lora and a.dtype == "bf16" and a.adapters == "f32")

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    common.report("tokens_per_s", a.batch * a.seq / common.median_seconds(step, a.steps))
    common.report("peak_bytes", common.peak_bytes())
    common.report("held_bytes", held_bytes(model))
    common.report("program_bytes", program)


main()
