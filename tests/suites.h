#ifndef QP_TESTS_SUITES_H
#define QP_TESTS_SUITES_H
#include <check.h>
#define SUITE(name) Suite *suite_##name(void);
#include "tests/suites.def"
#undef SUITE
#endif
