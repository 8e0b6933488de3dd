#include "autograd/cpu/dispatch.h"
#include "autograd/cpu/product.h"
#include "autograd/work.h"
#include "base/err.h"
#include <omp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* One build of the loop kernels; f64, the oracle, exists for plain machines only. */
typedef struct {
    const char *isa, *backend;
    bool (*usable)(void);
    const qp_kernels *f32, *bf16;
} build;

static bool always(void) { return true; }

#define TABLES(isa) extern const qp_kernels qp_kernels_f32_##isa, qp_kernels_bf16_##isa;
#define BUILD(isa, usable)                                                                         \
    {                                                                                              \
#        isa, "cpu-" #        isa, usable, &qp_kernels_f32_##isa, &qp_kernels_bf16_##isa           \
    }

extern const qp_kernels qp_kernels_f64_base;
TABLES(base)
#ifdef QP_HAVE_v3
TABLES(v3)
static bool has_v3(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("bmi2");
}
#endif
#ifdef QP_HAVE_v4
TABLES(v4)
static bool has_v4(void)
{
    return has_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}
#endif

/* Best first. */
static const build builds[] = {
#ifdef QP_HAVE_v4
    BUILD(v4, has_v4),
#endif
#ifdef QP_HAVE_v3
    BUILD(v3, has_v3),
#endif
    BUILD(base, always),
};

const char *qp_cpu_build(int i)
{
    for (size_t b = 0; b < sizeof builds / sizeof *builds; b++)
        if (builds[b].usable() && i-- == 0) return builds[b].isa;
    return NULL;
}

/* QP_ISA names the build; one that the CPU lacks is a usage error, since it would die of SIGILL. */
static const build *choose(void)
{
    const char *wanted = getenv("QP_ISA");
    for (size_t i = 0; i < sizeof builds / sizeof *builds; i++)
        if (builds[i].usable() && (!wanted || strcmp(wanted, builds[i].isa) == 0))
            return &builds[i];
    qp_fatal(QP_USAGE, __FILE__, __LINE__, "QP_ISA=%s: this program or CPU has no such build",
             wanted);
}

const qp_backend *qp_cpu_backend(void)
{
    static qp_backend chosen;
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)once;
    const build *b = choose();
    chosen = (qp_backend){ b->backend, { &qp_kernels_f64_base, b->f32, b->bf16 } };
    return &chosen;
}

const qp_product *qp_product_for(qp_storage compute)
{
    const qp_product *p = compute == QP_BF16 ? qp_dnnl_bf16() : NULL;
    return p ? p : compute == QP_F64 ? qp_blas_f64() : qp_blas_f32();
}

size_t qp_matmul_work(void) { return (size_t)omp_get_max_threads() * QP_PRODUCT_BYTES; }

const char *qp_kernel_origin(const qp_backend *be, const char *name, qp_storage compute)
{
    if (strncmp(name, "matmul", 6) == 0 && strcmp(be->name, "null") != 0)
        return qp_product_for(compute)->name;
    return be->name;
}

void qp_cpu_prepare(int argc, char **argv) { (void)argc, (void)argv; }
