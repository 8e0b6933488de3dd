"""Loss without gradients by transformers, in windows, as its perplexity page does: tokens a second."""
import sys
import time

import torch
from transformers import AutoTokenizer

import common


def main():
    model_name, text, tokenizer, windows, window = *sys.argv[1:4], int(sys.argv[4]), 512
    model = common.load(model_name, torch.bfloat16).eval()
    with open(text, encoding="utf-8") as f:
        ids = torch.tensor(AutoTokenizer.from_pretrained(tokenizer)(f.read()).input_ids)
    windows = min(windows, len(ids) // window) if windows else len(ids) // window
    ids = ids[:windows * window].view(windows, 1, window)
    with torch.inference_mode():
        model(input_ids=ids[0], labels=ids[0], use_cache=False)
        start = time.perf_counter()
        nll = sum(model(input_ids=w, labels=w, use_cache=False).loss.item() for w in ids) / windows
        seconds = time.perf_counter() - start
    common.report("tokens_per_s", ids.numel() / seconds)
    common.report("nll", nll)


main()
