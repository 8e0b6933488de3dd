#include "autograd/cpu/dispatch.h"
#include "autograd/cpu/product.h"
#include "autograd/cpu/tuned.h"
#include "autograd/work.h"
#include "base/err.h"
#include <omp.h>
#ifdef __x86_64__
#    include <cpuid.h>
#endif
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One build of the loop kernels; f64, the oracle, exists for plain machines only. */
typedef struct {
    const char *name; /* the backend's: "cpu-" and the instruction set's */
    bool (*usable)(void);
    const qp_kernels *f32, *bf16;
    const qp_product *loop; /* f32 */
    qp_convert_fn *to_f32, *to_bf16;
} build;

static bool always(void) { return true; }

#define TABLES(isa)                                                                                \
    extern const qp_kernels qp_kernels_f32_##isa, qp_kernels_bf16_##isa;                           \
    extern const qp_product qp_loop_f32_##isa;                                                     \
    qp_convert_fn qp_convert_f32_##isa, qp_convert_bf16_##isa;
#define BUILD(isa, usable)                                                                         \
    {                                                                                              \
        "cpu-" #isa, usable, &qp_kernels_f32_##isa, &qp_kernels_bf16_##isa, &qp_loop_f32_##isa,    \
            qp_convert_f32_##isa, qp_convert_bf16_##isa                                            \
    }

qp_convert_fn qp_convert_f64_base;
extern const qp_kernels qp_kernels_f64_base;
extern const qp_product qp_loop_f64_base;
TABLES(base)
#ifdef __x86_64__
static bool has_v3(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("bmi2");
}
static bool has_v4(void)
{
    return has_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}
/* The same with dot products of bf16 pairs. */
static bool has_v4bf16(void) { return has_v4() && __builtin_cpu_supports("avx512bf16"); }
#endif
#ifdef QP_HAVE_v3
TABLES(v3)
#endif
#ifdef QP_HAVE_v4
TABLES(v4)
/* Attention has a use for them, too. */
extern const qp_kernels qp_kernels_bf16_v4bf16;
#endif

/* Best first. */
static const build builds[] = {
#ifdef QP_HAVE_v4
    { "cpu-v4bf16", has_v4bf16, &qp_kernels_f32_v4, &qp_kernels_bf16_v4bf16, &qp_loop_f32_v4,
      qp_convert_f32_v4, qp_convert_bf16_v4 },
    BUILD(v4, has_v4),
#endif
#ifdef QP_HAVE_v3
    BUILD(v3, has_v3),
#endif
    BUILD(base, always),
};
static const char *isa(const build *b) { return b->name + strlen("cpu-"); }

const char *qp_cpu_build(int i)
{
    for (size_t b = 0; b < sizeof builds / sizeof *builds; b++)
        if (builds[b].usable() && i-- == 0) return isa(&builds[b]);
    return NULL;
}

/* QP_ISA names the build, for tests; one that the CPU lacks would die of SIGILL. */
static const build *best(void)
{
    const char *wanted = getenv("QP_ISA");
    for (size_t i = 0; i < sizeof builds / sizeof *builds; i++)
        if (builds[i].usable() && (!wanted || strcmp(wanted, isa(&builds[i])) == 0))
            return &builds[i];
    qp_fatal(QP_USAGE, __FILE__, __LINE__, "QP_ISA=%s: this program or this CPU has no such build",
             wanted);
}

/* Chosen once, on first use: a compute type's product costs its self-test only where it is used. */
typedef struct {
    const qp_product *product;
    char origin[200];
} choice;

static bool begins(const char *name, const char *with)
{
    return with && strncmp(name, with, strlen(with)) == 0;
}

static char wish[QP_NCOMPUTE][80];

void qp_cpu_prefer(qp_storage compute, const char *name)
{
    snprintf(wish[compute], sizeof wish[compute], "%s", name);
}

/* What is tried first: what the environment names, for tests and measurements; what a run that goes
   on began with; what `quipu bench --tune` found fastest. */
static int rank(const qp_product *p, const char *wanted, const char *wished, const char *tuned)
{
    if (begins(p->name, wanted)) return 0;
    if (!strcmp(p->name, wished)) return 1;
    return tuned && !strcmp(p->name, tuned) ? 2 : 3;
}

/* The first of the candidates that passes its self-test. */
static choice first_sound(qp_storage compute)
{
    const qp_product *candidate[QP_CANDIDATES];
    const int n = qp_product_candidates(compute, candidate);
    const char *wanted = getenv("QP_PRODUCT");
    char refused[160] = "", *tuned = qp_tuned_product(compute);
    choice c = { NULL, "" };
    for (int pass = 0; pass < 4; pass++)
        for (int i = 0; i < n && !c.product; i++) {
            const qp_product *p = candidate[i];
            if (rank(p, wanted, wish[compute], tuned) != pass) continue;
            const char *fault = qp_product_fault(p);
            if (!fault) c.product = p;
            if (fault && !*refused)
                snprintf(refused, sizeof refused, "; not %s: %s", p->name, fault);
        }
    free(tuned);
    if (!c.product) qp_fatal(QP_FAIL, __FILE__, __LINE__, "no matrix product is right%s", refused);
    snprintf(c.origin, sizeof c.origin, "%s%s", c.product->name, refused);
    return c;
}

/* Where OpenBLAS cannot tell the size of L2 and is not told, its products never end: see
   suggest_all. A program that uses the library may not have called qp_cpu_prepare. */
static bool blas_ends(void)
{
#ifdef __x86_64__
    unsigned a, b, c = 0, d;
    return getenv("OPENBLAS_L2_SIZE") || (__get_cpuid(0x80000006, &a, &b, &c, &d) && c >> 16);
#else
    return true;
#endif
}

/* Candidates, best first; NULL: not on this CPU. */

static void f64_products(const qp_product **p)
{
    p[0] = blas_ends() ? qp_blas_f64() : NULL;
    p[1] = &qp_loop_f64_base;
}

/* Our loops first: one Zen 5 core does 255 to 267 GFLOP/s with them, 225 to 250 with OpenBLAS in
   tiles of as many rows (AVX2: 132 and 133), they pad no row, and OpenBLAS's Haswell kernels fail
   the self-test. Without vector instructions OpenBLAS is faster. */
static void f32_products(const qp_product **p)
{
    const build *b = best();
    const bool plain = b->usable == always;
    p[plain] = b->loop;
    p[!plain] = blas_ends() ? qp_blas_f32() : NULL;
}

/* AMX first. Without bf16 instructions panels are widened for the f32 product. */
static void bf16_products(const qp_product **p)
{
#ifdef QP_HAVE_gemm_amx
    if (has_v4()) p[0] = qp_amx_bf16();
#endif
    const int pairs = qp_dnnl_has_amx() ? 3 : 1, library = qp_dnnl_has_amx() ? 1 : 2;
#ifdef QP_HAVE_gemm_bf16
    if (has_v4bf16()) p[pairs] = &qp_avx512_bf16; /* its file is built for all of that */
#endif
    p[library] = qp_dnnl_bf16(false);
    p[library + 1] = qp_dnnl_bf16(true);
    p[4] = qp_product_for(QP_F32);
    p[5] = &qp_amx_emulated;
}

int qp_product_candidates(qp_storage compute, const qp_product *candidate[QP_CANDIDATES])
{
    static void (*const list[])(const qp_product **) = { f64_products, f32_products,
                                                         bf16_products };
    const qp_product *p[QP_CANDIDATES] = { NULL };
    int n = 0;
    list[compute](p);
    for (int i = 0; i < QP_CANDIDATES; i++)
        if (p[i]) candidate[n++] = p[i];
    return n;
}

static choice chosen[QP_NCOMPUTE];

static void choose_f64(void) { chosen[QP_F64] = first_sound(QP_F64); }
static void choose_f32(void) { chosen[QP_F32] = first_sound(QP_F32); }
static void choose_bf16(void) { chosen[QP_BF16] = first_sound(QP_BF16); }

/* A jump out of pthread_once would lock out everybody else for good. */
static void once(pthread_once_t *control, void (*choose)(void))
{
    qp_on_fatal_hold(true);
    pthread_once(control, choose);
    qp_on_fatal_hold(false);
}

const qp_product *qp_product_for(qp_storage compute)
{
    static pthread_once_t control[QP_NCOMPUTE] = { PTHREAD_ONCE_INIT, PTHREAD_ONCE_INIT,
                                                   PTHREAD_ONCE_INIT };
    static void (*const choose[])(void) = { choose_f64, choose_f32, choose_bf16 };
    once(&control[compute], choose[compute]);
    return chosen[compute].product;
}

static qp_backend backend;
static qp_convert_fn *converter[QP_NCOMPUTE];

static void choose_backend(void)
{
    const build *b = best();
    converter[QP_F64] = qp_convert_f64_base;
    converter[QP_F32] = b->to_f32;
    converter[QP_BF16] = b->to_bf16;
    backend = (qp_backend){ b->name, { &qp_kernels_f64_base, b->f32, b->bf16 } };
}

const qp_backend *qp_cpu_backend(void)
{
    static pthread_once_t control = PTHREAD_ONCE_INIT;
    once(&control, choose_backend);
    return &backend;
}

qp_convert_fn *qp_converter(qp_storage to)
{
    qp_cpu_backend();
    return converter[to];
}

size_t qp_matmul_work(void) { return (size_t)omp_get_max_threads() * QP_PRODUCT_BYTES; }

const char *qp_kernel_origin(const qp_backend *be, const char *name, qp_storage compute)
{
    bool cpu = be == &backend, product = strncmp(name, "matmul", 6) == 0;
    if (cpu && product) return qp_product_for(compute), chosen[compute].origin;
    return cpu && compute == QP_F64 ? "cpu-base" : be->name;
}

void qp_cpu_threads(int threads)
{
    if (threads > 0) omp_set_num_threads(threads);
}

int qp_cpu_thread_count(void) { return omp_get_max_threads(); }

/* True when the environment lacked `name` and now has it. */
static bool suggest(const char *name, const char *value)
{
    return value && !getenv(name) && setenv(name, value, 0) == 0;
}

/* OpenBLAS's own choice: Haswell kernels on AVX-512 machines that it does not know; and where it
   cannot tell the size of L2, blocks of no rows, which never end. 512 KiB is as fast as 1024 on a
   core that has 1024.

   libgomp lets a thread that has nothing to do spin for 300,000 rounds, milliseconds: when other
   programs use the cores, regions of microseconds then take milliseconds (measured: mean 3 us to 21
   ms alike; with 1000 rounds 3 to 350 us, and on idle cores as fast as ever). */
static bool suggest_all(void)
{
    const char *core = NULL;
#ifdef QP_HAVE_v3
    core = has_v3() ? "Haswell" : core;
#endif
#ifdef QP_HAVE_v4
    core = has_v4() ? "SkylakeX" : core;
#endif
    bool changed = suggest("OPENBLAS_CORETYPE", core);
    changed |= suggest("OPENBLAS_L2_SIZE", core ? "512" : NULL);
    return changed | suggest("GOMP_SPINCOUNT", getenv("OMP_WAIT_POLICY") ? NULL : "1000");
}

/* With OMP_PROC_BIND libgomp has by now bound this thread to the first of its places; run again,
   the program would think the machine has no other CPU, and work on that alone (at 57 % of the
   speed of two). */
static void unbind(void)
{
    cpu_set_t all;
    CPU_ZERO(&all);
    for (int place = 0; place < omp_get_num_places(); place++) {
        const int n = omp_get_place_num_procs(place);
        int *cpu = calloc((size_t)n + 1, sizeof *cpu);
        if (!cpu) return;
        omp_get_place_proc_ids(place, cpu);
        for (int i = 0; i < n; i++)
            if (cpu[i] < CPU_SETSIZE) CPU_SET(cpu[i], &all);
        free(cpu);
    }
    if (CPU_COUNT(&all)) (void)sched_setaffinity(0, sizeof all, &all);
}

/* Where the program cannot be run again it goes on as it is: slower, not wrong. */
void qp_cpu_prepare(int argc, char **argv)
{
    static const char mark[] = "QP_PREPARED"; /* never twice */
    if (argc < 1 || getenv(mark)) {
        unsetenv(mark);
        return;
    }
    char path[4096]; /* by its name, which ps shows, rather than as "exe" */
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0 || !suggest_all()) return;
    path[n] = '\0';
    setenv(mark, "1", 1);
    unbind();
    execv(path, argv);
    unsetenv(mark);
}
