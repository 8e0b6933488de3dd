"""Text to ids by Hugging Face's tokenizers: tokenizer.py FOLDER TEXT."""
import sys
import time

from tokenizers import Tokenizer

import common

tokenizer = Tokenizer.from_file(sys.argv[1] + "/tokenizer.json")
with open(sys.argv[2], encoding="utf-8") as f:
    text = f.read()
best = 0.0
for i in range(5):
    start = time.perf_counter()
    ids = tokenizer.encode(text).ids
    best = max(best, len(text.encode()) / (time.perf_counter() - start))
common.report("text_bytes_per_s", best)
common.report("ids", len(ids))
