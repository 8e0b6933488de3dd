/* Readers of foreign files, fed with thousands of damaged ones: any answer is right but a crash, a
   hang or a read out of bounds, which the sanitizer build sees. The seed is fixed: a failure
   repeats. */
#include "base/gguf.h"
#include "base/rng.h"
#include "base/safetensors.h"
#include "tests/base/files.h"
#include <sys/mman.h>
#include <unistd.h>

enum { ROUNDS = 4000 };
/* A file in memory: on a disk, writing thousands of files would take most of the time. */
static int fd;
static char path[40];

static void set_up(void)
{
    fd = memfd_create("damaged", 0);
    ck_assert_int_ge(fd, 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
}
static void tear_down(void) { close(fd); }

static void write_bytes(const qp_buf *b)
{
    ck_assert_int_eq(ftruncate(fd, 0), 0);
    ck_assert_int_eq(pwrite(fd, b->data, b->len, 0), (ssize_t)b->len);
}

/* ---- damage ---- */

static uint64_t draw(qp_rng *r, uint64_t n) { return qp_rng_below(r->key, qp_rng_stream(r), 0, n); }

/* Numbers that break size arithmetic, as text for JSON and as words for binary fields. */
static const uint64_t evil[] = { 0,   1,        7,          8,          31,         32,
                                 255, 1u << 31, 1ull << 32, 1ull << 62, 1ull << 63, UINT64_MAX };
static const char *const tokens[] = { "-1",
                                      "18446744073709551616",
                                      "1e400",
                                      "[",
                                      "]",
                                      "{",
                                      "}",
                                      "\"",
                                      ",",
                                      ":",
                                      "null",
                                      "\\u0000",
                                      "\\ud800",
                                      "0.5",
                                      "9223372036854775807",
                                      "\xFF",
                                      "\"\"" };

static void damage_once(qp_buf *b, qp_rng *r)
{
    size_t at = b->len ? draw(r, b->len) : 0, n = 0;
    const char *token = tokens[draw(r, sizeof tokens / sizeof *tokens)];
    switch (draw(r, 6)) {
    case 0: /* a bit */
        if (b->len) b->data[at] = (char)(b->data[at] ^ 1 << draw(r, 8));
        break;
    case 1: /* a byte */
        if (b->len) b->data[at] = (char)draw(r, 256);
        break;
    case 2: /* cut off */
        b->len = at;
        break;
    case 3: /* a number over eight bytes */
        if (b->len - at >= 8) memcpy(b->data + at, &evil[draw(r, sizeof evil / sizeof *evil)], 8);
        break;
    case 4: /* text put in */
        n = strlen(token);
        qp_buf_add(b, token, n);
        memmove(b->data + at + n, b->data + at, b->len - n - at);
        memcpy(b->data + at, token, n);
        break;
    default: /* a stretch taken out */
        n = draw(r, b->len - at + 1);
        memmove(b->data + at, b->data + at + n, b->len - at - n);
        b->len -= n;
    }
}

/* The whole text, in memory without a byte to spare, and its damage of 1 to 4 places. */
static void damaged(qp_buf *to, const qp_buf *from, qp_rng *r)
{
    qp_buf_clear(to);
    qp_buf_add(to, from->data, from->len);
    for (uint64_t n = 1 + draw(r, 4); n; n--) damage_once(to, r);
}

/* Reads every byte, so that a bad pointer shows. */
static uint64_t touch(const void *data, size_t bytes)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < bytes; i++) sum += ((const uint8_t *)data)[i];
    return sum;
}

static volatile uint64_t sink;

static void check_failure(qp_status rc, const qp_err *err)
{
    if (!rc) return;
    ck_assert_int_eq(rc, err->status);
    ck_assert_int_eq(rc, QP_BADFILE);
    ck_assert(err->msg[0]);
}

/* ---- the readers ---- */

static bool read_json(const qp_buf *b)
{
    qp_err err = { 0 };
    char *copy = qp_xmalloc(b->len);
    memcpy(copy, b->data, b->len);
    qp_value *v;
    qp_status rc = qp_json_parse(&v, copy, b->len, &err);
    free(copy);
    check_failure(rc, &err);
    qp_json_free(v);
    return !rc;
}

static bool read_safetensors(const qp_buf *b)
{
    qp_err err = { 0 };
    qp_safetensors st;
    write_bytes(b);
    qp_status rc = qp_safetensors_open(&st, path, NULL, &err);
    check_failure(rc, &err);
    for (int64_t i = 0; i < st.count; i++) sink += touch(st.tensor[i].data, st.tensor[i].bytes);
    qp_safetensors_release(&st);
    return !rc;
}

static bool read_gguf(const qp_buf *b)
{
    qp_err err = { 0 };
    qp_gguf g;
    write_bytes(b);
    qp_status rc = qp_gguf_open(&g, path, &err);
    check_failure(rc, &err);
    for (int64_t i = 0; i < g.n_tensors; i++) sink += touch(g.tensor[i].data, g.tensor[i].bytes);
    for (int64_t i = 0; i < g.n_values; i++) {
        const qp_gguf_value *v = &g.value[i];
        int64_t n;
        double x;
        sink += qp_gguf_int(&g, v->key, &n) + qp_gguf_double(&g, v->key, &x);
        for (uint64_t k = 0; v->text && k < v->count; k++)
            sink += touch(v->text[k].s, v->text[k].len);
        for (uint64_t k = 0; v->is_array && v->type == QP_GGUF_I32 && k < v->count; k++)
            sink += (uint64_t)qp_gguf_array_int(v, k);
    }
    qp_gguf_release(&g);
    return !rc;
}

/* The whole file must be read; of the damaged ones, some refused (else the damage is none). */
static void attack(const qp_buf *whole, uint64_t seed, bool (*read)(const qp_buf *))
{
    qp_rng r = { .key = qp_rng_key(seed, "mutations") };
    qp_buf b = { 0 };
    ck_assert(read(whole));
    int refused = 0;
    for (int i = 0; i < ROUNDS; i++) {
        damaged(&b, whole, &r);
        refused += !read(&b);
    }
    ck_assert_int_gt(refused, ROUNDS / 4);
    qp_buf_release(&b);
}

/* ---- the whole files ---- */

START_TEST(damaged_json_never_crashes)
{
    qp_buf b = { 0 };
    qp_buf_str(
        &b,
        "{\"a\": [1, -2.5e-3, true, false, null, {\"b\": \"x\\n\\u00e9\\ud83d\\ude00\xC3\xA9\"}],"
        " \"empty\": {}, \"list\": [[], [[1]], \"\"], \"n\": 12345678901234567890}");
    attack(&b, 1, read_json);
    qp_buf_release(&b);
}
END_TEST

START_TEST(damaged_safetensors_never_crash)
{
    static const char header[] =
        "{\"__metadata__\":{\"format\":\"pt\"},\"b\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_"
        "offsets\":[0,24]},"
        "\"a\":{\"dtype\":\"BF16\",\"shape\":[0],\"data_offsets\":[24,24]},"
        "\"c\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[24,27]}}";
    qp_buf b = { 0 };
    uint64_t len = sizeof header - 1;
    qp_buf_add(&b, &len, sizeof len);
    qp_buf_str(&b, header);
    for (int i = 0; i < 27; i++) qp_buf_char(&b, (char)i);
    attack(&b, 2, read_safetensors);
    qp_buf_release(&b);
}
END_TEST

static void u32(qp_buf *b, uint32_t v) { qp_buf_add(b, &v, sizeof v); }
static void u64(qp_buf *b, uint64_t v) { qp_buf_add(b, &v, sizeof v); }
static void text(qp_buf *b, const char *s)
{
    u64(b, strlen(s));
    qp_buf_str(b, s);
}

START_TEST(damaged_gguf_never_crashes)
{
    qp_buf b = { 0 };
    qp_buf_str(&b, "GGUF"), u32(&b, 3), u64(&b, 2), u64(&b, 4);
    text(&b, "general.alignment"), u32(&b, QP_GGUF_U32), u32(&b, 32);
    text(&b, "name"), u32(&b, QP_GGUF_STRING), text(&b, "llama");
    text(&b, "words"), u32(&b, QP_GGUF_ARRAY), u32(&b, QP_GGUF_STRING), u64(&b, 2), text(&b, "a"),
        text(&b, "bc");
    text(&b, "ints"), u32(&b, QP_GGUF_ARRAY), u32(&b, QP_GGUF_I32), u64(&b, 2), u32(&b, 1),
        u32(&b, 2);
    text(&b, "w"), u32(&b, 2), u64(&b, 2), u64(&b, 3), u32(&b, 0), u64(&b, 0);
    text(&b, "q"), u32(&b, 1), u64(&b, 32), u32(&b, 8), u64(&b, 32);
    while (b.len % 32) qp_buf_char(&b, 0);
    for (int i = 0; i < 66; i++) qp_buf_char(&b, (char)i);
    attack(&b, 3, read_gguf);
    qp_buf_release(&b);
}
END_TEST

Suite *suite_mutations(void)
{
    Suite *s = suite_create("mutations");
    TCase *t = tcase_create("mutations");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, damaged_json_never_crashes);
    tcase_add_test(t, damaged_safetensors_never_crash);
    tcase_add_test(t, damaged_gguf_never_crashes);
    suite_add_tcase(s, t);
    return s;
}
