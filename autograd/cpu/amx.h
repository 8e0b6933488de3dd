/* The eight tiles of AMX-BF16 (Intel's manual, volume 1, chapter 18), each of 16 rows of 64 bytes.
   Tiles belong to a thread, and no call keeps them: between qp_amx_config and qp_amx_release only
   functions may be called that are known not to use them.

   The file that includes this may define QP_AMX_EMULATED: then the same operations are loops over
   bytes in memory, so that what is built of them can be tested on any machine. */
#ifndef QP_AUTOGRAD_CPU_AMX_H
#define QP_AUTOGRAD_CPU_AMX_H
#include <stdbool.h>
#include <stdint.h>

/* As the instruction reads it: palette 1, then per tile its bytes a row and its rows. */
typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} qp_amx_shape;
_Static_assert(sizeof(qp_amx_shape) == 64, "as the processor reads it");

static const qp_amx_shape qp_amx_full = { .palette = 1,
                                          .row_bytes = { 64, 64, 64, 64, 64, 64, 64, 64 },
                                          .rows = { 16, 16, 16, 16, 16, 16, 16, 16 } };

#ifndef QP_AMX_EMULATED
#    include <cpuid.h>
#    include <sys/syscall.h>
#    include <unistd.h>

/* True when the CPU has AMX-BF16, the system saves its tiles, and this process may use them: Linux
   grants that on request, for all threads. */
static inline bool qp_amx_granted(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    const unsigned os_saves = 1u << 27, bf16_tiles = 1u << 22 | 1u << 24, states = 3u << 17;
    unsigned a, b, c, d, saved, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & os_saves)) return false;
    __asm__ volatile("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
    if ((saved & states) != states) return false;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & bf16_tiles) != bf16_tiles) return false;
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

/* Instructions by hand: gcc 12's _tile_loadconfig declares 8 of the 64 bytes as input, so that the
   optimiser drops the others. A tile is a literal number. */
#    define qp_amx_config(shape) __asm__ volatile("ldtilecfg %0" ::"m"(*(shape)) : "memory")
#    define qp_amx_release() __asm__ volatile("tilerelease" ::: "memory")
#    define qp_amx_zero(tile) __asm__ volatile("tilezero %%tmm" #    tile ::)
/* 16 rows of 64 bytes, `stride` bytes from row to row. */
#    define qp_amx_load(tile, from, stride)                                                        \
        __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile ::"r"((const void *)(from)),           \
                         "r"((int64_t)(stride))                                                    \
                         : "memory")
#    define qp_amx_store(tile, to, stride)                                                         \
        __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)" ::"r"((void *)(to)),               \
                         "r"((int64_t)(stride))                                                    \
                         : "memory")
/* sum[m][n] += over 16 pairs: a[m][pair] . b[pair][n]; sums are f32, pairs bf16. */
#    define qp_amx_dot(sum, a, b)                                                                  \
        __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #sum ::)

#else
#    include "autograd/cpu/quant.h"
#    include "base/err.h"
#    include <string.h>

static _Thread_local struct {
    bool ready;
    uint8_t tile[8][16][64];
} qp_amx_state;

/* The processor would raise an exception. */
static inline void qp_amx_config(const qp_amx_shape *s)
{
    for (int i = 0; i < 8; i++)
        QP_ASSERT(s->palette == 1 && s->row_bytes[i] == 64 && s->rows[i] == 16, "tile %d", i);
    memset(&qp_amx_state, 0, sizeof qp_amx_state);
    qp_amx_state.ready = true;
}

static inline void qp_amx_release(void) { qp_amx_state.ready = false; }

static inline uint8_t (*qp_amx_tile(int i))[64]
{
    QP_ASSERT(qp_amx_state.ready, "tile %d before its configuration", i);
    return qp_amx_state.tile[i];
}

static inline void qp_amx_zero(int tile) { memset(qp_amx_tile(tile), 0, 16 * 64); }

static inline void qp_amx_load(int tile, const void *from, int64_t stride)
{
    for (int i = 0; i < 16; i++) memcpy(qp_amx_tile(tile)[i], (const char *)from + i * stride, 64);
}

static inline void qp_amx_store(int tile, void *to, int64_t stride)
{
    for (int i = 0; i < 16; i++) memcpy((char *)to + i * stride, qp_amx_tile(tile)[i], 64);
}

/* Even and odd values of the pairs are summed apart, then together into the sum, as the manual has
   it; but it also takes denormal values for zero. */
static inline void qp_amx_dot(int sum, int a, int b)
{
    for (int m = 0; m < 16; m++) {
        float even[16] = { 0 }, odd[16] = { 0 }, c[16];
        uint16_t row[32], pairs[32];
        memcpy(row, qp_amx_tile(a)[m], sizeof row);
        memcpy(c, qp_amx_tile(sum)[m], sizeof c);
        for (int p = 0; p < 16; p++) {
            memcpy(pairs, qp_amx_tile(b)[p], sizeof pairs);
            float x = qp_from_bf16(row[2 * p]), y = qp_from_bf16(row[2 * p + 1]);
            for (int n = 0; n < 16; n++) {
                even[n] += x * qp_from_bf16(pairs[2 * n]);
                odd[n] += y * qp_from_bf16(pairs[2 * n + 1]);
            }
        }
        for (int n = 0; n < 16; n++) c[n] += even[n] + odd[n];
        memcpy(qp_amx_tile(sum)[m], c, sizeof c);
    }
}
#endif
#endif
