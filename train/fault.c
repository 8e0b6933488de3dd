#include "train/fault.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool qp_fault_here(const char *place)
{
    static long passes; /* of the one place that is armed */
    const char *armed = getenv("QP_FAULT");
    size_t n = strlen(place);
    if (!armed || strncmp(armed, place, n) || armed[n] != ':') return false;
    return ++passes == atol(armed + n + 1);
}

void qp_fault_slow(const char *place)
{
    if (qp_fault_here(place)) usleep(500000);
}

void qp_fault(const char *place)
{
    if (qp_fault_here(place)) raise(SIGKILL);
}
