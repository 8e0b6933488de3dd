#include "tests/suites.h"
#include "tests/support/gradcheck.h"
#include "tests/support/rows.h"
#include <math.h>

enum { ROWS = 5, HEADS = 3, SIZE = 4 };
static const int32_t pos[ROWS] = { 2, 0, 1, 3, 1 };
static double cosines[4 * SIZE / 2], sines[4 * SIZE / 2];

static void fill_table(void)
{
    for (int p = 0; p < 4; p++)
        for (int i = 0; i < SIZE / 2; i++) {
            cosines[p * SIZE / 2 + i] = cos(p * pow(10, -i));
            sines[p * SIZE / 2 + i] = sin(p * pow(10, -i));
        }
}

static qp_tensor *op(qp_ctx *c, qp_tensor **in)
{
    return qp_rope(c, in[0], cosines, sines, pos, HEADS);
}

/* Hugging Face's order: element i turns with i + E/2, towards its cosine. */
START_TEST(pairs_are_half_a_head_apart)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    fill_table();
    qp_tensor *x = test_leaf(&c, QP_F64, 2, (int64_t[]){ ROWS, HEADS * SIZE }, 1);
    qp_tensor *y = op(&c, &x);
    const double *a = x->data, *b = y->data;
    ck_assert_double_eq_tol(b[0], a[0] * cos(2) - a[2] * sin(2), 1e-15);
    ck_assert_double_eq_tol(b[2], a[2] * cos(2) + a[0] * sin(2), 1e-15);
    ck_assert_double_eq_tol(b[1], a[1] * cos(.2) - a[3] * sin(.2), 1e-15);
    for (int i = HEADS * SIZE; i < 2 * HEADS * SIZE; i++)
        ck_assert_double_eq(a[i], b[i]); /* position 0 */
    qp_ctx_release(&c);
}
END_TEST

enum { MANY = 150, WIDE = 43 }; /* rows; half a head */
static qp_tensor *same_position(qp_ctx *c, qp_tensor **in)
{
    static const int32_t zeros[MANY];
    static double table[2 * WIDE]; /* of the type of sums, whichever that is */
    for (int i = 0; i < WIDE; i++) {
        test_set(table, qp_sum_storage(in[0]->storage), i, cos(i));
        test_set(table + WIDE, qp_sum_storage(in[0]->storage), i, sin(i));
    }
    return qp_rope(c, in[0], table, table + WIDE, zeros, 3);
}

START_TEST(bits_do_not_depend_on_threads_or_neighbours)
{
    test_row_bits(same_position, MANY, 3 * 2 * WIDE, 0);
}
END_TEST

START_TEST(odd_head_size_exits_70)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    fill_table();
    qp_rope(&c, test_leaf(&c, QP_F64, 2, (int64_t[]){ ROWS, 9 }, 1), cosines, sines, pos, 3);
}
END_TEST

Suite *suite_rope(void)
{
    Suite *s = suite_create("rope");
    TCase *t = tcase_create("rope");
    tcase_add_test(t, pairs_are_half_a_head_apart);
    tcase_add_test(t, bits_do_not_depend_on_threads_or_neighbours);
    tcase_add_exit_test(t, odd_head_size_exits_70, 70);
    suite_add_tcase(s, t);
    return s;
}
