#include "base/pages.h"
#include "tests/suites.h"
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

START_TEST(pages_are_zero_and_aligned)
{
    const size_t bytes = 5 * 1024 * 1024 + 1;
    char *p = qp_pages_new(bytes);
    ck_assert_ptr_nonnull(p);
    ck_assert_uint_eq((uintptr_t)p % 4096, 0);
    for (size_t i = 0; i < bytes; i++) ck_assert_int_eq(p[i], 0);
    p[bytes - 1] = 1;
    qp_pages_free(p, bytes);
}
END_TEST

START_TEST(no_page_is_real_before_it_is_written)
{
    const size_t bytes = (size_t)1 << 30, page = (size_t)sysconf(_SC_PAGESIZE);
    char *p = qp_pages_new(bytes);
    unsigned char *resident = malloc(bytes / page);
    ck_assert(p && resident);
    p[bytes / 2] = 1;
    ck_assert_int_eq(mincore(p, bytes, resident), 0);
    size_t real = 0;
    for (size_t i = 0; i < bytes / page; i++) real += resident[i] & 1;
    /* one page, or the largest that the kernel gives for it */
    ck_assert_uint_ge(real, 1);
    ck_assert_uint_le(real, ((size_t)64 << 20) / page);
    free(resident);
    qp_pages_free(p, bytes);
}
END_TEST

START_TEST(nothing_is_had_and_given_back)
{
    ck_assert_ptr_null(qp_pages_new(0));
    qp_pages_free(NULL, 10);
    ck_assert_ptr_null(qp_pages_new(SIZE_MAX / 2));
}
END_TEST

Suite *suite_pages(void)
{
    Suite *s = suite_create("pages");
    TCase *t = tcase_create("pages");
    tcase_add_test(t, pages_are_zero_and_aligned);
    tcase_add_test(t, no_page_is_real_before_it_is_written);
    tcase_add_test(t, nothing_is_had_and_given_back);
    suite_add_tcase(s, t);
    return s;
}
