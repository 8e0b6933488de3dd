#!/bin/sh
# What the libraries in the folder $1 show to others, and what they remember: names and writable data.
set -u
lib=$1
bad=0
complain() { echo "symbols: $*"; bad=1; }

# The compiler's own DW.ref names are weak, hidden and the same everywhere.
for name in $(nm -D --defined-only "$lib/libquipu.so" | awk '{ print $3 }'; nm -g --defined-only "$lib/libquipu.a" |
    awk 'NF == 3 && $3 !~ /^DW\.ref\./ { print $3 }'); do
    case $name in
    qp_*) ;;
    *) complain "$name does not begin with qp_" ;;
    esac
done
exported=$(nm -D --defined-only "$lib/libquipu.so" | grep -c ' qp_')
[ "$exported" -gt 100 ] || complain "only $exported names in libquipu.so"

# Objects are made for both libraries; in the program no call of ours may go by a table all the same.
[ -s "$lib/quipu" ] || complain "no program in $lib"
tables=$(readelf -W -r "$lib/quipu" | grep -E 'JUMP_SLO|GLOB_DAT' | grep -c ' qp_')
[ "$tables" = 0 ] || complain "$tables names of ours are reached through tables in the program"

# File, variable, and why it may be written to: state that is not one context's own.
allowed=$(cat <<'END'
err.o on_fatal         a thread's handler
log.o qp_log_max       the log level, the one setting
tensor.o ring          a thread's texts of tensors for messages
tensor.o turn          which of them is next
dispatch.o control     what this CPU gets is chosen once
dispatch.o chosen      ... products
dispatch.o wish       the product that a run began with
dispatch.o backend     ... kernels
dispatch.o converter   ... conversions
gemm_blas.o once       OpenBLAS is set to one thread once
gemm_blas.o name       and its name read
gemm_dnnl.o once       the key is made once
gemm_dnnl.o thread_end key that frees a thread's products
gemm_dnnl.o own        a thread's products
run.o stop_signal      qp_train_run: signals belong to the process
run.o stop_time        ... when the first one came
fault.o passes         tests kill a run at a place that the environment names
END
)
writable=$(objdump -t "$lib/libquipu.a" | awk '
    /\.o:/ { file = $1; sub(/:$/, "", file) }
    NF > 3 && $(NF - 2) ~ /^(\.t?data|\.t?bss|\.data\.rel|\.data\.rel\.local|\*COM\*)$/ && $NF !~ /^\./ {
        sub(/\.[0-9]+$/, "", $NF) # a static one in a function: ring.1 says gcc,
        sub(/^.*\./, "", $NF)     # qp_str.ring clang
        print file, $NF
    }' | sort -u)
[ -n "$writable" ] || complain "no writable variable found: was the library stripped?"
while read -r file name; do
    printf '%s' "$allowed" | grep -q "^$file $name " || complain "$file: $name may be written to: make it const, or give the reason here"
done <<END
$writable
END
[ $bad = 0 ] && echo "symbols: $exported exported, all qp_; $(echo "$writable" | wc -l) writable variables, all accounted for"
exit $bad
