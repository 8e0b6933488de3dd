#!/bin/sh
# The demo: from an empty folder to a trained and a tuned model, with perplexities before and after and samples.
set -eu
cd "$(dirname "$0")/../.."
say() { printf '\n== %s\n' "$*"; }
ppl() { ./quipu perplexity "$@" --tokenizer bytes --dtype bf16 -c 256 --method hf-exact; }
rm -rf out/demo
mkdir -p out/demo
# The validation knots as text: what neither run has learned from.
sed 's/.*"prompt": "\(.*\)", "completion": "\(.*\)\\n".*/\1\2/' configs/demo/knots/valid.jsonl > out/demo/knots.txt

say "1. a small Llama from scratch on Shakespeare, byte by byte"
./quipu train configs/demo/shakespeare.yaml

say "2. what it writes"
./quipu generate -m out/demo/shakespeare/final --tokenizer bytes -p "ROMEO:
" --max-tokens 300 --temperature 0.8 --seed 7

say "3. how well it knows knots (three five two is ooo-ooooo-oo): not at all"
ppl -m out/demo/shakespeare/final -f out/demo/knots.txt

say "4. LoRA on 600 examples, the base frozen"
./quipu train configs/demo/knots.yaml

say "5. the same measure with the adapter"
ppl -m out/demo/shakespeare/final --adapter out/demo/knots/final -f out/demo/knots.txt

say "6. what it knots for a number it has not seen, 604 (right: oooooo-.-oooo)"
./quipu generate -m out/demo/shakespeare/final --adapter out/demo/knots/final --tokenizer bytes \
    -p "Knot six zero four: " --max-tokens 40 --temperature 0 --stop "
"
