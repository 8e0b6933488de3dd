/* How often this process has asked for memory: the runner's malloc counts. */
#ifndef QP_TESTS_SUPPORT_ALLOCATIONS_H
#define QP_TESTS_SUPPORT_ALLOCATIONS_H
#include <stdint.h>

int64_t test_allocations(void); /* so far, by malloc and its like; -1: not counted (sanitizers) */
#endif
