#include "base/sha256.h"
#include "tests/base/files.h"

/* FIPS 180-4's examples and those of NIST's SHA_VAL page. */
static const struct {
    const char *text;
    size_t times;
    const char *hex;
} vectors[] = {
    { "", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
    { "abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
    { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
    { "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmno"
      "pqrsmnopqrstnopqrstu",
      1, "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1" },
    { "a", 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0" },
};

/* Odd: as init chose; even: without this CPU's instructions. */
START_TEST(published_vectors_hold_with_and_without_instructions)
{
    char hex[65];
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        qp_sha256 s;
        qp_sha256_init(&s);
        s.hardware &= _i;
        for (size_t n = 0; n < vectors[i].times; n++)
            qp_sha256_add(&s, vectors[i].text, strlen(vectors[i].text));
        qp_sha256_hex(&s, hex);
        ck_assert_str_eq(hex, vectors[i].hex);
    }
}
END_TEST

START_TEST(pieces_and_both_codes_agree_at_every_length)
{
    uint8_t data[300];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * 7 + 3);
    for (size_t len = 0; len <= sizeof data; len++) {
        char whole[65], pieces[65];
        qp_sha256 s;
        qp_sha256_init(&s);
        s.hardware = 0;
        qp_sha256_add(&s, data, len);
        qp_sha256_hex(&s, whole);
        for (size_t cut = 0; cut <= len; cut += 13) {
            qp_sha256_init(&s);
            qp_sha256_add(&s, data, cut);
            qp_sha256_add(&s, data + cut, len - cut);
            qp_sha256_hex(&s, pieces);
            ck_assert_str_eq(pieces, whole);
        }
    }
}
END_TEST

START_TEST(a_file_hashes_as_its_bytes)
{
    enum { LEN = 3000001 };
    qp_err err = { 0 };
    char *dir = test_dir(), *path = qp_path_join(dir, "f"), *data = qp_xcalloc(LEN, 1), file[65],
         memory[65];
    for (size_t i = 0; i < LEN; i++) data[i] = (char)(i * i >> 3);
    test_write(path, data, LEN);
    ck_assert_msg(!qp_sha256_file(path, file, &err), "%s", err.msg);
    qp_sha256 s;
    qp_sha256_init(&s);
    qp_sha256_add(&s, data, LEN);
    qp_sha256_hex(&s, memory);
    ck_assert_str_eq(file, memory);
    ck_assert_msg(!qp_sha256_written(path, file, &err), "%s", err.msg);
    ck_assert_str_eq(file, memory);
    ck_assert_int_eq(qp_sha256_file(dir, file, &err), QP_USAGE);
    free(data);
    free(path);
    test_remove_dir(dir);
}
END_TEST

Suite *suite_sha256(void)
{
    Suite *s = suite_create("sha256");
    TCase *t = tcase_create("sha256");
    tcase_add_loop_test(t, published_vectors_hold_with_and_without_instructions, 0, 2);
    tcase_add_test(t, pieces_and_both_codes_agree_at_every_length);
    tcase_add_test(t, a_file_hashes_as_its_bytes);
    suite_add_tcase(s, t);
    return s;
}
