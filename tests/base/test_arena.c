#include "base/arena.h"
#include "base/asan.h"
#include "tests/suites.h"
#include <signal.h>
#include <stdint.h>
#include <string.h>

enum { BUDGET = 1 << 20 };
static qp_arena arena;

static void set_up(void)
{
    qp_err err = { 0 };
    ck_assert_msg(!qp_arena_init(&arena, BUDGET, &err), "%s", err.msg);
}
static void tear_down(void) { qp_arena_release(&arena); }

START_TEST(blocks_are_aligned_apart_and_writable)
{
    char *last = NULL;
    for (size_t n = 0; n < 300; n += 7) {
        char *p = qp_arena_alloc(&arena, n);
        ck_assert_uint_eq((uintptr_t)p % 64, 0);
        ck_assert(p > last);
        memset(p, 1, n);
        last = p + n;
    }
}
END_TEST

START_TEST(size_zero_has_its_own_address)
{
    void *a = qp_arena_alloc(&arena, 0), *b = qp_arena_alloc(&arena, 0);
    ck_assert_ptr_nonnull(a);
    ck_assert_ptr_ne(a, b);
    qp_arena_recycle(&arena, a, 0);
    ck_assert_ptr_eq(qp_arena_alloc(&arena, 0), a);
}
END_TEST

START_TEST(a_closed_scope_gives_its_memory_back)
{
    qp_scope outer, inner;
    void *kept = qp_arena_alloc(&arena, 100);
    qp_scope_open(&arena, &outer);
    void *a = qp_arena_alloc(&arena, 1000);
    qp_scope_open(&arena, &inner);
    qp_arena_alloc(&arena, 5000);
    qp_scope_close(&arena, &inner);
    qp_scope_close(&arena, &outer);
    ck_assert_uint_eq(arena.used, 128);
    ck_assert_ptr_eq(qp_arena_alloc(&arena, 1000), a);
    memset(kept, 1, 100);
}
END_TEST

START_TEST(the_peak_is_exact)
{
    qp_scope s;
    qp_scope_open(&arena, &s);
    void *a = qp_arena_alloc(&arena, 6400);
    qp_arena_recycle(&arena, a, 6400);
    ck_assert_ptr_eq(qp_arena_alloc(&arena, 6399), a); /* the same number of cache lines */
    qp_arena_alloc(&arena, 1);
    qp_scope_close(&arena, &s);
    qp_arena_alloc(&arena, 64);
    ck_assert_uint_eq(arena.peak, 6464);
    ck_assert_uint_eq(arena.used, 64);
}
END_TEST

START_TEST(recycling_ignores_null_outer_blocks_and_foreign_memory)
{
    qp_scope s;
    char foreign[64];
    void *outer = qp_arena_alloc(&arena, 640);
    qp_scope_open(&arena, &s);
    qp_arena_recycle(&arena, NULL, 640);
    qp_arena_recycle(&arena, outer, 640);
    qp_arena_recycle(&arena, foreign, sizeof foreign);
    ck_assert_ptr_ne(qp_arena_alloc(&arena, 640), outer);
    memset(outer, 1, 640);
    qp_scope_close(&arena, &s);
}
END_TEST

START_TEST(a_recycled_block_dies_with_its_scope)
{
    qp_scope s;
    qp_scope_open(&arena, &s);
    void *a = qp_arena_alloc(&arena, 640);
    qp_arena_recycle(&arena, a, 640);
    qp_scope_close(&arena, &s);
    void *b = qp_arena_alloc(&arena, 64), *c = qp_arena_alloc(&arena, 640);
    ck_assert_ptr_eq(b, a);
    ck_assert_ptr_ne(c, a);
}
END_TEST

/* More sizes than bins: every block must still come back, whatever the order. */
START_TEST(no_recycled_block_is_lost_with_150_sizes)
{
    enum { SIZES = 150 };
    void *p[SIZES];
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < SIZES; i++) p[i] = qp_arena_alloc(&arena, 64 * (1 + i));
        for (size_t i = 0; i < SIZES; i++) memset(p[i], 0x5a, 64 * (1 + i));
        for (size_t i = 0; i < SIZES; i++) {
            size_t k = i * 77 % SIZES;
            qp_arena_recycle(&arena, p[k], 64 * (1 + k));
        }
        ck_assert_uint_eq(arena.used, 64 * SIZES * (SIZES + 1) / 2);
    }
}
END_TEST

START_TEST(over_budget_exits_71)
{
    qp_arena_alloc(&arena, BUDGET / 2);
    qp_arena_alloc(&arena, BUDGET / 2 + 1);
}
END_TEST
START_TEST(a_huge_size_exits_71) { qp_arena_alloc(&arena, SIZE_MAX); }
END_TEST

START_TEST(the_whole_budget_can_be_used)
{
    memset(qp_arena_alloc(&arena, BUDGET), 1, BUDGET);
    ck_assert_uint_eq(arena.peak, BUDGET);
}
END_TEST

START_TEST(closing_an_outer_scope_first_exits_70)
{
    qp_scope outer, inner;
    qp_scope_open(&arena, &outer);
    qp_scope_open(&arena, &inner);
    qp_scope_close(&arena, &outer);
}
END_TEST

START_TEST(recycling_a_closed_scopes_block_exits_70)
{
    qp_scope s;
    qp_scope_open(&arena, &s);
    void *p = qp_arena_alloc(&arena, 64);
    qp_scope_close(&arena, &s);
    qp_arena_recycle(&arena, p, 64);
}
END_TEST

START_TEST(far_more_than_the_machine_has_can_be_reserved)
{
    qp_arena big;
    qp_err err = { 0 };
    ck_assert_msg(!qp_arena_init(&big, (size_t)1 << 42, &err), "%s", err.msg); /* 4 TiB */
    memset(qp_arena_alloc(&big, 100), 1, 100);
    qp_arena_release(&big);
    qp_arena_release(&big); /* harmless on zeroes */
}
END_TEST

START_TEST(a_reservation_beyond_the_address_space_is_refused)
{
    qp_arena big;
    qp_err err = { 0 };
    ck_assert_int_eq(qp_arena_init(&big, SIZE_MAX, &err), QP_NOMEM);
    ck_assert(strstr(err.msg, "cannot reserve"));
    qp_arena_release(&big);
}
END_TEST

#ifdef QP_ASAN
START_TEST(asan_sees_a_use_after_the_scope)
{
    qp_scope s;
    qp_scope_open(&arena, &s);
    volatile char *p = qp_arena_alloc(&arena, 64);
    qp_scope_close(&arena, &s);
    *p = 1;
}
END_TEST
START_TEST(asan_sees_a_use_after_recycling)
{
    volatile char *p = qp_arena_alloc(&arena, 64);
    qp_arena_recycle(&arena, (void *)p, 64);
    *p = 1;
}
END_TEST
START_TEST(asan_sees_a_write_past_the_end)
{
    volatile char *p = qp_arena_alloc(&arena, 65);
    p[65] = 1;
}
END_TEST
START_TEST(recycling_twice_exits_70)
{
    void *p = qp_arena_alloc(&arena, 64);
    qp_arena_recycle(&arena, p, 64);
    qp_arena_recycle(&arena, p, 64);
}
END_TEST

static void add_asan_tests(TCase *t)
{
    tcase_add_exit_test(t, asan_sees_a_use_after_the_scope, 1);
    tcase_add_exit_test(t, asan_sees_a_use_after_recycling, 1);
    tcase_add_exit_test(t, asan_sees_a_write_past_the_end, 1);
    tcase_add_exit_test(t, recycling_twice_exits_70, QP_BUG);
}
#else
static void add_asan_tests(TCase *t) { (void)t; }
#endif

Suite *suite_arena(void)
{
    Suite *s = suite_create("arena");
    TCase *t = tcase_create("arena");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, blocks_are_aligned_apart_and_writable);
    tcase_add_test(t, size_zero_has_its_own_address);
    tcase_add_test(t, a_closed_scope_gives_its_memory_back);
    tcase_add_test(t, the_peak_is_exact);
    tcase_add_test(t, recycling_ignores_null_outer_blocks_and_foreign_memory);
    tcase_add_test(t, a_recycled_block_dies_with_its_scope);
    tcase_add_test(t, no_recycled_block_is_lost_with_150_sizes);
    tcase_add_exit_test(t, over_budget_exits_71, QP_NOMEM);
    tcase_add_exit_test(t, a_huge_size_exits_71, QP_NOMEM);
    tcase_add_test(t, the_whole_budget_can_be_used);
    tcase_add_exit_test(t, closing_an_outer_scope_first_exits_70, QP_BUG);
    tcase_add_exit_test(t, recycling_a_closed_scopes_block_exits_70, QP_BUG);
    tcase_add_test(t, far_more_than_the_machine_has_can_be_reserved);
    tcase_add_test(t, a_reservation_beyond_the_address_space_is_refused);
    add_asan_tests(t);
    suite_add_tcase(s, t);
    return s;
}
