#!/bin/bash
# docs/autograd.md against the program: each block of C compiles with the public headers, a whole program prints the block of
# text that follows it, every op is named and every name exists.
# usage: tests/docs.sh BUILD 'compiler and flags' 'libraries'
set -u
cd "$(dirname "$0")/.."
page=docs/autograd.md build=$1/docs/autograd bad=0
rm -rf "$build" && mkdir -p "$build" || exit 2
awk -v to="$build" '
    /^```/ && open { open = 0; next }
    /^```c$/ { open = 1; file = sprintf("%s/%02d.c", to, ++n); if (n) print "#include \"quipu.h\"\n#include <stdio.h>" > file; next }
    /^```text$/ { open = 1; file = sprintf("%s/%02d.wanted", to, n); printf "" > file; next }
    /^```/ { open = 1; file = "/dev/null"; next }
    open { print > file }' "$page"
for c in "$build"/*.c; do
    o=${c%.c}
    if ! $2 -Wno-missing-prototypes -Wno-unused-function -c "$c" -o "$o.o"; then echo "docs: block $c of $page does not compile"; bad=1; continue; fi
    grep -q 'main(void)' "$c" || continue
    $2 "$o.o" "$1/libquipu.a" -o "$o.run" $3 && "$o.run" >"$o.got" || { echo "docs: block $c fails"; bad=1; continue; }
    diff "$o.wanted" "$o.got" || { echo "docs: block $c prints something else"; bad=1; }
done
# Declarations that return a tensor, one or several a line.
for op in $(cat autograd/general.h autograd/ops.h | grep -o 'qp_tensor \*qp_[a-z_]*(' | sed 's/.*\*//; s/(//' | sort -u); do
    grep -q "\`$op\`" "$page" || { echo "docs: $op is not in $page"; bad=1; }
done
for name in $(grep -o '\bqp_[a-z_]*[a-z]\b' "$page" | sort -u); do
    grep -qrw "$name" autograd base optim --include=*.h || { echo "docs: $name is in no header"; bad=1; }
done
[ "$(ls "$build"/*.c | wc -l)" -ge 5 ] || { echo "docs: fewer blocks than there were"; bad=1; }
[ $bad = 0 ] && echo "docs: $(ls "$build"/*.c | wc -l) blocks of C compile, programs print what the page says, all ops are there"
exit $bad
