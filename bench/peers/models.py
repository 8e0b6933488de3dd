"""The files that peers read: models.py hf GGUF FOLDER, or models.py SHAPE TYPE GGUF OUT.gguf (SHAPE: smollm2 or 1b).

The 1B shape gets random weights and SmolLM2's vocabulary, filled up: for speed, not for sense. Every matrix has the type
asked for, the head too."""
import sys

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter
from gguf.quants import dequantize, quantize

LLAMA_1B = dict(block_count=16, context_length=131072, embedding_length=2048, feed_forward_length=8192,
                attention=dict(head_count=32, head_count_kv=8), vocab_size=128256, rope=dict(dimension_count=64))


def save_hf(gguf, folder):
    """Dequantised to bf16, as transformers loads it."""
    import os
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM
    where, name = os.path.split(gguf)
    read = AutoModelForCausalLM.from_pretrained(where, gguf_file=name, dtype=torch.bfloat16)
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = LlamaForCausalLM(config).to(torch.bfloat16)
    plain.load_state_dict(read.state_dict())
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(where, gguf_file=name).save_pretrained(folder)


def flat(table, prefix="llama."):
    for key, value in table.items():
        if isinstance(value, dict):
            yield from flat(value, prefix + key + ".")
        else:
            yield prefix + key, value


def copy_fields(reader, writer, changed):
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
            continue
        kind, value = field.types[0], field.contents()
        if field.name in changed:
            value = changed[field.name]
        if kind == GGUFValueType.ARRAY:
            if len(value) < changed.get("llama.vocab_size", 0) and field.name == "tokenizer.ggml.tokens":
                value = value + [f"<|filler {i}|>" for i in range(len(value), changed["llama.vocab_size"])]
            if len(value) < changed.get("llama.vocab_size", 0) and field.name == "tokenizer.ggml.token_type":
                value = value + [5] * (changed["llama.vocab_size"] - len(value))  # 5: unused
            writer.add_array(field.name, value)
        else:
            writer.add_key_value(field.name, value, kind)


def matrices_1b():
    hidden, inner, kv = 2048, 8192, 512
    yield "token_embd.weight", (128256, hidden)
    for i in range(16):
        for name, shape in (("attn_q", (hidden, hidden)), ("attn_k", (kv, hidden)), ("attn_v", (kv, hidden)),
                            ("attn_output", (hidden, hidden)), ("ffn_gate", (inner, hidden)),
                            ("ffn_up", (inner, hidden)), ("ffn_down", (hidden, inner))):
            yield f"blk.{i}.{name}.weight", shape
        yield f"blk.{i}.attn_norm.weight", (hidden,)
        yield f"blk.{i}.ffn_norm.weight", (hidden,)
    yield "output_norm.weight", (hidden,)


def write_gguf(shape, kind, source, out):
    reader = GGUFReader(source)
    writer = GGUFWriter(out, "llama")
    quant = GGMLQuantizationType[kind]
    if shape == "smollm2":
        copy_fields(reader, writer, {})
        for t in reader.tensors:
            values = dequantize(t.data, t.tensor_type).astype(np.float32)
            if values.ndim > 1:
                writer.add_tensor(t.name, quantize(values, quant), raw_dtype=quant)
            else:
                writer.add_tensor(t.name, values)
    else:
        copy_fields(reader, writer, dict(flat(LLAMA_1B)))
        pool = np.random.default_rng(0).standard_normal((1024, 2048), np.float32) * np.float32(0.02)
        rows = quantize(pool, quant)  # of 2048 values each; any matrix is made of such rows
        for name, size in matrices_1b():
            if len(size) == 1:
                writer.add_tensor(name, np.ones(size, np.float32))
            else:
                count = size[0] * size[1] // 2048
                data = np.resize(np.roll(rows, len(name) * 97, axis=0), (count, rows.shape[1]))
                writer.add_tensor(name, data.reshape(size[0], -1), raw_dtype=quant)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if sys.argv[1] == "hf":
    save_hf(sys.argv[2], sys.argv[3])
else:
    write_gguf(*sys.argv[1:5])
