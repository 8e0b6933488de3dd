#include "train/versions.h"
#include "autograd/cpu/dispatch.h"
#include "base/h5.h"
#include "data/pretok.h"
#include "train/tree.h"
#include <stdlib.h>

#ifdef __clang__
#    define COMPILER __VERSION__ /* begins with its name */
#else
#    define COMPILER "gcc " __VERSION__
#endif

void qp_versions(void (*fn)(void *arg, const char *name, const char *version), void *arg)
{
    static const struct {
        const char *name;
        char *(*version)(void);
    } library[] = { { "openblas", qp_blas_version },
                    { "onednn", qp_dnnl_version },
                    { "hdf5", qp_h5_version },
                    { "libyaml", qp_yaml_version },
                    { "pcre2", qp_pcre2_version } };
    fn(arg, "quipu", QP_VERSION);
    fn(arg, "compiler", COMPILER);
    for (size_t i = 0; i < sizeof library / sizeof *library; i++) {
        char *version = library[i].version();
        fn(arg, library[i].name, version);
        free(version);
    }
}
