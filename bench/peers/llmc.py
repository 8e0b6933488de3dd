"""The folder that llm.c's train_gpt2 runs in: random weights of GPT-2 124M and random tokens in its layout."""
import os
import sys

import numpy as np

LAYERS, HEADS, WIDTH, VOCAB, PADDED, POSITIONS = 12, 12, 768, 50257, 50304, 1024
WEIGHTS, TOKENS = 20240326, 20240520  # the numbers that its files begin with


def write(path, header, arrays):
    head = np.zeros(256, np.int32)
    head[:len(header)] = header
    with open(path, "wb") as f:
        for a in [head, *arrays]:
            f.write(a.tobytes())


def main(folder):
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.standard_normal(shape, np.float32) * np.float32(0.02)

    def same(value, *shape):
        return np.full(shape, value, np.float32)

    L, C = LAYERS, WIDTH
    arrays = [normal(PADDED, C), normal(POSITIONS, C),
              same(1, L, C), same(0, L, C), normal(L, 3 * C, C), same(0, L, 3 * C), normal(L, C, C), same(0, L, C),
              same(1, L, C), same(0, L, C), normal(L, 4 * C, C), same(0, L, 4 * C), normal(L, C, 4 * C), same(0, L, C),
              same(1, C), same(0, C)]
    write(os.path.join(folder, "gpt2_124M.bin"), [WEIGHTS, 3, POSITIONS, VOCAB, L, HEADS, C, PADDED], arrays)
    data = os.path.join(folder, "dev/data/tinyshakespeare")
    os.makedirs(data, exist_ok=True)
    for part in ("train", "val"):
        ids = rng.integers(0, VOCAB, 32768, dtype=np.uint16)
        write(os.path.join(data, f"tiny_shakespeare_{part}.bin"), [TOKENS, 1, len(ids)], [ids])


main(sys.argv[1])
