/* The test runner: calls no kernel itself, so that no OpenMP thread exists before Check forks.
   usage: run [PART/PARTS]: every PARTS-th suite, so that several processes share the work. */
#include "tests/suites.h"
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    int part = 1, parts = 1, number = 0;
    if (argc > 1 && (sscanf(argv[1], "%d/%d", &part, &parts) != 2 || parts < 1)) {
        fprintf(stderr, "usage: %s [PART/PARTS]\n", argv[0]);
        return 2;
    }
    setenv("XDG_CACHE_HOME", "/nonexistent", 1); /* what was tuned here is nothing to test */
    SRunner *r = srunner_create(NULL);
#define SUITE(name)                                                                                \
    if (number++ % parts == part % parts) srunner_add_suite(r, suite_##name());
#include "tests/suites.def"
#undef SUITE
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r), ran = srunner_ntests_run(r);
    srunner_free(r);
    if (!ran) fprintf(stderr, "no test ran: is the suite's name in tests/suites.def?\n");
    return failed || !ran ? EXIT_FAILURE : EXIT_SUCCESS;
}
