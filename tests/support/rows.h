/* For suites of ops that work row by row. */
#ifndef QP_TESTS_SUPPORT_ROWS_H
#define QP_TESTS_SUPPORT_ROWS_H
#include "tests/support/gradcheck.h"

/* op takes x (n, d) and then `vectors` tensors (d), and gives a row for each of x's. On every
   build, one, two and three threads give the same bits of y and all gradients, and a row of x alone
   gives the bits that it has among others: y's and dx's. */
void test_row_bits(test_op op, int64_t n, int64_t d, int vectors);
#endif
