#!/bin/sh
# Each public header (the arguments) compiles alone, and twice over, as C11 and as C++17, strictly, with gcc and clang.
set -u
cd "$(dirname "$0")/.."
check() { # compiler, language, standard, header
    printf '#include "%s"\n#include "%s"\nint main(void) { return 0; }\n' "$4" "$4" |
        $1 -x "$2" -std="$3" -I. -Wall -Wextra -pedantic -Werror -fsyntax-only - ||
        { echo "headers: $4 alone does not compile as $3 with $1"; return 1; }
}
bad=0
for h in "$@"; do
    for c in gcc clang; do check $c c c11 "$h" || bad=1; done
    for c in g++ clang++; do check $c c++ c++17 "$h" || bad=1; done
done
[ $# -gt 20 ] || { echo "headers: only $# public headers found"; bad=1; }
[ $bad = 0 ] && echo "headers: $# compile alone, as C11 and as C++17"
exit $bad
