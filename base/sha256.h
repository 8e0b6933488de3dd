/* SHA-256 (FIPS 180-4). */
#ifndef QP_BASE_SHA256_H
#define QP_BASE_SHA256_H
#include "base/err.h"
#include <stdint.h>

typedef struct {
    uint32_t h[8];
    uint64_t bytes;
    uint8_t block[64];
    int hardware; /* this CPU has instructions for it */
} qp_sha256;

void qp_sha256_init(qp_sha256 *s);
void qp_sha256_add(qp_sha256 *s, const void *data, size_t len);
void qp_sha256_hex(qp_sha256 *s, char hex[65]); /* ends the hash */
qp_status qp_sha256_file(const char *path, char hex[65], qp_err *err) QP_MUST_CHECK;
/* The same past the page cache, where the file is large: of what was just written by qp_out. */
qp_status qp_sha256_written(const char *path, char hex[65], qp_err *err) QP_MUST_CHECK;
#endif
