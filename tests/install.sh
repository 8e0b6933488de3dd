#!/bin/sh
# Installs into a prefix of its own, and there compiles, with what pkg-config says and nothing else, a program in C and
# C++, against the shared library and the archive, and runs it; then uninstalls. MAKE, CC: as make sets them.
set -eu
cd "$(dirname "$0")/.."
make=${MAKE:-make} cc=${CC:-gcc}
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
fail() { echo "install: $*" >&2; exit 1; }
quiet() { "$@" >"$t/log" 2>&1 || { cat "$t/log" >&2; fail "$*"; }; }

# PREFIX: usable as it lies.
quiet "$make" --no-print-directory install PREFIX="$t/quipu" DESTDIR=
export PKG_CONFIG_PATH="$t/quipu/lib/pkgconfig"
cflags=$(pkg-config --cflags quipu) libs=$(pkg-config --libs quipu)
static=$(pkg-config --static --libs quipu | sed 's/-lquipu/-l:libquipu.a/')
case "$cflags $libs" in
*hdf5* | *yaml* | *pcre* | *blas*) fail "users of the shared library need none of: $cflags $libs" ;;
esac
version=$("$t/quipu/bin/quipu" --version | awk '{ print $2; exit }')
[ "$version" = "$(pkg-config --modversion quipu)" ] || fail "quipu.pc says $(pkg-config --modversion quipu), the program $version"

# Away from the sources, so that no header of theirs is found by chance.
cp docs/examples/two_moons.c tests/install/program.cc "$t"
build() { # name, source, compiler and what stands before the source, what stands behind it
    (cd "$t" && quiet $3 "$2" -o "$1" $4)
    (cd "$t" && "./$1" >"$1.out" 2>&1) || { cat "$t/$1.out" >&2; fail "$1 does not run ($3 $2 $4)"; }
}
cxx="g++ -std=c++17 -Wall -Wextra -pedantic -Werror"
build shared two_moons.c "$cc $cflags" "$libs"
build static two_moons.c "$cc $cflags" "$static"
build cxx program.cc "$cxx $cflags" "$libs"
build cxx-static program.cc "$cxx $cflags" "$static"
readelf -d "$t/shared" | grep -q 'NEEDED.*libquipu\.so\.' || fail "the shared program does not need libquipu.so"
readelf -d "$t/static" | grep -q 'NEEDED.*libquipu' && fail "the static program needs libquipu.so"
cmp -s "$t/shared.out" "$t/static.out" || fail "shared and static say different things: $(cat "$t/shared.out" "$t/static.out")"

# DESTDIR: the same files under a stage, PREFIX in what they say.
quiet "$make" --no-print-directory install PREFIX=/opt/quipu DESTDIR="$t/stage"
(cd "$t/quipu" && find . ! -type d | sort) >"$t/there"
(cd "$t/stage/opt/quipu" && find . ! -type d | sort) >"$t/staged"
cmp -s "$t/there" "$t/staged" || fail "PREFIX and DESTDIR install different files"
grep -q '^prefix=/opt/quipu$' "$t/stage/opt/quipu/lib/pkgconfig/quipu.pc" || fail "quipu.pc of a staged install names no prefix"
grep -rl "$t" "$t/stage" && fail "these files name the stage"

quiet "$make" --no-print-directory uninstall PREFIX="$t/quipu" DESTDIR=
quiet "$make" --no-print-directory uninstall PREFIX=/opt/quipu DESTDIR="$t/stage"
left=$(find "$t/quipu" "$t/stage" ! -type d)
[ -z "$left" ] || fail "uninstall leaves $left"
echo "install: $(wc -l <"$t/there") files; in C and C++, shared and static, with what pkg-config says alone:"
sed 's/^/  /' "$t/shared.out" "$t/cxx.out"
