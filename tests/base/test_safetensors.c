#include "base/safetensors.h"
#include "tests/base/files.h"
#include <math.h>

static char *dir, *path;
static qp_err err;

static void set_up(void)
{
    dir = test_dir();
    path = qp_path_join(dir, "f.safetensors");
}
static void tear_down(void)
{
    free(path);
    test_remove_dir(dir);
}

/* Length, header and `data_len` bytes 0, 1, 2, ... */
static void write_file(const char *to, const char *header, size_t data_len)
{
    qp_buf b = { 0 };
    uint64_t len = strlen(header);
    qp_buf_add(&b, &len, sizeof len);
    qp_buf_str(&b, header);
    for (size_t i = 0; i < data_len; i++) qp_buf_char(&b, (char)i);
    test_write(to, b.data, b.len);
    qp_buf_release(&b);
}

static qp_status try(const char *file, qp_err *e)
{
    qp_safetensors st;
    qp_status rc = qp_safetensors_open(&st, file, NULL, e);
    qp_safetensors_release(&st);
    return rc;
}

static const test_bad shared[] = {
    { "safetensors/truncated_data.safetensors", "tensor w: ends at byte 16 of the data" },
    { "safetensors/header_beyond_file.safetensors", "header length 5000" },
    { "safetensors/header_2_to_62.safetensors", "header length 4611686018427387904" },
    { "safetensors/overlap.safetensors", "tensors a and b overlap" },
    { "safetensors/shape_mismatch.safetensors", "tensor w: shape and dtype F32 make" },
    { "safetensors/dtype_mismatch.safetensors", "tensor w: shape and dtype BF16 make" },
    { "safetensors/negative_dim.safetensors", "tensor w: shape: " },
    { "safetensors/dim_product_overflow.safetensors",
      "tensor w: the product of its dimensions overflows" },
    { "safetensors/duplicate_key.safetensors", "tensor w twice" },
    { "safetensors/bad_json.safetensors", "the header is not JSON: column" },
    { "safetensors/ok_padded_header.safetensors", NULL },
    { "safetensors/ok_empty_tensor.safetensors", NULL },
};

START_TEST(shared_broken_files_are_refused_by_name_and_cause)
{
    test_bad_files("safetensors", shared, (int)(sizeof shared / sizeof *shared), try);
}
END_TEST

#define T(name, dtype, shape, offsets)                                                             \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static const struct {
    const char *header;
    size_t data;
    const char *message; /* NULL: fine */
} cases[] = {
    { "{}", 0, NULL },
    { "{} ", 0, NULL },
    { "{\"__metadata__\":{\"format\":\"pt\"}}", 0, NULL },
    { "{" T("w", "F32", "[2,3]", "[0,24]") "}", 24, NULL },
    { "{" T("w", "F32", "[]", "[0,4]") "}", 4, NULL },
    { "{" T("w", "F32", "[7,0]", "[0,0]") "," T("v", "U8", "[1]", "[0,1]") "," T("x", "I64", "[0]",
                                                                                 "[1,1]") "}",
      1, NULL },
    { "{" T("b", "U8", "[3]", "[5,8]") "," T("a", "BOOL", "[5]", "[0,5]") "}", 8, NULL },
    { "{\"w\":{\"data_offsets\":[0,1],\"new\":{\"x\":[1]},\"shape\":[1],\"dtype\":\"U8\"}}", 1,
      NULL },
    { "{}", 1, "1 bytes of the data, before the end of the file, belong to no tensor" },
    { " {}", 0, "does not begin with '{'" },
    { "", 0, "does not begin with '{'" },
    { "[]", 0, "does not begin with '{'" },
    { "{}x", 0, "the header is not JSON: column 3: nothing more" },
    { "{\"__metadata__\":{\"format\":1}}", 0, "__metadata__: an object of strings wanted" },
    { "{\"__metadata__\":[]}", 0, "__metadata__: an object of strings wanted" },
    { "{\"__metadata__\":{},\"__metadata__\":{}}", 0, "__metadata__ twice" },
    { "{\"w\":1}", 0, "tensor w: an object wanted" },
    { "{\"w\\u0000x\":1}", 0, "a NUL in the name" },
    { "{\"w\":{}}", 0, "one of dtype, shape, data_offsets is missing" },
    { "{" T("w", "F4", "[2]", "[0,1]") "}", 1, "tensor w: unknown dtype F4" },
    { "{" T("w", "U16", "[2]", "[0,2]") "}", 2, "tensor w: shape and dtype U16 make 4 bytes" },
    { "{" T("w", "F32\\u0000", "[1]", "[0,4]") "}", 4, "unknown dtype" },
    { "{\"w\":{\"dtype\":3}}", 0, "dtype: a string wanted" },
    { "{\"w\":{\"dtype\":\"U8\",\"dtype\":\"U8\"}}", 0, "tensor w: dtype twice" },
    { "{\"w\":{\"shape\":[1],\"shape\":[1]}}", 0, "tensor w: shape twice" },
    { "{\"w\":{\"data_offsets\":[0,1],\"data_offsets\":[0,1]}}", 0,
      "tensor w: data_offsets twice" },
    { "{" T("w", "U8", "[1.0]", "[0,1]") "}", 1, "tensor w: shape: " },
    { "{" T("w", "U8", "[\"1\"]", "[0,1]") "}", 1, "tensor w: shape: " },
    { "{" T("w", "U8", "1", "[0,1]") "}", 1, "tensor w: shape: " },
    { "{" T("w", "U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]") "}", 1, "tensor w: shape: at most 8" },
    { "{" T("w", "U8", "[1]", "[0]") "}", 1, "tensor w: data_offsets: [begin, end] wanted" },
    { "{" T("w", "U8", "[1]", "[0,1,1]") "}", 1, "tensor w: data_offsets: [begin, end] wanted" },
    { "{" T("w", "U8", "[1]", "[-1,0]") "}", 1, "tensor w: data_offsets: [begin, end] wanted" },
    { "{" T("w", "U8", "[1]", "[1,0]") "}", 1, "the end lies before the begin" },
    { "{" T("w", "U8", "[1]", "[0,18446744073709551616]") "}", 1,
      "data_offsets: [begin, end] wanted" },
    { "{" T("w", "U8", "[9223372036854775807]", "[0,9223372036854775807]") "}", 1,
      "the file holds only 1" },
    { "{" T("w", "F32", "[4611686018427387904]", "[0,0]") "}", 0, "overflows" },
    { "{" T("w", "U8", "[4294967296,4294967296,0]", "[0,0]") "}", 0, "overflows" },
    { "{" T("w", "U8", "[1]", "[1,2]") "}", 2,
      "1 bytes of the data, before w, belong to no tensor" },
    { "{" T("a", "U8", "[1]", "[0,1]") "," T("b", "U8", "[1]", "[2,3]") "}", 3,
      "before b, belong to no tensor" },
    { "{" T("a", "U8", "[2]", "[0,2]") "," T("b", "U8", "[2]", "[1,3]") "}", 3,
      "tensors a and b overlap" },
    { "{" T("a", "U8", "[2]", "[0,2]") "," T("b", "U8", "[2]", "[0,2]") "}", 2, "overlap" },
    { "{" T("a", "U8", "[0]", "[1,1]") "," T("b", "U8", "[2]", "[0,2]") "}", 2,
      "tensors b and a overlap" },
};

START_TEST(every_rule_of_the_header_is_checked)
{
    write_file(path, cases[_i].header, cases[_i].data);
    qp_status rc = try(path, &err);
    if (!cases[_i].message) {
        ck_assert_msg(!rc, "%s: %s", cases[_i].header, err.msg);
    } else {
        ck_assert_msg(rc == QP_BADFILE, "%s: accepted", cases[_i].header);
        ck_assert_msg(strstr(err.msg, cases[_i].message) && strstr(err.msg, path),
                      "%s: %s, wanted %s", cases[_i].header, err.msg, cases[_i].message);
    }
}
END_TEST

START_TEST(short_files_and_long_headers_are_refused)
{
    static const uint8_t too_long[] = { 1, 0xE1, 0xF5, 0x05, 0, 0, 0, 0 }; /* 100 MB and one byte */
    for (size_t n = 0; n < 8; n++) {
        test_write(path, "\0\0\0\0\0\0\0", n);
        ck_assert_int_eq(try(path, &err), QP_BADFILE);
        ck_assert(strstr(err.msg, "too short for a safetensors file"));
    }
    test_write(path, too_long, sizeof too_long);
    ck_assert_int_eq(try(path, &err), QP_BADFILE);
    ck_assert(strstr(err.msg, "header length 100000001, at most 100000000"));
}
END_TEST

START_TEST(a_missing_file_is_a_usage_error)
{
    qp_safetensors st;
    ck_assert_int_eq(try(path, &err), QP_USAGE);
    ck_assert(strstr(err.msg, "no such file"));
    ck_assert_int_eq(try(dir, &err), QP_USAGE);
    ck_assert(strstr(err.msg, "model.safetensors: no such file"));
    ck_assert_int_eq(qp_safetensors_open(&st, dir, "adapter_model.safetensors", &err), QP_USAGE);
    ck_assert(strstr(err.msg, "adapter_model.safetensors: no such file"));
}
END_TEST

START_TEST(unaligned_tensors_are_read_from_an_aligned_copy)
{
    write_file(path, "{" T("a", "U8", "[1]", "[0,1]") "," T("b", "F32", "[2]", "[1,9]") "}", 9);
    qp_safetensors st;
    ck_assert_msg(!qp_safetensors_open(&st, path, NULL, &err), "%s", err.msg);
    const qp_file_tensor *b = qp_safetensors_find(&st, "b");
    ck_assert_uint_eq((uintptr_t)b->data % sizeof(float), 0);
    ck_assert_mem_eq(b->data, "\1\2\3\4\5\6\7\10", 8);
    ck_assert_ptr_null(qp_safetensors_find(&st, "a")->owned);
    ck_assert_ptr_null(qp_safetensors_find(&st, "c"));
    qp_safetensors_release(&st);
}
END_TEST

START_TEST(types_that_are_not_read_are_listed_by_their_name)
{
    write_file(path, "{" T("w", "F8_E4M3", "[3]", "[0,3]") "," T("v", "C64", "[1]", "[3,11]") "}",
               11);
    qp_safetensors st;
    ck_assert_msg(!qp_safetensors_open(&st, path, NULL, &err), "%s", err.msg);
    ck_assert(st.tensor[0].storage == QP_OTHER && st.tensor[0].bytes == 8 && !st.tensor[0].owned);
    ck_assert_str_eq(st.tensor[1].type, "F8_E4M3");
    qp_safetensors_release(&st);
}
END_TEST

START_TEST(what_is_written_reads_back_bit_for_bit)
{
    const uint8_t bytes[] = { 1, 2, 3 };
    const float f[] = { 1.5f, -0.0f, NAN, 4 };
    const double d[] = { 1e300, -2 };
    const uint16_t h[] = { 0x3C00, 0x7BFF, 1 };
    const int64_t n = -5;
    qp_save_tensor save[] = {
        { "bytes", QP_U8, 1, { 3 }, bytes },
        { "f", QP_F32, 2, { 2, 2 }, f },
        { "d", QP_F64, 1, { 2 }, d },
        { "h", QP_F16, 3, { 1, 3, 1 }, h },
        { "b", QP_BF16, 1, { 3 }, h },
        { "scalar", QP_I64, 0, { 0 }, &n },
        { "empty", QP_F32, 2, { 0, 9 }, NULL },
        { "a \"name\"\n\xC3\xA9", QP_BOOL, 1, { 3 }, bytes },
    };
    enum { COUNT = sizeof save / sizeof *save };
    ck_assert_msg(!qp_safetensors_write(path, save, COUNT, &err), "%s", err.msg);
    qp_safetensors st;
    ck_assert_msg(!qp_safetensors_open(&st, path, NULL, &err), "%s", err.msg);
    ck_assert_int_eq(st.count, COUNT);
    for (int i = 0; i < COUNT; i++) {
        const qp_file_tensor *t = qp_safetensors_find(&st, save[i].name);
        ck_assert_msg(t != NULL, "%s", save[i].name);
        ck_assert_int_eq(t->storage, save[i].storage);
        ck_assert_int_eq(t->ndim, save[i].ndim);
        for (int k = 0; k < t->ndim; k++) ck_assert_int_eq(t->shape[k], save[i].shape[k]);
        ck_assert_uint_eq(t->bytes, qp_storage_bytes(t->storage, t->numel));
        ck_assert_ptr_null(t->owned); /* all aligned */
        if (t->bytes) ck_assert_mem_eq(t->data, save[i].data, t->bytes);
    }
    for (int i = 1; i < COUNT; i++) ck_assert_str_lt(st.tensor[i - 1].name, st.tensor[i].name);
    qp_safetensors_release(&st);
    qp_safetensors_release(&st); /* harmless on zeroes */
}
END_TEST

START_TEST(a_file_without_tensors_is_written_and_read)
{
    ck_assert_msg(!qp_safetensors_write(path, NULL, 0, &err), "%s", err.msg);
    ck_assert_msg(!try(path, &err), "%s", err.msg);
}
END_TEST

START_TEST(writing_a_type_that_safetensors_lacks_exits_70)
{
    qp_save_tensor t = { "w", QP_Q4_0, 1, { 32 }, NULL };
    (void)!qp_safetensors_write("/tmp/never", &t, 1, &err);
}
END_TEST

/* ---- sharded sets ---- */

static char *in_dir(const char *name) { return qp_path_join(dir, name); }

static void write_named(const char *name, const char *header, size_t data_len)
{
    char *p = in_dir(name);
    write_file(p, header, data_len);
    free(p);
}

static void write_index(const char *map)
{
    char *p = in_dir("model.safetensors.index.json");
    char *text = qp_xformat("{\"metadata\": {\"total_size\": 3}, \"weight_map\": %s}", map);
    test_write(p, text, strlen(text));
    free(text);
    free(p);
}

static void write_shards(void)
{
    write_named("one.safetensors",
                "{" T("a", "U8", "[1]", "[0,1]") "," T("c", "U8", "[1]", "[1,2]") "}", 2);
    write_named("two.safetensors", "{" T("b", "U8", "[1]", "[0,1]") "}", 1);
}

START_TEST(a_sharded_set_opens_by_folder_and_by_index)
{
    write_shards();
    write_index("{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\",\"c\":\"one.safetensors\"}");
    char *index = in_dir("model.safetensors.index.json");
    const char *way[] = { dir, index };
    for (int i = 0; i < 2; i++) {
        qp_safetensors st;
        ck_assert_msg(!qp_safetensors_open(&st, way[i], NULL, &err), "%s", err.msg);
        ck_assert_int_eq(st.files, 2);
        ck_assert_int_eq(st.count, 3);
        ck_assert_str_eq(st.path, index);
        ck_assert(strstr(st.file_path[qp_safetensors_find(&st, "b")->file], "two.safetensors"));
        ck_assert_int_eq(*(const uint8_t *)qp_safetensors_find(&st, "c")->data, 1);
        qp_safetensors_release(&st);
    }
    free(index);
}
END_TEST

START_TEST(a_single_file_is_preferred_to_an_index)
{
    write_named("model.safetensors", "{" T("w", "U8", "[1]", "[0,1]") "}", 1);
    write_index("{\"a\":\"absent.safetensors\"}");
    ck_assert_msg(!try(dir, &err), "%s", err.msg);
}
END_TEST

static const struct {
    const char *map, *message;
    qp_status status;
} indices[] = {
    { "{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}", "lists 2 tensors, its files hold 3",
      QP_BADFILE },
    { "{\"a\":\"one.safetensors\",\"b\":\"one.safetensors\",\"c\":\"one.safetensors\"}",
      "tensor b is in no file, the index says one.safetensors", QP_BADFILE },
    { "{\"a\":\"two.safetensors\",\"b\":\"two.safetensors\",\"c\":\"one.safetensors\"}",
      "tensor a is in one.safetensors, the index says two.safetensors", QP_BADFILE },
    { "{\"a\":\"one.safetensors\",\"b\":\"three.safetensors\"}", "three.safetensors: no such file",
      QP_USAGE },
    { "{\"a\":\"../one.safetensors\"}", "weight_map: a: a plain file name wanted", QP_BADFILE },
    { "{\"a\":7}", "weight_map: a: a plain file name wanted", QP_BADFILE },
    { "{\"a\":\"\"}", "weight_map: a: a plain file name wanted", QP_BADFILE },
    { "{\"a\":\"one.safetensors\",\"a\":\"two.safetensors\"}", "key \"a\" twice", QP_BADFILE },
    { "[]", "weight_map: an object", QP_BADFILE },
    { "{", "column", QP_BADFILE },
};

START_TEST(an_index_that_does_not_fit_its_files_is_refused)
{
    write_shards();
    write_index(indices[_i].map);
    ck_assert_int_eq(try(dir, &err), indices[_i].status);
    ck_assert_msg(strstr(err.msg, indices[_i].message) && strstr(err.msg, "index.json"),
                  "%s: wanted %s", err.msg, indices[_i].message);
}
END_TEST

START_TEST(a_tensor_in_two_shards_is_refused)
{
    write_named("one.safetensors", "{" T("a", "U8", "[1]", "[0,1]") "}", 1);
    write_named("two.safetensors",
                "{" T("a", "U8", "[1]", "[0,1]") "," T("b", "U8", "[1]", "[1,2]") "}", 2);
    write_index("{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}");
    ck_assert_int_eq(try(dir, &err), QP_BADFILE);
    ck_assert(strstr(err.msg, "tensor a twice"));
}
END_TEST

Suite *suite_safetensors(void)
{
    Suite *s = suite_create("safetensors");
    TCase *t = tcase_create("safetensors");
    TCase *stops = tcase_create("stops"); /* no fixture: an exit would leave its folder behind */
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, shared_broken_files_are_refused_by_name_and_cause);
    tcase_add_loop_test(t, every_rule_of_the_header_is_checked, 0,
                        (int)(sizeof cases / sizeof *cases));
    tcase_add_test(t, short_files_and_long_headers_are_refused);
    tcase_add_test(t, a_missing_file_is_a_usage_error);
    tcase_add_test(t, unaligned_tensors_are_read_from_an_aligned_copy);
    tcase_add_test(t, types_that_are_not_read_are_listed_by_their_name);
    tcase_add_test(t, what_is_written_reads_back_bit_for_bit);
    tcase_add_test(t, a_file_without_tensors_is_written_and_read);
    tcase_add_exit_test(stops, writing_a_type_that_safetensors_lacks_exits_70, QP_BUG);
    tcase_add_test(t, a_sharded_set_opens_by_folder_and_by_index);
    tcase_add_test(t, a_single_file_is_preferred_to_an_index);
    tcase_add_loop_test(t, an_index_that_does_not_fit_its_files_is_refused, 0,
                        (int)(sizeof indices / sizeof *indices));
    tcase_add_test(t, a_tensor_in_two_shards_is_refused);
    suite_add_tcase(s, t);
    suite_add_tcase(s, stops);
    return s;
}
