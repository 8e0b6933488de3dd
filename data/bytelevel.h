/* GPT-2's printable names of the 256 bytes, in which tokenizer.json and GGUF write byte-level
   tokens: the printable characters of Latin-1 stand for themselves, the other 68 bytes are U+0100,
   U+0101, ... in order. */
#ifndef QP_DATA_BYTELEVEL_H
#define QP_DATA_BYTELEVEL_H
#include "base/buf.h"
#include <stdbool.h>
#include <stdint.h>

enum { QP_BYTELEVEL_END = 0x144 };
typedef struct {
    int16_t byte[QP_BYTELEVEL_END]; /* of a code point; -1: none */
    uint16_t name[256];
} qp_bytelevel;

void qp_bytelevel_init(qp_bytelevel *t);
/* Appends the bytes that `s` (valid UTF-8) names. False, and nothing appended, when a character
 * names no byte. */
bool qp_bytelevel_bytes(const qp_bytelevel *t, const char *s, size_t len, qp_buf *out);
void qp_bytelevel_names(const qp_bytelevel *t, const char *bytes, size_t len, qp_buf *out);
#endif
