#!/bin/bash
# Kills real training runs and looks at the bytes they end with. For each compute type: a run that is left alone, one that
# is killed (SIGKILL) at random moments, one that is killed inside an evaluation, an accumulation and a save, and one on a
# single thread: the adapters must be equal to the byte.
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
at_random() { # output folder, settings: killed at random moments, then left to end
    local dir=$1 n=0 hits=0
    shift
    while [ $n -lt "$kills" ]; do
        n=$((n + 1))
        ./quipu train "$config" $short "output_dir=$dir" "$@" >>"$dir.log" 2>&1 &
        local pid=$! wait_ms=$((RANDOM * 32768 + RANDOM))
        wait_ms=$((wait_ms % (span_ms * 4 / 10) + 200))
        sleep "$(printf '%d.%03d' $((wait_ms / 1000)) $((wait_ms % 1000)))"
        kill -KILL $pid 2>/dev/null
        { wait $pid; } 2>/dev/null
        [ $? = 137 ] && hits=$((hits + 1))
    done
    echo "  killed $hits times at random moments"
    run "$dir" "$@"
}
at_faults() { # output folder, settings: killed inside each place once, then left to end
    local dir=$1 rc
    shift
    for place in eval_mid:2 micro_mid:6 save_begin:1 save_mid:1 save_manifest:1 save_renamed:1 eval_mid:1 final_mid:1; do
        QP_FAULT=$place run "$dir" "$@"
        rc=$?
        [ $rc = 137 ] || { echo "  $place: exit $rc, not killed"; bad=1; }
    done
    run "$dir" "$@"
}
for dtype in bf16 f32; do
    start=$(date +%s%N)
    run "$out/$dtype-whole" dtype=$dtype "$@" || { echo "soak: $dtype: the undisturbed run failed:"; tail -n3 "$out/$dtype-whole.log"; exit 1; }
    span_ms=$((($(date +%s%N) - start) / 1000000))
    want=$(digest "$out/$dtype-whole")
    echo "$dtype undisturbed  $want  ($((span_ms / 1000)) s)"
    at_random "$out/$dtype-random" dtype=$dtype "$@"
    at_faults "$out/$dtype-faults" dtype=$dtype "$@"
    run "$out/$dtype-one" dtype=$dtype threads=1 "$@"
    for kind in random faults one; do
        got=$(digest "$out/$dtype-$kind")
        [ "$got" = "$want" ] && verdict=equal || { verdict=DIFFERENT bad=1; }
        printf '%s %-12s %s  %s\n' $dtype $kind "$got" $verdict
    done
done
[ $bad = 0 ] && rm -rf "$out" || echo "soak: kept $out"
exit $bad
