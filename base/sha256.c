#include "base/sha256.h"
#include "base/buf.h"
#include "base/zio.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __x86_64__
#    include <cpuid.h>
#    include <immintrin.h>
#endif

/* The first 32 bits of the fractions of the cube roots of the first 64 primes. */
static const uint32_t k[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t turn(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void portable(uint32_t h[8], const uint8_t *p, size_t blocks)
{
    for (; blocks; blocks--, p += 64) {
        uint32_t w[64], v[8];
        for (int i = 0; i < 16; i++) {
            memcpy(&w[i], p + 4 * i, 4);
            w[i] = __builtin_bswap32(w[i]);
        }
        for (int i = 16; i < 64; i++) {
            uint32_t s0 = turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3;
            uint32_t s1 = turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10;
            w[i] = w[i - 16] + s0 + w[i - 7] + s1;
        }
        memcpy(v, h, sizeof v);
        for (int i = 0; i < 64; i += 8) {
#pragma GCC unroll 8
            for (int j = 0; j < 8;
                 j++) { /* the letters move on by a place a round, not the values */
                uint32_t a = v[-j & 7], b = v[(1 - j) & 7], c = v[(2 - j) & 7];
                uint32_t e = v[(4 - j) & 7], f = v[(5 - j) & 7], g = v[(6 - j) & 7];
                uint32_t s1 = turn(e, 6) ^ turn(e, 11) ^ turn(e, 25);
                uint32_t s0 = turn(a, 2) ^ turn(a, 13) ^ turn(a, 22);
                uint32_t t = v[(7 - j) & 7] + s1 + ((e & f) ^ (~e & g)) + k[i + j] + w[i + j];
                v[(3 - j) & 7] += t;
                v[(7 - j) & 7] = t + s0 + ((a & b) ^ (a & c) ^ (b & c));
            }
        }
        for (int i = 0; i < 8; i++) h[i] += v[i];
    }
}

#ifdef __x86_64__
static int has_instructions(void)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 29 & 1);
}

/* Two rounds an instruction, on the state's halves a b e f and c d g h. */
__attribute__((target("sha,sse4.1"))) static void hardware(uint32_t h[8], const uint8_t *p,
                                                           size_t blocks)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i dcba = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)h), 0xB1);
    __m128i hgfe = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(h + 4)), 0x1B);
    __m128i abef = _mm_alignr_epi8(dcba, hgfe, 8), cdgh = _mm_blend_epi16(hgfe, dcba, 0xF0);
    for (; blocks; blocks--, p += 64) {
        const __m128i abef0 = abef, cdgh0 = cdgh;
        __m128i w[4];
#    pragma GCC unroll 16
        for (int i = 0; i < 16; i++) { /* four rounds and their four words */
            if (i < 4) {
                w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)p + i), swap);
            } else {
                __m128i t = _mm_alignr_epi8(w[(i + 3) % 4], w[(i + 2) % 4], 4); /* w[t-7] */
                t = _mm_add_epi32(t, _mm_sha256msg1_epu32(w[i % 4], w[(i + 1) % 4]));
                w[i % 4] = _mm_sha256msg2_epu32(t, w[(i + 3) % 4]);
            }
            __m128i wk = _mm_add_epi32(w[i % 4], _mm_load_si128((const __m128i *)k + i));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, wk);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(wk, 0x0E));
        }
        abef = _mm_add_epi32(abef, abef0);
        cdgh = _mm_add_epi32(cdgh, cdgh0);
    }
    __m128i feba = _mm_shuffle_epi32(abef, 0x1B), dchg = _mm_shuffle_epi32(cdgh, 0xB1);
    _mm_storeu_si128((__m128i *)h, _mm_blend_epi16(feba, dchg, 0xF0));
    _mm_storeu_si128((__m128i *)(h + 4), _mm_alignr_epi8(dchg, feba, 8));
}
#else
static int has_instructions(void) { return 0; }
#    define hardware portable
#endif

static void compress(qp_sha256 *s, const uint8_t *p, size_t blocks)
{
    if (s->hardware)
        hardware(s->h, p, blocks);
    else
        portable(s->h, p, blocks);
}

void qp_sha256_init(qp_sha256 *s)
{
    *s = (qp_sha256){ .h = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c,
                             0x1f83d9ab, 0x5be0cd19 } };
    s->hardware = has_instructions();
}

void qp_sha256_add(qp_sha256 *s, const void *data, size_t len)
{
    const uint8_t *p = data;
    size_t filled = s->bytes % 64;
    s->bytes += len;
    if (filled + len < 64) {
        if (len) memcpy(s->block + filled, p, len);
        return;
    }
    if (filled) {
        memcpy(s->block + filled, p, 64 - filled);
        compress(s, s->block, 1);
        p += 64 - filled;
        len -= 64 - filled;
    }
    compress(s, p, len / 64);
    memcpy(s->block, p + len / 64 * 64, len % 64);
}

void qp_sha256_hex(qp_sha256 *s, char hex[65])
{
    static const uint8_t padding[64] = { 0x80 };
    static const char digit[] = "0123456789abcdef";
    uint64_t bits = __builtin_bswap64(8 * s->bytes);
    qp_sha256_add(s, padding, 64 - (s->bytes + 8) % 64);
    qp_sha256_add(s, &bits, sizeof bits);
    for (int i = 0; i < 64; i++) hex[i] = digit[s->h[i / 8] >> (28 - 4 * (i % 8)) & 15];
    hex[64] = '\0';
}

static qp_status hash_file(const char *path, bool written, char hex[65], qp_err *err)
{
    enum { CHUNK = 1 << 18 }; /* stays in cache between read and hash */
    int fd;
    uint64_t bytes = 0;
    qp_status rc = qp_file_open(path, &fd, &bytes, err);
    if (rc) return rc;
    qp_sha256 s;
    qp_sha256_init(&s);
    uint8_t *buffer = qp_xaligned(QP_DIRECT_BLOCK, CHUNK);
    bool direct = written && bytes >= QP_DIRECT_LEAST && qp_fd_direct(fd, true);
    for (ssize_t n = 1; n && !rc;) {
        n = read(fd, buffer, CHUNK);
        if (n < 0 && errno == EINVAL && direct) { /* behind the end, which is within a block */
            direct = false;
            if (qp_fd_direct(fd, false)) n = read(fd, buffer, CHUNK);
        }
        if (n > 0)
            qp_sha256_add(&s, buffer, (size_t)n);
        else if (n < 0 && errno != EINTR)
            rc = qp_fail(err, QP_IO, "%s: cannot read: %s", path, strerror(errno));
    }
    qp_sha256_hex(&s, hex);
    free(buffer);
    close(fd);
    return rc;
}

qp_status qp_sha256_file(const char *path, char hex[65], qp_err *err)
{
    return hash_file(path, false, hex, err);
}

qp_status qp_sha256_written(const char *path, char hex[65], qp_err *err)
{
    return hash_file(path, true, hex, err);
}
