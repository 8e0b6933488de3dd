#include "model/llama.h"
#include <string.h>

static const qp_arch *const architectures[] = { &qp_llama };

const qp_arch *qp_arch_find(const char *name)
{
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++)
        if (!strcmp(name, architectures[i]->name)) return architectures[i];
    return NULL;
}

const char *qp_arch_known(void) { return qp_llama.name; }
