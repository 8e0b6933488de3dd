#!/bin/sh
# Every row of bench/peers/rows: quipu's figure and its peer's, each in a fresh process, in turn; then the table of
# ratios. Peers are taken where they are: PEER_PYTHON=a python with torch, transformers, peft, gguf; LLAMA_CPP=the folder
# of llama-bench and llama-perplexity; LLM_C=the folder of train_gpt2, or of its source. Models go into PEER_FILES (default: a temporary
# folder, removed at the end). ROWS=name,name: only these. REPEAT=2: quipu, peer, quipu, peer; the better of each counts.
# WITH=command: what each process runs under. B/bench-peers.md is the table for a page, B/bench-peers.log what every
# process printed. 1 when a row failed.
set -u
cd "$(dirname "$0")/.." || exit 2
: "${B:=build}" "${QP_SHARED:=../shared}" "${PEER_FILES:=}" "${PEER_PYTHON:=}" "${LLAMA_CPP:=}" "${LLM_C:=}" "${ROWS:=}" "${REPEAT:=1}" "${WITH:=}"
export QP_SHARED
gguf=$(ls "$QP_SHARED"/models/SmolLM2*.gguf 2>/dev/null | head -n 1)
text=$QP_SHARED/data/wikitext2_test_slice.txt
threads=$(nproc)
tcmalloc=$(ls /usr/lib/*/libtcmalloc_minimal.so.4 /usr/lib64/libtcmalloc_minimal.so.4 2>/dev/null | head -n 1)
work=$(mktemp -d "${TMPDIR:-/tmp}/quipu-peers.XXXXXX") || exit 2
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
files=${PEER_FILES:-$work/files}
mkdir -p "$files" && files=$(cd "$files" && pwd)

# A peer's file by its name, made on first use: hf, smollm2-Q8_0, 1b-BF16, llmc.
file() {
    case $1 in
    hf) path=$files/hf; make="hf $gguf $path.new" ;;
    llmc) path=$files/llmc; make= ;;
    *) path=$files/$1.gguf; make="${1%-*} ${1#*-} $gguf $path.new" ;;
    esac
    [ -e "$path" ] && return
    [ -n "$PEER_PYTHON" ] || return 3
    rm -rf "$path.new"
    if [ -n "$make" ]; then # shellcheck disable=SC2086
        "$PEER_PYTHON" bench/peers/models.py $make
    else
        mkdir "$path.new" && "$PEER_PYTHON" bench/peers/llmc.py "$path.new"
    fi && mv "$path.new" "$path"
}

torch() { # allocator, script and its arguments
    preload=$1 script=$2
    shift 2
    LD_PRELOAD=$preload OMP_NUM_THREADS=$threads $WITH "$PEER_PYTHON" "bench/peers/$script" "$@"
}
llama_bench() { # model, tokens
    $WITH "$LLAMA_CPP/llama-bench" -m "$1" -p 0 -n "$2" -r 3 -t "$threads" -o jsonl |
        sed -n 's/.*"avg_ts": \([0-9.]*\).*/tokens_per_s \1/p'
}
# Its clock stands at the head of each line, minutes.seconds.milliseconds.microseconds.
llama_perplexity() { # model, windows (0: all)
    if [ "$2" = 0 ]; then set -- "$1"; else set -- "$1" --chunks "$2"; fi
    model=$1
    shift
    $WITH "$LLAMA_CPP/llama-perplexity" -m "$model" -f "$text" -c 512 -t "$threads" "$@" 2>&1 | awk '
        function clock(t, p) { split(t, p, "."); return p[1] * 60 + p[2] + p[3] / 1e3 + p[4] / 1e6 }
        /calculating perplexity over/ { start = clock($1); for (i = 1; i < NF; i++) if ($i == "over") n = $(i + 1) }
        /Final estimate/ { print "tokens_per_s", n * 512 / (clock($1) - start) }'
}
llm_c() { # its steps after the first; it is stopped after the sixth
    program=$(cd "$LLM_C" && pwd)/train_gpt2
    if [ ! -x "$program" ]; then
        program=$1/train_gpt2
        [ -x "$program" ] || gcc -Ofast -march=native -fopenmp -DOMP -w "$LLM_C/train_gpt2.c" -o "$program" -lm || return 1
    fi
    (cd "$1" && OMP_NUM_THREADS=$threads $WITH stdbuf -oL "$program") |
        awk '/^step [1-6]:/ { gsub(/[^0-9.]/, "", $7); ms[++n] = $7 } n == 6 { exit }
            END { for (i = 1; i <= n; i++) for (j = i + 1; j <= n; j++) if (ms[j] < ms[i]) { t = ms[i]; ms[i] = ms[j]; ms[j] = t }
                if (n == 6) print "tokens_per_s", 256 / (ms[3] + ms[4]) * 2000 }'
}

is_here() {
    case $1 in
    quipu*) ;;
    torch*) [ -n "$PEER_PYTHON" ] ;;
    llama-*) [ -x "$LLAMA_CPP/$1" ] ;;
    llm.c) [ -x "$LLM_C/train_gpt2" ] || [ -e "$LLM_C/train_gpt2.c" ] ;;
    esac
}

# Runs one command of the table; its lines "name value" to stdout. 3: not here.
run() {
    is_here "$1" || return 3
    for word; do
        case $word in @text | @shakespeare) ;; @*) file "${word#@}" >&2 || return ;; esac
    done
    # shellcheck disable=SC2046,SC2086
    set -- $(echo "$*" | sed "s|@text|$text|g; s|@shakespeare|$QP_SHARED/data/tinyshakespeare.txt|g; s|@hf|$files/hf|g; s|@\([^ ]*\)|$files/\1.gguf|g")
    kind=$1
    shift
    case $kind in
    quipu) $WITH "$B/bench/run" --row "$1" ;;
    quipu1) OMP_NUM_THREADS=1 $WITH "$B/bench/run" --row "$1" ;;
    torch) torch "$tcmalloc" "$@" ;;
    torch-glibc) torch "" "$@" ;;
    llama-bench) llama_bench "$@" ;;
    llama-perplexity) llama_perplexity "$@" ;;
    llm.c) file llmc >&2 || return && llm_c "$files/llmc" ;;
    esac
}

# figure NAME FILE: its value there
figure() {
    awk -v name="$1" '{ v[$1] = $2 } END { if (name == "extra" && "held_bytes" in v) print v["peak_bytes"] - v["held_bytes"];
        else if (name in v) print v[name] }' "$2"
}
# better NAME A B: is file A's figure better than B's?
better() {
    awk -v name="$1" -v a="$(figure "$1" "$2")" -v b="$(figure "$1" "$3")" \
        'BEGIN { less = name == "extra" || name ~ /seconds/; exit !(b == "" || (less ? a + 0 < b + 0 : a + 0 > b + 0)) }'
}
# measure TO NAME COMMAND...: leaves the better of what is in TO and what the command prints. Memory is not measured twice.
measure() {
    to=$1 name=$2
    shift 2
    kept=$work/kept.$(echo "$*" | tr -c 'A-Za-z0-9.\n' -)
    if [ "$name" = extra ] && [ -s "$kept" ]; then
        cp "$kept" "$work/new"
    else
        run "$@" >"$work/new" 2>"$work/err" </dev/null
        rc=$?
        [ $rc = 3 ] && return 3
        if [ $rc != 0 ] || [ -z "$(figure "$name" "$work/new")" ]; then
            echo "bench-peers: failed: $*" >&2
            tail -n 5 "$work/err" >&2
            return 1
        fi
        cp "$work/new" "$kept"
    fi
    echo "$*" >>"$work/log"
    sed 's/^/    /' "$work/new" >>"$work/log"
    if [ ! -e "$to" ] || better "$name" "$work/new" "$to"; then cp "$work/new" "$to"; fi
}

# This minute's limits, into $work/now: "bf16 1.04e12". Those of all minutes: $work/peaks.
peaks() {
    run quipu peak >"$work/now"
    cat "$work/now" >>"$work/peaks"
}

best() { # FILE: of each limit there the highest, and the lowest
    awk '{ if ($2 + 0 > v[$1]) v[$1] = $2; if (!($1 in low) || $2 + 0 < low[$1]) low[$1] = $2 }
        END { for (k in v) print k, v[k], low[k] }' "$1"
}

# What a row's ratio rests on, for below the table: peak and held memory, or the points of the growth curve.
note() {
    case $1 in memory-* | growth-*) ;; *) return ;; esac
    for side in q p; do
        [ -s "$work/$side" ] || continue
        awk -v name="$1" -v who=$side '{ v[$1] = $2 } END {
            if (name ~ /^memory/) {
                printf "%-20s %-5s peak %.2f GiB, weights, masters, gradients and moments %.2f GiB", name,
                    who == "q" ? "quipu" : "peer", v["peak_bytes"] / 2 ^ 30, v["held_bytes"] / 2 ^ 30
                if ("program_bytes" in v) printf ", before the model %.2f GiB", v["program_bytes"] / 2 ^ 30
                print ""
            } else if (who == "q")
                printf "%-12s %8.3f ms a token, %7.3f GFLOP a token; attention: %.1f%% of operations%s\n", name,
                    1e3 * v["seconds_a_token"], v["flops_a_token"] / 1e9, 100 * v["attention_flops_share"],
                    "attention_time_share" in v ? sprintf(", %.1f%% of time", 100 * v["attention_time_share"]) : ""
        }' "$work/$side" >>"$work/notes"
    done
}

# row NAME QUIPU FIGURE LIMIT PEERS WANTED: a line of "$work/results"
row() {
    rm -f "$work/q" "$work/p"
    state=ok peer=none
    cp "$work/now" "$work/limits"
    for _ in $(seq "$REPEAT"); do # shellcheck disable=SC2086
        measure "$work/q" "$3" $2 || state=failed
        rest=$5
        while [ -n "$rest" ] && [ "$rest" != - ]; do
            case $rest in *' ; '*) one=${rest%%' ; '*} rest=${rest#*' ; '} ;; *) one=$rest rest= ;; esac
            # shellcheck disable=SC2086
            measure "$work/p" "$3" $one
            case $? in 0) peer=there ;; 1) state=failed ;; 3) ;; esac
        done
    done
    [ "$peer" = none ] && [ "$5" != - ] && peer=missing
    peaks
    cat "$work/now" >>"$work/limits"
    note "$1"
    touch "$work/q" "$work/p"
    peak=$(best "$work/limits" | awk -v limit="$4" '$1 == limit { print $2 }')
    rate=$(awk '$1 == "flops_per_s" || $1 == "bytes_per_s" { print $2 }' "$work/q" | tail -n 1)
    echo "$1|$3|$4|$(figure "$3" "$work/q")|$(figure "$3" "$work/p")|$rate|$state|$peer|$6|$peak" | tee -a "$work/results" |
        awk -f bench/peers/table.awk
}

main() { # whole in memory before it runs: the script may be edited meanwhile
    echo "bench-peers: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $threads threads, $(date -u +%Y-%m-%d)"
    peaks
    sed '/^#/d; /^ *$/d; s/ *| */|/g' bench/peers/rows >"$work/rows"
    while IFS='|' read -r name quipu fig limit peers wanted; do
        if [ -n "$ROWS" ]; then case ",$ROWS," in *",$name,"*) ;; *) continue ;; esac fi
        row "$name" "$quipu" "$fig" "$limit" "$peers" "$wanted"
    done <"$work/rows"
    [ -s "$work/results" ] || { echo "bench-peers: no row of that name in bench/peers/rows: $ROWS" >&2; exit 2; }
    echo
    best "$work/peaks" | awk '{ printf "limit %s: %.4g to %.4g in this run; a share is of the better of just before and just after its row\n", $1, $3, $2 }'
    awk -v head=1 -f bench/peers/table.awk "$work/results"
    [ ! -e "$work/notes" ] || { echo; cat "$work/notes"; }
    cp "$work/log" "$B/bench-peers.log"
    awk -v head=1 -v md=1 -f bench/peers/table.awk "$work/results" >"$B/bench-peers.md"
    ! grep -q '|failed|' "$work/results"
}
main; exit
