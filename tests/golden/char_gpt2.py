"""The network of docs/examples/char_gpt2.c in PyTorch, f64: prints the losses of its first steps as the C table.

    python tests/golden/char_gpt2.py [TEXT [STEPS]]

Weights and batches come from quipu's counter-based generator (base/rng.c: Philox 4x32-10, Salmon et al. 2011),
written here once more, so both programs begin with the same numbers. Needs torch and numpy; quipu itself needs neither.
"""
import math
import sys

import numpy as np
import torch
import torch.nn.functional as F

B, T, D, H, L, CHECKED, STEPS = 12, 32, 64, 4, 2, 20, 600
PEAK_LR, WARMUP, MIN_RATIO = 6e-3, 20, 0.1


def philox(key, stream, index):
    """Two arrays of 64-bit words for an array of indices."""
    index = np.asarray(index, dtype=np.uint64)
    low = np.uint64(0xFFFFFFFF)
    c = [index & low, index >> np.uint64(32), np.full_like(index, stream & 0xFFFFFFFF), np.full_like(index, stream >> 32)]
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ np.uint64(k0), p1 & low, (p0 >> np.uint64(32)) ^ c[3] ^ np.uint64(k1), p0 & low]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c[1] << np.uint64(32) | c[0], c[3] << np.uint64(32) | c[2]


def key_of(seed, name):
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = (h ^ byte) * 0x100000001B3 % 2**64
    return int(philox(seed, 0, [h])[0][0])


def normal(key, n):
    a, b = philox(key, 0, np.arange(n))
    u = ((a >> np.uint64(11)) + np.uint64(1)).astype(np.float64) * 2.0**-53
    v = (b >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return np.sqrt(-2 * np.log(u)) * np.cos(2 * math.pi * v)


def below(key, stream, index, n):
    return int(philox(key, stream, [index])[0][0]) * n >> 64


def shapes(vocab):
    block = [("norm1", D), ("norm1_b", D), ("qkv", 3 * D, D), ("qkv_b", 3 * D), ("out", D, D), ("out_b", D),
             ("norm2", D), ("norm2_b", D), ("up", 4 * D, D), ("up_b", 4 * D), ("down", D, 4 * D), ("down_b", D)]
    declared = [("tokens", vocab, D), ("positions", T, D)]
    declared += [(f"h{l}.{name}", *shape) for l in range(L) for name, *shape in block]
    declared += [("norm", D), ("norm_b", D)]
    return declared


def weights(vocab):
    w = {}
    for name, *shape in shapes(vocab):
        part = name.split(".")[-1]
        spread = 0.04 if part in ("out", "down") else 0.08 if len(shape) == 2 else 0
        centre = float(part in ("norm", "norm1", "norm2"))
        value = centre + spread * normal(key_of(1, name), math.prod(shape))
        w[name] = torch.tensor(value.reshape(shape), requires_grad=True)
    return w


def forward(w, ids):
    def norm(x, name):
        return F.layer_norm(x, (D,), w[name], w[name + "_b"], 1e-5)

    def linear(x, name):
        return F.linear(x, w[name], w[name + "_b"])

    x = F.embedding(ids, w["tokens"]) + w["positions"]
    for l in range(L):
        q, k, v = (t.view(B, T, H, D // H).transpose(1, 2) for t in linear(norm(x, f"h{l}.norm1"), f"h{l}.qkv").split(D, -1))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(B, T, D)
        x = x + linear(y, f"h{l}.out")
        h = F.gelu(linear(norm(x, f"h{l}.norm2"), f"h{l}.up"), approximate="tanh")
        x = x + linear(h, f"h{l}.down")
    return norm(x, "norm") @ w["tokens"].T


def factor(step):
    """The example's schedule: warm-up to 1 at step WARMUP, then a cosine to MIN_RATIO at STEPS."""
    if step <= WARMUP:
        return step / WARMUP
    t = (step - WARMUP) / (STEPS - WARMUP)
    return MIN_RATIO + (1 - MIN_RATIO) * 0.5 * (1 + math.cos(math.pi * t))


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else "configs/demo/tinyshakespeare.txt"
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else CHECKED
    text = open(path, "rb").read()
    ids = np.unique(np.frombuffer(text, dtype=np.uint8), return_inverse=True)[1]
    w = weights(int(ids.max()) + 1)
    matrices, vectors = ([p for p in w.values() if p.ndim == n] for n in (2, 1))
    adamw = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0}],
                              betas=(0.9, 0.99), eps=1e-8)
    for step in range(1, steps + 1):
        end = len(ids) * 9 // 10
        at = [below(2, step, i, end - T) for i in range(B)]
        x, y = (torch.tensor(np.stack([ids[a + d:a + d + T] for a in at])) for d in (0, 1))
        loss = F.cross_entropy(forward(w, x).flatten(0, 1), y.flatten())
        adamw.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(w.values(), 1.0)
        for group in adamw.param_groups:
            group["lr"] = PEAK_LR * factor(step)
        adamw.step()
        print(f"    {loss.item():.17g},", flush=True)


if __name__ == "__main__":
    main()
