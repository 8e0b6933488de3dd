#!/bin/bash
# Kills real training runs and looks at the bytes they end with. For each compute type: a run that is left alone, one that
# is killed (SIGKILL) at random moments and inside a save, an evaluation and an accumulation, and one on a single thread:
# the three adapters must be equal to the byte.
# usage: tests/soak.sh [CONFIG] [KILLS] [key=value ...]      SEED=n repeats a series of moments
set -u
cd "$(dirname "$0")/.."
config=${1:-configs/smollm2-gsm8k-lora.yaml} kills=${2:-6}
[ $# -ge 2 ] && shift 2 || shift $#
out=$(mktemp -d "${TMPDIR:-/tmp}/quipu-soak.XXXXXX")
RANDOM=${SEED:=$$}
echo "soak: $config, $kills random kills a compute type, SEED=$SEED"
short="max_steps=8 warmup_steps=2 gradient_accumulation_steps=4 eval_steps=3 save_steps=2 logging_steps=1 save_total_limit=2"
bad=0

run() { # output folder, then more settings
    local dir=$1
    shift
    ./quipu train "$config" $short "output_dir=$dir" "$@" >>"$dir.log" 2>&1
}
digest() { sha256sum "$1/final/adapter_model.safetensors" | cut -c1-64; }
killed() { # output folder, settings: random kills, then each fault point, then to the end
    local dir=$1 n=0 rc
    shift
    while [ $n -lt "$kills" ]; do
        run "$dir" "$@" &
        local pid=$! wait_ms=$((RANDOM * RANDOM % ($span_ms * 8 / 10) + 300))
        sleep "$(printf '%d.%03d' $((wait_ms / 1000)) $((wait_ms % 1000)))"
        pkill -KILL -P $pid 2>/dev/null
        wait $pid 2>/dev/null
        n=$((n + 1))
    done
    for place in save_mid:1 eval_mid:1 micro_mid:2 save_begin:1 save_manifest:1 save_renamed:1 final_mid:1; do
        QP_FAULT=$place run "$dir" "$@"
        rc=$?
        echo "  $place: exit $rc"
    done
    run "$dir" "$@"
}
for dtype in bf16 f32; do
    start=$(date +%s%N)
    run "$out/$dtype-whole" dtype=$dtype "$@" || { echo "soak: $dtype: the undisturbed run failed:"; tail -n3 "$out/$dtype-whole.log"; exit 1; }
    span_ms=$((($(date +%s%N) - start) / 1000000))
    want=$(digest "$out/$dtype-whole")
    echo "$dtype undisturbed  $want  ($((span_ms / 1000)) s)"
    killed "$out/$dtype-killed" dtype=$dtype "$@"
    run "$out/$dtype-one" dtype=$dtype threads=1 "$@"
    for kind in killed one; do
        got=$(digest "$out/$dtype-$kind")
        [ "$got" = "$want" ] && verdict=equal || { verdict=DIFFERENT bad=1; }
        printf '%s %-12s %s  %s\n' $dtype $kind "$got" $verdict
    done
done
[ $bad = 0 ] && rm -rf "$out" || echo "soak: kept $out"
exit $bad
