#!/bin/sh
# The demo: from an empty folder to a trained and a tuned model, with perplexities before and after and samples.
set -eu
cd "$(dirname "$0")/../.."
say() { printf '\n== %s\n' "$*"; }
rm -rf out/demo

say "1. a small Llama from scratch on Shakespeare, byte by byte"
./quipu train configs/demo/shakespeare.yaml

say "2. what it writes"
./quipu generate -m out/demo/shakespeare/final --tokenizer bytes -p "ROMEO:
" --max-tokens 300 --temperature 0.8 --seed 7

say "3. LoRA on 600 examples, the base frozen: it learns to knot numbers (three five two is ooo-ooooo-oo)"
./quipu train configs/demo/knots.yaml

say "4. perplexity of the answers to 100 questions it has not seen, before and after"
sed -n 's/.*"eval_step": \([0-9]*\),.*"ppl": \([0-9.]*\),.*/step \1: \2/p' out/demo/knots/metrics.jsonl | sed -n '1p;$p'

say "5. what it knots for a number it has not seen, 604 (right: oooooo-.-oooo)"
./quipu generate -m out/demo/shakespeare/final --adapter out/demo/knots/final --tokenizer bytes \
    -p "Knot six zero four: " --max-tokens 40 --temperature 0 --stop "
"
