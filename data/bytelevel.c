#include "data/bytelevel.h"
#include "data/unicode.h"

void qp_bytelevel_init(qp_bytelevel *t)
{
    uint16_t next = 0x100;
    for (int i = 0; i < QP_BYTELEVEL_END; i++) t->byte[i] = -1;
    for (int b = 0; b < 256; b++) {
        bool itself = (b >= '!' && b <= '~') || (b >= 0xA1 && b != 0xAD);
        t->name[b] = itself ? (uint16_t)b : next++;
        t->byte[t->name[b]] = (int16_t)b;
    }
}

bool qp_bytelevel_bytes(const qp_bytelevel *t, const char *s, size_t len, qp_buf *out)
{
    size_t before = out->len;
    for (const char *end = s + len; s < end;) {
        uint32_t c = qp_utf8_next(&s);
        if (c >= QP_BYTELEVEL_END || t->byte[c] < 0) {
            out->len = before;
            return false;
        }
        qp_buf_char(out, (char)t->byte[c]);
    }
    return true;
}

void qp_bytelevel_names(const qp_bytelevel *t, const char *bytes, size_t len, qp_buf *out)
{
    char utf8[4];
    for (size_t i = 0; i < len; i++)
        qp_buf_add(out, utf8, (size_t)qp_utf8_put(utf8, t->name[(uint8_t)bytes[i]]));
}
