/* The test runner: calls no kernel itself, so that no OpenMP thread exists before Check forks. */
#include "tests/suites.h"
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    SRunner *r = srunner_create(NULL);
#define SUITE(name) srunner_add_suite(r, suite_##name());
#include "tests/suites.def"
#undef SUITE
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r), ran = srunner_ntests_run(r);
    srunner_free(r);
    if (!ran) fprintf(stderr, "no test ran: is the suite's name in tests/suites.def?\n");
    return failed || !ran ? EXIT_FAILURE : EXIT_SUCCESS;
}
