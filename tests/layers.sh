#!/bin/sh
# Holds every #include "..." against the table of docs/ARCHITECTURE.md, and every foreign header against its one owner.
set -u
cd "$(dirname "$0")/.."
bad=0
may() { # folder -> folders it may include
    case $1 in
    base) echo base ;;
    autograd) echo autograd base ;;
    optim) echo optim autograd base ;;
    model) echo model autograd base ;;
    data) echo data base ;;
    eval) echo eval model data autograd base ;;
    train) echo train eval model optim data autograd base ;;
    docs) ;; # examples include <quipu.h>, as a program outside does
    *) echo cli train eval model optim data autograd base tests bench ;;
    esac
}
for f in $(find base autograd optim model data eval train cli bench docs tests -name '*.[ch]'); do
    dir=${f%%/*}
    for inc in $(sed -n 's/^ *# *include *"\([^"]*\)".*/\1/p' "$f"); do
        to=${inc%%/*}
        case " $(may "$dir") " in
        *" $to "*) ;;
        *) echo "layers: $f includes \"$inc\": $dir/ may not include $to/"; bad=1 ;;
        esac
        [ -e "$inc" ] || { echo "layers: $f includes \"$inc\": written from the root, no such file"; bad=1; }
    done
done
owner() { # header, the files that may include it
    header=$1; shift
    for f in $(grep -rlE "^ *# *include *<$header>" base autograd optim model data eval train cli bench docs tests --include='*.[ch]'); do
        case " $* " in
        *" $f "*) ;;
        *) echo "layers: $f includes <$header>: only $* may"; bad=1 ;;
        esac
    done
}
owner cblas.h autograd/cpu/gemm_blas.c
owner 'dnnl.*\.h' autograd/cpu/gemm_dnnl.c
owner hdf5.h base/h5.c
owner yaml.h train/config.c
owner mpi.h train/comm_mpi.c
owner pcre2.h data/pretok.c
owner 'z(lib|std)\.h' base/zio.c
owner 'microhttpd\.h' cli/http.c
owner 'curl/.*' cli/cmd_pull.c
for f in $(grep -rlE '^ *# *(pragma omp parallel|include *<omp.h>)' base autograd optim model data eval train cli --include='*.[ch]'); do
    case $f in autograd/cpu/*) ;; *) echo "layers: $f uses OpenMP: only autograd/cpu/ may"; bad=1 ;; esac
done
[ $bad = 0 ] && echo "layers: clean"
exit $bad
