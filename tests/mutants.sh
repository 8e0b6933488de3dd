#!/bin/bash
# Plants one-line bugs in the backwards, one at a time, and asks whether the op's own tests find them: the case NAME of
# suite `ops` and the suites NAME, and the one of the op's file where it is another. tests/mutants.awk finds the places and
# makes the bugs; tests/mutants.equal lists those that change nothing, with reasons. The working tree is left alone.
# usage: tests/mutants.sh    N=200 how many, spread over the ops (N=all)   SEED=1 another choice   OP='name ...' only these
#                            JOBS=2 at a time   KEEP=1 keeps the folder   ISAS='base v3 v4' builds these   CC, SHARED as make
set -u
cd "$(dirname "$0")/.."
: "${N:=200}" "${SEED:=1}" "${OP:=}" "${JOBS:=$(nproc)}" "${CC:=gcc}" "${SHARED:=../shared}"
QP_SHARED=$(cd "$SHARED" 2>/dev/null && pwd)
export QP_SHARED OMP_WAIT_POLICY=passive QP_BUILD=build CK_VERBOSITY=silent CK_DEFAULT_TIMEOUT=20
work=$(mktemp -d "${TMPDIR:-/tmp}/quipu-mutants.XXXXXX")
trap '[ -n "${KEEP:-}" ] || rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
begun=$(date +%s)
sources="autograd/*.[ch] autograd/ops/*.c autograd/cpu/*.[ch]"
tables=$(ls autograd/*.def | grep -v kernels.def)

# The unchanged tree, built once with one instruction set; each job has a copy.
build() { make -s "$@" CC="$CC" OPT=-O1 ISAS="${ISAS:-base}" V=1 build/tests/run >build.log 2>&1; }
echo "mutants: building in $work"
mkdir "$work/1" "$work/claimed" "$work/saved" && cp -r Makefile base autograd optim model data eval train cli tests "$work/1" || exit 2
(cd "$work/1" && build -j"$JOBS") || { tail "$work/1/build.log"; exit 2; }

# The commands that are an op's own tests, "SUITE [CASE]" a line, by asking the runner what there is: case OP of suite ops
# and the suites called as the op and as its file; if there are none, those of the ops made of it and of tests that name it.
run_test() { # suite [case], in a job's folder
    log=test$BASHPID.log
    env CK_RUN_SUITE="$1" ${2:+CK_RUN_CASE="$2"} timeout 100 build/tests/run >"$log" 2>&1
}
try_tests() { # those of "SUITE [CASE]" lines that there are
    while read -r suite one; do
        [ -n "$suite" ] || continue
        if run_test $suite $one; then echo "$suite $one"
        elif ! grep -q "no test ran" "$log"; then echo "FAILS $suite $one"; fi
    done
}
own_tests() {
    local file
    file=$(grep -lE "\"$1\", [a-z_]*backward|^[A-Z_]+\($1," autograd/ops/*.c autograd/*.c $tables | head -n1)
    file=$(basename "${file%.*}")
    printf '%s\n' "ops $1" "$1" "$file" | sort -u | try_tests | grep . && return
    for file in $(grep -lE "[^a-z_]qp_$1\(c" autograd/ops/*.c tests/autograd/ops/test_*.c); do
        file=$(basename "${file%.c}")
        printf '%s\n' "ops ${file#test_}" "${file#test_}"
    done | sort -u | try_tests
}
plan=$work/plan list=$work/list
awk -v skip=tests/mutants.equal -v only="$OP" -v isas="${ISAS:-base}" -f tests/mutants.awk tests/mutants.equal $tables $sources >"$list" || exit 2
# In an order that SEED and a mutant's text give, so that another one here does not move the rest: round by round over the
# buckets; in each, lines that had none yet come first.
awk -F'\t' -v seed="$SEED" '
    BEGIN { for (i = 32; i < 127; i++) code[sprintf("%c", i)] = i }
    $1 == "mutant" {
        text = $2 $4 $7
        hash = seed * 7919 % 1000003
        for (i = 1; i <= length(text); i++) hash = (hash * 31 + code[substr(text, i, 1)]) % 1000003
        printf "%d\t%s\n", hash * 7919 % 1000003, $0
    }' "$list" | sort -n | cut -f3- | awk -F'\t' -v limit="$N" '
    { mutant[NR] = $0; bucket[NR] = $1; turn[NR] = seen[$1, $3, $4]++; if (turn[NR] > most) most = turn[NR] }
    !known[$1]++ { name[++buckets] = $1 }
    END {
        for (r = 0; r <= most; r++)
            for (i = 1; i <= NR; i++)
                if (turn[i] == r) { k = ++count[bucket[i]]; pick[bucket[i], k] = mutant[i]; if (k > deepest) deepest = k }
        for (k = 1; k <= deepest; k++)
            for (b = 1; b <= buckets; b++)
                if ((name[b], k) in pick && (limit == "all" || done < limit)) { done++; print pick[name[b], k] }
    }' >"$plan"
total=$(wc -l <"$plan")
[ "$total" -gt 0 ] || { echo "mutants: none to plant${OP:+ in $OP}"; exit 2; }

ops=$(cut -f2 "$plan" | tr " " "\n" | sort -u)
for op in $ops; do
    while [ "$(jobs -rp | wc -l)" -ge "$JOBS" ]; do wait -n; done
    (cd "$work/1" && own_tests "$op") >"$work/tests.$op" &
done
wait
for op in $ops; do [ -s "$work/tests.$op" ] || echo "mutants: $op has no tests of its own"; done
if grep -h FAILS "$work"/tests.*; then echo "mutants: these fail on the unchanged tree"; exit 2; fi
rm -f "$work"/1/test*.log
for ((job = 2; job <= JOBS; job++)); do cp -a "$work/1" "$work/$job"; done
echo "mutants: $total of $(grep -c ^mutant "$list") possible, $(grep -c ^equal "$list") left out as equivalent, SEED=$SEED, ready after $(($(date +%s) - begun)) s"

# The objects that a change of FILE at LINE can touch. A .def table's gradients are only in its kernels.
objects() {
    local stem=${1##*/}
    case $1 in
    *.def) find build -path "*/autograd/cpu/${stem%.def}.o" ;;
    *.c) find build -path "*/${1%.c}.o" ;;
    *) find build -name '*.d' -path '*/autograd/*' -exec grep -l -- "$1" {} + | sed 's/d$/o/' ;;
    esac
}
# Objects keep their times, so that make rebuilds only those that are taken away.
try() { # number
    local bucket ops op file line rule text verdict=survived object suite one shown
    IFS=$'\t' read -r bucket ops file line rule text < <(sed -n "$1p" "$plan")
    rm -rf kept && mkdir kept && cp -p "$file" kept/source
    sed -n "$1p" "$plan" | cut -f6- >kept/line
    awk -v at="$line" -v from=kept/line 'NR == at { getline < from } { print }' kept/source >"$file"
    touch -r kept/source "$file"
    objects "$file" >kept/list
    while read -r object; do mkdir -p "kept/${object%/*}" && mv "$object" "kept/$object"; done <kept/list
    rm -f build/libquipu.a
    if build; then
        for op in $ops; do
            while read -r suite one; do
                run_test $suite $one || { verdict=found; break 2; }
            done <"$work/tests.$op"
        done
    else
        verdict="did not compile"
    fi
    while read -r object; do mv "kept/$object" "$object"; done <kept/list
    cp -p kept/source "$file"
    shown=$(sed 's/[ \t]*\\$//; s/^[ \t]*//' kept/line)
    printf '%s\t%s\t%s\t%s:%s\t%s\t%s\n' "$verdict" "$bucket" "$ops" "$file" "$line" "$rule" "$shown" >>"$work/result.$2"
    [ "$verdict" != survived ] || printf 'survived: %s:%s (%s: %s)\n    %s\n' "$file" "$line" "$bucket" "$rule" "$shown"
}
job() {
    cd "$work/$1" || exit 2
    for ((i = 1; i <= total; i++)); do
        mkdir "$work/claimed/$i" 2>/dev/null && try $i "$1"
    done
}
for ((j = 1; j <= JOBS; j++)); do job $j & done
wait

cat "$work"/result.* >"$work/results"
awk -F'\t' -v seconds=$(($(date +%s) - begun)) '
    { all[$2]++; n[$2, $1]++; sum[$1]++ }
    END {
        printf "%-16s %8s %8s %8s %16s\n", "op or file", "planted", "found", "survived", "did not compile"
        for (b in all) {
            printf "%-16s %8d %8d %8d %16d\n", b, all[b] - n[b, "did not compile"], n[b, "found"], n[b, "survived"], n[b, "did not compile"] | "sort"
        }
        close("sort")
        printf "mutants: %d planted, %d found, %d survived; %d more did not compile; %d min %d s\n", sum["found"] + sum["survived"], sum["found"], sum["survived"], sum["did not compile"], seconds / 60, seconds % 60
        exit sum["survived"] > 0
    }' "$work/results"
