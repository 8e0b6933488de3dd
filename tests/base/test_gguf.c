#include "base/gguf.h"
#include "tests/base/files.h"

static char *dir, *path;
static qp_err err;

static void set_up(void)
{
    dir = test_dir();
    path = qp_path_join(dir, "f.gguf");
}
static void tear_down(void)
{
    free(path);
    test_remove_dir(dir);
}

/* ---- a writer as small as the format ---- */

static void u8(qp_buf *b, uint8_t v) { qp_buf_add(b, &v, sizeof v); }
static void u32(qp_buf *b, uint32_t v) { qp_buf_add(b, &v, sizeof v); }
static void u64(qp_buf *b, uint64_t v) { qp_buf_add(b, &v, sizeof v); }
static void text(qp_buf *b, const char *s)
{
    u64(b, strlen(s));
    qp_buf_str(b, s);
}
static void head(qp_buf *b, uint32_t version, uint64_t tensors, uint64_t values)
{
    qp_buf_str(b, "GGUF");
    u32(b, version);
    u64(b, tensors);
    u64(b, values);
}
static void key(qp_buf *b, const char *name, uint32_t type)
{
    text(b, name);
    u32(b, type);
}
static void array(qp_buf *b, const char *name, uint32_t type, uint64_t count)
{
    key(b, name, QP_GGUF_ARRAY);
    u32(b, type);
    u64(b, count);
}
static void tensor(qp_buf *b, const char *name, int ndim, const uint64_t *dim, uint32_t type,
                   uint64_t offset)
{
    text(b, name);
    u32(b, (uint32_t)ndim);
    for (int i = 0; i < ndim; i++) u64(b, dim[i]);
    u32(b, type);
    u64(b, offset);
}
static void pad(qp_buf *b, size_t alignment)
{
    while (b->len % alignment) u8(b, 0);
}

enum { F32 = 0, F16 = 1, Q4_0 = 2, Q8_0 = 8, Q4_K = 12, BF16 = 30 };

static qp_status open_bytes(qp_gguf *g, qp_buf *b)
{
    test_write(path, b->data, b->len);
    qp_buf_release(b);
    return qp_gguf_open(g, path, &err);
}

static qp_status try(const char *file, qp_err *e)
{
    qp_gguf g;
    qp_status rc = qp_gguf_open(&g, file, e);
    qp_gguf_release(&g);
    return rc;
}

static const test_bad shared[] = {
    { "gguf/tensor_count.gguf", "tensor count 1152921504606846976: more than the file can hold" },
    { "gguf/kv_count.gguf", "metadata count" },
    { "gguf/string_length.gguf", "string length" },
    { "gguf/unknown_value_type.gguf", "x.y: unknown value type 77" },
    { "gguf/unknown_tensor_type.gguf", "tensor w: unknown type 999" },
    { "gguf/offset_beyond_file.gguf", "tensor w: offset" },
};

START_TEST(shared_broken_files_are_refused_by_name_and_cause)
{
    test_bad_files("gguf", shared, (int)(sizeof shared / sizeof *shared), try);
}
END_TEST

/* A whole file of version 2 or 3 with every type of value. */
static void whole(qp_buf *b, uint32_t version)
{
    head(b, version, 3, 15);
    key(b, "u8", QP_GGUF_U8), u8(b, 200);
    key(b, "i8", QP_GGUF_I8), u8(b, (uint8_t)-3);
    key(b, "u16", QP_GGUF_U16), qp_buf_add(b, "\xFF\xFF", 2);
    key(b, "i16", QP_GGUF_I16), qp_buf_add(b, "\xFE\xFF", 2);
    key(b, "u32", QP_GGUF_U32), u32(b, 4000000000u);
    key(b, "i32", QP_GGUF_I32), u32(b, (uint32_t)-7);
    key(b, "f32", QP_GGUF_F32), qp_buf_add(b, &(float){ 0.5f }, 4);
    key(b, "bool", QP_GGUF_BOOL), u8(b, 1);
    key(b, "string", QP_GGUF_STRING), text(b, "llama");
    key(b, "u64", QP_GGUF_U64), u64(b, UINT64_MAX);
    key(b, "i64", QP_GGUF_I64), u64(b, (uint64_t)INT64_MIN);
    key(b, "f64", QP_GGUF_F64), qp_buf_add(b, &(double){ 1e300 }, 8);
    array(b, "ints", QP_GGUF_I32, 3), u32(b, 1), u32(b, (uint32_t)-2), u32(b, 3);
    array(b, "words", QP_GGUF_STRING, 3), text(b, "a"), text(b, ""), text(b, "ccc");
    array(b, "floats", QP_GGUF_F32, 2), qp_buf_add(b, (float[]){ 1.5f, -2 }, 8);
    tensor(b, "w", 2, (uint64_t[]){ 3, 2 }, F32, 0); /* innermost first: 2 rows of 3 */
    tensor(b, "q", 1, (uint64_t[]){ 64 }, Q8_0, 32);
    tensor(b, "a", 3, (uint64_t[]){ 1, 1, 2 }, BF16, 128);
    pad(b, 32);
    for (int i = 0; i < 132; i++) u8(b, (uint8_t)i);
}

START_TEST(a_whole_file_is_read)
{
    qp_gguf g;
    qp_buf b = { 0 };
    whole(&b, (uint32_t)_i);
    ck_assert_msg(!open_bytes(&g, &b), "%s", err.msg);
    ck_assert_uint_eq(g.version, _i);
    ck_assert_int_eq(g.n_values, 15);
    ck_assert_int_eq(g.n_tensors, 3);
    static const struct {
        const char *key;
        bool there;
        int64_t want;
    } ints[] = { { "u8", true, 200 },   { "i8", true, -3 },          { "u16", true, 65535 },
                 { "i16", true, -2 },   { "u32", true, 4000000000 }, { "i32", true, -7 },
                 { "bool", true, 1 },   { "i64", true, INT64_MIN },  { "u64", false, 0 },
                 { "f32", false, 0 },   { "string", false, 0 },      { "ints", false, 0 },
                 { "absent", false, 0 } };
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) {
        int64_t v = 0;
        ck_assert_msg(qp_gguf_int(&g, ints[i].key, &v) == ints[i].there, "%s", ints[i].key);
        if (ints[i].there) ck_assert_int_eq(v, ints[i].want);
    }
    double d;
    ck_assert(qp_gguf_double(&g, "f32", &d) && d == 0.5);
    ck_assert(qp_gguf_double(&g, "f64", &d) && d == 1e300);
    ck_assert(qp_gguf_double(&g, "u8", &d) && d == 200);
    ck_assert(!qp_gguf_double(&g, "string", &d) && !qp_gguf_double(&g, "floats", &d));
    qp_gguf_text t;
    ck_assert(qp_gguf_string(&g, "string", &t) && t.len == 5 && !memcmp(t.s, "llama", 5));
    ck_assert(!qp_gguf_string(&g, "words", &t) && !qp_gguf_string(&g, "u8", &t));
    const qp_gguf_value *words = qp_gguf_find(&g, "words"), *ints_v = qp_gguf_find(&g, "ints");
    ck_assert(words->is_array && words->count == 3 && words->text[1].len == 0 &&
              words->text[2].len == 3);
    ck_assert_mem_eq(words->text[2].s, "ccc", 3);
    ck_assert_int_eq(qp_gguf_array_int(ints_v, 1), -2);
    ck_assert(qp_gguf_array_double(qp_gguf_find(&g, "floats"), 1) == -2);
    ck_assert(qp_gguf_array_double(ints_v, 2) == 3);

    const qp_file_tensor *w = qp_gguf_tensor(&g, "w"), *q = qp_gguf_tensor(&g, "q"),
                         *a = qp_gguf_tensor(&g, "a");
    ck_assert(w->storage == QP_F32 && w->ndim == 2 && w->shape[0] == 2 && w->shape[1] == 3 &&
              w->numel == 6);
    ck_assert(q->storage == QP_Q8_0 && q->bytes == 68 && *(const uint8_t *)q->data == 32);
    ck_assert(a->storage == QP_BF16 && a->ndim == 3 && a->shape[0] == 2 &&
              *(const uint8_t *)a->data == 128);
    ck_assert_ptr_null(qp_gguf_tensor(&g, "absent"));
    qp_gguf_release(&g);
    qp_gguf_release(&g); /* harmless on zeroes */
}
END_TEST

START_TEST(a_file_cut_anywhere_is_refused)
{
    qp_buf b = { 0 };
    whole(&b, 3);
    for (size_t n = 0; n < b.len; n++) {
        test_write(path, b.data, n);
        ck_assert_msg(try(path, &err) == QP_BADFILE, "cut at %zu: accepted", n);
    }
    qp_buf_release(&b);
}
END_TEST

/* ---- one broken thing each ---- */

static const uint64_t four[] = { 4 };

static void other_magic(qp_buf *b) { qp_buf_str(b, "GGML"); }
static void version_1(qp_buf *b) { head(b, 1, 0, 0); }
static void big_endian(qp_buf *b) { head(b, 0x03000000, 0, 0); }
static void many_tensors(qp_buf *b) { head(b, 3, UINT64_MAX, 0); }
static void many_values(qp_buf *b) { head(b, 3, 0, (uint64_t)1 << 60); }
static void value_type(qp_buf *b) { head(b, 3, 0, 1), key(b, "k", 13), u64(b, 0); }
static void nested(qp_buf *b)
{
    head(b, 3, 0, 1), array(b, "k", QP_GGUF_ARRAY, 1), u64(b, 0), u64(b, 0);
}
static void array_count(qp_buf *b)
{
    head(b, 3, 0, 1), array(b, "k", QP_GGUF_U64, (uint64_t)1 << 61), u64(b, 0);
}
static void string_count(qp_buf *b)
{
    head(b, 3, 0, 1), array(b, "k", QP_GGUF_STRING, (uint64_t)1 << 60), u64(b, 0);
}
static void string_length(qp_buf *b)
{
    head(b, 3, 0, 1), key(b, "k", QP_GGUF_STRING), u64(b, UINT64_MAX), u64(b, 0);
}
static void key_length(qp_buf *b) { head(b, 3, 0, 1), u64(b, (uint64_t)1 << 63), u64(b, 0); }
static void key_nul(qp_buf *b)
{
    head(b, 3, 0, 1), u64(b, 2), qp_buf_add(b, "a\0", 2), u32(b, 0), u64(b, 0);
}
static void key_twice(qp_buf *b)
{
    head(b, 3, 0, 3);
    key(b, "k", QP_GGUF_U8), u8(b, 0), key(b, "l", QP_GGUF_U8), u8(b, 0), key(b, "k", QP_GGUF_U8),
        u8(b, 0);
}
static void one(qp_buf *b, int ndim, const uint64_t *dim, uint32_t type, uint64_t offset)
{
    head(b, 3, 1, 0), tensor(b, "w", ndim, dim, type, offset), pad(b, 32);
    for (int i = 0; i < 64; i++) u8(b, 0);
}
static void half_k_quant(qp_buf *b) { one(b, 1, (uint64_t[]){ 128 }, Q4_K, 0); }
static void long_k_quant(qp_buf *b) { one(b, 1, (uint64_t[]){ 256 }, Q4_K, 0); }
static void removed_type(qp_buf *b) { one(b, 1, four, 4, 0); }
static void huge_type(qp_buf *b) { one(b, 1, four, UINT32_MAX, 0); }
static void dims_5(qp_buf *b) { one(b, 5, (uint64_t[]){ 1, 1, 1, 1, 1 }, F32, 0); }
static void dims_max(qp_buf *b)
{
    head(b, 3, 1, 0), text(b, "w"), u32(b, UINT32_MAX), u64(b, 0), u64(b, 0);
}
static void negative(qp_buf *b) { one(b, 1, (uint64_t[]){ UINT64_MAX }, F32, 0); }
static void product(qp_buf *b)
{
    one(b, 2, (uint64_t[]){ (uint64_t)1 << 32, (uint64_t)1 << 32 }, F32, 0);
}
static void product_bytes(qp_buf *b) { one(b, 1, (uint64_t[]){ (uint64_t)1 << 62 }, F32, 0); }
static void half_block(qp_buf *b) { one(b, 2, (uint64_t[]){ 16, 2 }, Q4_0, 0); }
static void too_large(qp_buf *b) { one(b, 1, (uint64_t[]){ 17 }, F32, 0); }
static void far(qp_buf *b) { one(b, 1, four, F32, 64); }
static void offset_wraps(qp_buf *b) { one(b, 1, four, F32, UINT64_MAX - 31); }
static void offset_odd(qp_buf *b) { one(b, 1, four, F32, 16); }
static void two(qp_buf *b, const char *second, uint64_t offset)
{
    head(b, 3, 2, 0), tensor(b, "v", 1, (uint64_t[]){ 9 }, F32, 0),
        tensor(b, second, 1, four, F32, offset);
    pad(b, 32);
    for (int i = 0; i < 96; i++) u8(b, 0);
}
static void tensor_twice(qp_buf *b) { two(b, "v", 64); }
static void overlap(qp_buf *b) { two(b, "w", 32); }
static void aligned(qp_buf *b, uint32_t type, uint64_t alignment)
{
    head(b, 3, 1, 1), key(b, "general.alignment", type),
        qp_buf_add(b, &alignment, type == QP_GGUF_U64 ? 8 : 4);
    tensor(b, "w", 1, four, F32, 0), pad(b, 64);
    for (int i = 0; i < 64; i++) u8(b, 0);
}
static void alignment_0(qp_buf *b) { aligned(b, QP_GGUF_U32, 0); }
static void alignment_48(qp_buf *b) { aligned(b, QP_GGUF_U32, 48); }
static void alignment_4(qp_buf *b) { aligned(b, QP_GGUF_U32, 4); }
static void alignment_huge(qp_buf *b) { aligned(b, QP_GGUF_U64, (uint64_t)1 << 63); }
static void alignment_float(qp_buf *b) { aligned(b, QP_GGUF_F32, 32); }

static const struct {
    void (*make)(qp_buf *b);
    const char *message;
} broken[] = {
    { other_magic, "not a GGUF file" },
    { version_1, "GGUF version 1; 2 and 3 are supported" },
    { big_endian, "GGUF version 50331648" },
    { many_tensors, "tensor count 18446744073709551615: more than the file can hold" },
    { many_values, "metadata count 1152921504606846976: more than the file can hold" },
    { value_type, "k: unknown value type 13" },
    { nested, "k: an array of arrays is not supported" },
    { array_count, "k: 2305843009213693952 x 8 bytes, but only 8 are left" },
    { string_count, "the file ends inside k" },
    { string_length, "k: string length 18446744073709551615, but only 8 bytes are left" },
    { key_length, "a metadata key: string length 9223372036854775808" },
    { key_nul, "a metadata key: 2 bytes long or with a NUL" },
    { key_twice, "metadata key k twice" },
    { half_k_quant, "tensor w: its dimensions overflow, or a row is not whole blocks of 256" },
    { long_k_quant, "tensor w: offset 0 and 144 bytes, but the file holds only 64" },
    { removed_type, "tensor w: unknown type 4" },
    { huge_type, "tensor w: unknown type 4294967295" },
    { dims_5, "tensor w: 5 dimensions, at most 4" },
    { dims_max, "tensor w: 4294967295 dimensions, at most 4" },
    { negative, "tensor w: its dimensions overflow" },
    { product, "tensor w: its dimensions overflow" },
    { product_bytes, "tensor w: its dimensions overflow" },
    { half_block, "tensor w: its dimensions overflow, or a row is not whole blocks of 32" },
    { too_large, "tensor w: offset 0 and 68 bytes, but the file holds only 64" },
    { far, "tensor w: offset 64 and 16 bytes" },
    { offset_wraps, "tensor w: offset 18446744073709551584" },
    { offset_odd, "tensor w: offset 16 is not a multiple of the alignment 32" },
    { tensor_twice, "tensor v twice" },
    { overlap, "tensors v and w overlap" },
    { alignment_0, "general.alignment: a power of 2" },
    { alignment_48, "general.alignment: a power of 2" },
    { alignment_4, "general.alignment: a power of 2" },
    { alignment_huge, "general.alignment: a power of 2" },
    { alignment_float, "general.alignment: a power of 2" },
};

START_TEST(every_count_length_type_and_offset_is_checked)
{
    qp_gguf g;
    qp_buf b = { 0 };
    broken[_i].make(&b);
    ck_assert_int_eq(open_bytes(&g, &b), QP_BADFILE);
    ck_assert_msg(strstr(err.msg, broken[_i].message) && strstr(err.msg, path), "%s: wanted %s",
                  err.msg, broken[_i].message);
}
END_TEST

static void nothing(qp_buf *b) { head(b, 3, 0, 0); }
static void alignment_64(qp_buf *b) { aligned(b, QP_GGUF_U32, 64); }
static void empty_tensor(qp_buf *b) { one(b, 2, (uint64_t[]){ 4, 0 }, F32, 64); }
static void scalar_tensor(qp_buf *b) { one(b, 0, NULL, F32, 0); }
static void empty_array(qp_buf *b) { head(b, 3, 0, 1), array(b, "k", QP_GGUF_STRING, 0); }

START_TEST(unusual_but_legal_files_are_read)
{
    static void (*const make[])(qp_buf *) = { nothing, alignment_64, empty_tensor, scalar_tensor,
                                              empty_array };
    for (size_t i = 0; i < sizeof make / sizeof *make; i++) {
        qp_gguf g;
        qp_buf b = { 0 };
        make[i](&b);
        ck_assert_msg(!open_bytes(&g, &b), "%zu: %s", i, err.msg);
        qp_gguf_release(&g);
    }
}
END_TEST

START_TEST(types_that_are_not_read_are_listed_by_their_name)
{
    qp_gguf g;
    qp_buf b = { 0 };
    head(&b, 3, 1, 0), tensor(&b, "w", 1, (uint64_t[]){ 256 }, Q4_K, 0), pad(&b, 32);
    for (int i = 0; i < 144; i++) u8(&b, 0);
    ck_assert_msg(!open_bytes(&g, &b), "%s", err.msg);
    ck_assert(g.tensor[0].storage == QP_OTHER && g.tensor[0].bytes == 144);
    ck_assert_str_eq(g.tensor[0].type, "Q4_K");
    qp_gguf_release(&g);
}
END_TEST

START_TEST(a_missing_file_is_a_usage_error)
{
    ck_assert_int_eq(try(path, &err), QP_USAGE);
    ck_assert(strstr(err.msg, "no such file"));
}
END_TEST

START_TEST(golden_files_open)
{
    static const char *const name[] = { "golden/gguf/tensors.gguf", "golden/gguf/tiny-llama31.gguf",
                                        "models/SmolLM2-135M-Instruct.Q4_1.gguf" };
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        char *file = test_shared(name[i]);
        if (!file) continue;
        qp_gguf g;
        ck_assert_msg(!qp_gguf_open(&g, file, &err), "%s", err.msg);
        ck_assert_int_gt(g.n_tensors, 0);
        for (int64_t k = 0; k < g.n_tensors; k++)
            ck_assert(g.tensor[k].storage == QP_OTHER ||
                      g.tensor[k].bytes ==
                          qp_storage_bytes(g.tensor[k].storage, g.tensor[k].numel));
        qp_gguf_release(&g);
        free(file);
    }
}
END_TEST

Suite *suite_gguf(void)
{
    Suite *s = suite_create("gguf");
    TCase *t = tcase_create("gguf");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, shared_broken_files_are_refused_by_name_and_cause);
    tcase_add_loop_test(t, a_whole_file_is_read, 2, 4);
    tcase_add_test(t, a_file_cut_anywhere_is_refused);
    tcase_add_loop_test(t, every_count_length_type_and_offset_is_checked, 0,
                        (int)(sizeof broken / sizeof *broken));
    tcase_add_test(t, unusual_but_legal_files_are_read);
    tcase_add_test(t, types_that_are_not_read_are_listed_by_their_name);
    tcase_add_test(t, a_missing_file_is_a_usage_error);
    tcase_add_test(t, golden_files_open);
    suite_add_tcase(s, t);
    return s;
}
